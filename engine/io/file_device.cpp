#include "engine/io/file_device.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/io/io_ring.h"
#include "engine/io/loops.h"
#include "engine/io/open.h"
#include "engine/io/system_properties.h"
#include "engine/io/transfer.h"

namespace mpool {

namespace {

// Maximum size of a transfer through a bounce buffer.
constexpr std::size_t kBounceSize = std::size_t{1} << 20;

// Maximum size of a submission to the ring; the kernel accepts less than 2 GiB.
constexpr std::size_t kMaxTransfer = std::size_t{1} << 30;

// The room of a sparse file's file system is queried at this interval at most, and must be at least
// this many bytes: more than all programs write to it in that time.
constexpr std::chrono::nanoseconds kRoomInterval = std::chrono::milliseconds(50);
constexpr std::uint64_t kPlentyOfRoom = std::uint64_t{512} << 20;

// Repeats a system call that a signal interrupted.
template <typename Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR)
    result = call();
  return result;
}

std::string describe_io(const char* operation, std::size_t length, std::uint64_t offset) {
  return fmt::format("{} of {} bytes at {}", operation, length, offset);
}

}  // namespace

FileDevice::FileDevice(std::string name, DeviceProperties properties, FileDescriptor fd,
                       std::uint32_t memory_alignment, DeviceLocks locks)
    : Device(std::move(name), std::move(properties)),
      fd_(std::move(fd)),
      locks_(std::move(locks)),
      memory_alignment_(memory_alignment),
      can_discard_(this->properties().discard_granularity != 0),
      sparse_(this->properties().is_file && this->properties().discard_granularity != 0) {}

int FileDevice::claim() {
  if (locks_.claims && !locks_.exclusive) {
    // The open device, regardless of what its path refers to now.
    const std::string path = fmt::format("/proc/self/fd/{}", fd_.get());
    FileDescriptor claimed(::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    if (!claimed) return errno;
    locks_.exclusive = std::move(claimed);
  }
  // Where that is unknown, for lack of permission, a loop device may be held.
  const bool held = std::ranges::any_of(other_loops_over(name()), [](const std::string& loop) {
    return try_exclusive_open(loop) != 0;
  });
  return held ? EBUSY : 0;
}

void FileDevice::release_claim() {
  locks_.exclusive = {};
}

bool FileDevice::needs_bounce(const std::byte* memory) const {
  return !is_aligned(memory, memory_alignment_);
}

void FileDevice::read_impl(std::uint64_t offset, ByteSpan into) {
  if (!needs_bounce(into.data())) return read_aligned(offset, into);
  AlignedBuffer bounce(std::min(into.size(), kBounceSize));
  while (!into.empty()) {
    const std::size_t length = std::min(into.size(), bounce.size());
    read_aligned(offset, bounce.span(0, length));
    std::memcpy(into.data(), bounce.data(), length);
    into = into.subspan(length);
    offset += length;
  }
}

void FileDevice::write_impl(std::uint64_t offset, ConstByteSpan from) {
  if (!needs_bounce(from.data())) return write_aligned(offset, from);
  AlignedBuffer bounce(std::min(from.size(), kBounceSize));
  while (!from.empty()) {
    const std::size_t length = std::min(from.size(), bounce.size());
    std::memcpy(bounce.data(), from.data(), length);
    write_aligned(offset, bounce.span(0, length));
    from = from.subspan(length);
    offset += length;
  }
}

template <typename Span, typename Call>
void FileDevice::transfer_all(const char* operation, std::uint64_t offset, Span memory, Call call) {
  while (!memory.empty()) {
    const auto done = uninterrupted(
        [&] { return call(fd_.get(), memory.data(), memory.size(), static_cast<off_t>(offset)); });
    if (done < 0) raise_system(errno, name(), describe_io(operation, memory.size(), offset));
    // A short transfer continues at a sector boundary, as direct I/O requires.
    const auto step =
        round_down(static_cast<std::uint64_t>(done), properties().logical_sector_size);
    if (step == 0) {
      raise(EIO, name(), "{}: the device ends there, it was opened with {} bytes",
            describe_io(operation, memory.size(), offset), size());
    }
    memory = memory.subspan(step);
    offset += step;
  }
}

void FileDevice::read_aligned(std::uint64_t offset, ByteSpan into) {
  transfer_all("read", offset, into, ::pread);
}

void FileDevice::write_aligned(std::uint64_t offset, ConstByteSpan from) {
  transfer_all("write", offset, from, ::pwrite);
}

// One system call for as many parts as it may have. What it did not transfer, and parts that are
// not aligned, are left to `single`, which handles one part at a time.
template <typename Span, typename Call, typename Single>
void FileDevice::transfer_parts(std::uint64_t offset, std::span<const Span> parts, Call vectored,
                                Single single) {
  constexpr std::size_t kMaxParts = 1024;  // IOV_MAX of Linux
  const bool aligned =
      std::ranges::none_of(parts, [this](const Span& part) { return needs_bounce(part.data()); });
  std::uint64_t transferred = 0;
  if (aligned && parts.size() > 1) {
    std::vector<iovec> vector;
    for (const Span& part : parts.first(std::min(parts.size(), kMaxParts)))
      vector.push_back({const_cast<std::byte*>(part.data()), part.size()});
    const auto done = uninterrupted(
        [&] { return vectored(vector.data(), static_cast<int>(vector.size()), offset); });
    if (done > 0) {
      transferred = round_down(static_cast<std::uint64_t>(done), properties().logical_sector_size);
    }
  }
  for (const Span& part : parts) {
    const std::uint64_t passed = std::min<std::uint64_t>(transferred, part.size());
    transferred -= passed;
    if (passed < part.size()) single(offset + passed, part.subspan(passed));
    offset += part.size();
  }
}

void FileDevice::read_parts_impl(std::uint64_t offset, std::span<const ByteSpan> parts) {
  transfer_parts(
      offset, parts,
      [this](const iovec* vector, int count, std::uint64_t at) {
        return ::preadv(fd_.get(), vector, count, static_cast<off_t>(at));
      },
      [this](std::uint64_t at, ByteSpan part) { read_impl(at, part); });
}

void FileDevice::write_parts_impl(std::uint64_t offset, std::span<const ConstByteSpan> parts) {
  transfer_parts(
      offset, parts,
      [this](const iovec* vector, int count, std::uint64_t at) {
        return ::pwritev(fd_.get(), vector, count, static_cast<off_t>(at));
      },
      [this](std::uint64_t at, ConstByteSpan part) { write_impl(at, part); });
}

void FileDevice::start_impl(DeviceTransfer& transfer) {
  // A ring would pass I/O in memory to a kernel thread, which takes longer than the copy.
  if (properties().in_memory || needs_bounce(transfer.memory_)) {
    return Device::start_impl(transfer);
  }
  transfer.ring_->set_batch_kind(transfer.write_);
  io_uring_sqe& entry = transfer.ring_->prepare(transfer);
  const auto length = static_cast<unsigned>(std::min(transfer.left_, kMaxTransfer));
  if (transfer.write_) {
    io_uring_prep_write(&entry, fd_.get(), transfer.memory_, length, transfer.offset_);
  } else {
    io_uring_prep_read(&entry, fd_.get(), transfer.memory_, length, transfer.offset_);
  }
}

std::uint64_t FileDevice::query_size() {
  return query_properties(fd_.get(), name()).size;
}

void FileDevice::reserve_impl(std::uint64_t offset, std::uint64_t length) {
  if (!sparse_) return;
  const int result = uninterrupted([&] {
    return ::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(length));
  });
  if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS) return;
  raise_system(errno, name(), describe_io("reservation", length, offset));
}

bool FileDevice::room_is_certain_impl() {
  if (!sparse_) return true;
  const std::int64_t now = clock().now().time_since_epoch().count();
  std::int64_t looked = room_looked_at_.load(std::memory_order_relaxed);
  if (looked == 0 || now - looked >= kRoomInterval.count()) {
    if (room_looked_at_.compare_exchange_strong(looked, now, std::memory_order_relaxed)) {
      room_found_.store(has_plenty_of_room(fd_.get(), properties().size, kPlentyOfRoom),
                        std::memory_order_relaxed);
    }
  }
  return room_found_.load(std::memory_order_relaxed);
}

void FileDevice::flush_impl() {
  if (uninterrupted([&] { return ::fdatasync(fd_.get()); }) != 0) {
    raise_system(errno, name(), "fdatasync");
  }
}

void FileDevice::discard_impl(std::uint64_t offset, std::uint64_t length) {
  if (!can_discard_.load(std::memory_order_relaxed)) return;
  const int result = uninterrupted([&] {
    if (properties().is_file) {
      return ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         static_cast<off_t>(offset), static_cast<off_t>(length));
    }
    std::uint64_t range[2] = {offset, length};
    return ::ioctl(fd_.get(), BLKDISCARD, range);
  });
  if (result == 0) return;
  if (errno == EOPNOTSUPP) {
    can_discard_.store(false, std::memory_order_relaxed);
    return;
  }
  raise_system(errno, name(), fmt::format("discard of {} bytes at {}", length, offset));
}

}  // namespace mpool
