#include "engine/io/device.h"

#include <cerrno>
#include <chrono>
#include <exception>
#include <utility>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/io/io_ring.h"
#include "engine/io/transfer.h"

namespace mpool {

namespace {

// Minimum interval between log messages while the host stays full.
constexpr std::chrono::nanoseconds kNoRoomInterval = std::chrono::minutes(1);

// Errors of the system when the storage behind the device has no block for a write, or must not
// allocate it (a quota, RLIMIT_FSIZE). The device itself is intact.
bool is_no_room(int code) {
  return code == ENOSPC || code == EDQUOT || code == EFBIG;
}

}  // namespace

Device::Device(std::string name, DeviceProperties properties)
    : name_(std::move(name)), properties_(std::move(properties)), size_(properties_.size) {}

std::uint64_t Device::update_size() {
  const std::uint64_t found = query_size();
  std::uint64_t known = size();
  while (found > known && !size_.compare_exchange_weak(known, found, std::memory_order_acq_rel)) {
  }
  return found;
}

// Counts the I/O, and its duration unless it throws.
template <typename Io>
void Device::timed(Activity& activity, const Io& io) {
  activity.begun.add();
  const Clock::Time begun = clock_->now();
  io();
  activity.durations.record(clock_->now() - begun);
}

template <typename Io>
void Device::count_read(std::uint64_t length, const Io& io) {
  if (length == 0) return;
  try {
    timed(reads_, io);
  } catch (const Error&) {
    errors_.add();
    throw;
  }
  reads_.bytes.add(length);
}

template <typename Io>
void Device::count_write(std::uint64_t offset, std::uint64_t length, const Io& io) {
  if (length == 0) return;
  try {
    timed(writes_, io);
  } catch (const Error& error) {
    if (!is_no_room(error.code()) && error.code() != EFAULT) go_offline(error);
    errors_.add();
    if (error.code() == EFAULT) throw;  // the caller's memory, not the device
    note_no_room("write", offset, length);
    throw Error(ENOSPC, error.subject(), error.detail());
  }
  writes_.bytes.add(length);
}

void Device::read(std::uint64_t offset, ByteSpan into) {
  check_range("read", offset, into.size());
  count_read(into.size(), [&] { read_impl(offset, into); });
}

void Device::write(std::uint64_t offset, ConstByteSpan from) {
  check_range("write", offset, from.size());
  check_writable("write");
  count_write(offset, from.size(), [&] { write_impl(offset, from); });
}

void Device::read(std::uint64_t offset, std::span<const ByteSpan> parts) {
  const std::uint64_t length = length_of(parts);
  check_range("read", offset, length);
  count_read(length, [&] { read_parts_impl(offset, parts); });
}

void Device::write(std::uint64_t offset, std::span<const ConstByteSpan> parts) {
  const std::uint64_t length = length_of(parts);
  check_range("write", offset, length);
  check_writable("write");
  count_write(offset, length, [&] { write_parts_impl(offset, parts); });
}

void Device::read_parts_impl(std::uint64_t offset, std::span<const ByteSpan> parts) {
  for (const ByteSpan& part : parts) {
    read_impl(offset, part);
    offset += part.size();
  }
}

void Device::write_parts_impl(std::uint64_t offset, std::span<const ConstByteSpan> parts) {
  for (const ConstByteSpan& part : parts) {
    write_impl(offset, part);
    offset += part.size();
  }
}

void Device::flush() {
  check_writable("flush");
  {
    std::unique_lock lock(flush_mutex_);
    // A flush in progress may have begun before a write that the caller relies on.
    const std::uint64_t mine = flushes_begun_ + 1;
    while (flushes_ended_ < mine) {
      if (flushes_ended_ == flushes_begun_) {
        flush_for_all(lock);
      } else {
        flush_ended_[mine % 2].wait(lock);
      }
    }
  }
  // A flush covers all writes before it, also one that failed on another thread meanwhile.
  check_writable("flush");
}

// Performs the next flush, for all waiting callers: when it fails they find the device offline.
void Device::flush_for_all(std::unique_lock<std::mutex>& lock) {
  ++flushes_begun_;
  lock.unlock();
  std::exception_ptr failure;
  try {
    check_writable("flush");
    try {
      timed(flushes_, [this] { flush_impl(); });
    } catch (const Error& error) {
      go_offline(error);
    }
  } catch (...) {
    offline_.store(true, std::memory_order_release);
    failure = std::current_exception();
  }
  lock.lock();
  flushes_ended_ = flushes_begun_;
  flush_ended_[flushes_ended_ % 2].notify_all();
  flush_ended_[(flushes_ended_ + 1) % 2].notify_one();
  if (failure != nullptr) std::rethrow_exception(failure);
}

void Device::discard(std::uint64_t offset, std::uint64_t length) {
  check_range("discard", offset, length);
  check_writable("discard");
  if (length == 0) return;
  try {
    timed(discards_, [&] { discard_impl(offset, length); });
  } catch (const Error&) {
    errors_.add();
    throw;
  }
  discards_.bytes.add(length);
}

void Device::reserve(std::uint64_t offset, std::uint64_t length) {
  check_range("reservation", offset, length);
  check_writable("reservation");
  if (length == 0) return;
  try {
    reserve_impl(offset, length);
  } catch (const Error& error) {
    if (!is_no_room(error.code())) throw;
    throw Error(ENOSPC, error.subject(), error.detail());
  }
}

void Device::start_read(IoRing& ring, DeviceTransfer& transfer, std::uint64_t offset,
                        ByteSpan into) {
  check_range("read", offset, into.size());
  transfer.write_ = false;
  start(ring, transfer, offset, into);
}

void Device::start_write(IoRing& ring, DeviceTransfer& transfer, std::uint64_t offset,
                         ConstByteSpan from) {
  check_range("write", offset, from.size());
  check_writable("write");
  transfer.write_ = true;
  start(ring, transfer, offset, {const_cast<std::byte*>(from.data()), from.size()});
}

Device::Activity& Device::activity_of(const DeviceTransfer& transfer) {
  return transfer.write_ ? writes_ : reads_;
}

void Device::start(IoRing& ring, DeviceTransfer& transfer, std::uint64_t offset, ByteSpan memory) {
  transfer.memory_ = memory.data();
  transfer.offset_ = offset;
  transfer.left_ = transfer.length_ = memory.size();
  transfer.ring_ = &ring;
  transfer.device_ = this;
  if (transfer.left_ == 0) return ring.post(transfer, 0);
  activity_of(transfer).begun.add();
  transfer.begun_ = ring.recent_time(*clock_);
  try {
    start_impl(transfer);
  } catch (const Error&) {
    errors_.add();  // of the ring: the device was not accessed
    throw;
  }
}

void Device::start_impl(DeviceTransfer& transfer) {
  std::int32_t result = 0;
  try {
    const ByteSpan memory(transfer.memory_, transfer.left_);
    if (transfer.write_) {
      write_impl(transfer.offset_, memory);
    } else {
      read_impl(transfer.offset_, memory);
    }
    transfer.left_ = 0;
  } catch (const Error& error) {
    result = -error.code();
  }
  transfer.ring_->post(transfer, result);
}

void DeviceTransfer::completed(std::int32_t result) noexcept {
  device_->go_on(*this, result);
}

// `result`: of the part of the transfer that start_impl() began last.
void Device::go_on(DeviceTransfer& transfer, std::int32_t result) noexcept {
  if (transfer.left_ > 0 && result >= 0) {
    // A short transfer continues at a sector boundary, as direct I/O requires.
    const auto step =
        round_down(static_cast<std::uint64_t>(result), properties_.logical_sector_size);
    if (step == 0) {
      return finish(transfer, EIO, transfer.write_ ? "nothing was taken" : "the device ends there");
    }
    transfer.memory_ += step;
    transfer.offset_ += step;
    transfer.left_ -= step;
  }
  if (transfer.left_ == 0) return finish(transfer, 0, "");
  if (result < 0 && result != -EINTR && result != -EAGAIN) {
    return finish(transfer, -result, "");
  }
  try {
    if (result == -EAGAIN) {
      // Transfers that need blocking are not retried forever.
      Device::start_impl(transfer);
    } else {
      start_impl(transfer);
    }
  } catch (const Error& error) {
    finish(transfer, error.code(), error.what());
  }
}

void Device::finish(DeviceTransfer& transfer, int error, const char* cause) noexcept {
  if (error == 0) {
    Activity& activity = activity_of(transfer);
    activity.bytes.add(transfer.length_);
    activity.durations.record(transfer.ring_->step_time(*clock_) - transfer.begun_);
    return transfer.done(0);
  }
  errors_.add();
  if (transfer.write_ && is_no_room(error)) {
    note_no_room("write", transfer.offset_, transfer.left_);
    return transfer.done(ENOSPC);
  }
  const bool goes_offline = transfer.write_ && !offline_.exchange(true, std::memory_order_acq_rel);
  log().error("{}: {} of {} bytes at {}: {}{}", name_, transfer.write_ ? "write" : "read",
              transfer.left_, transfer.offset_, *cause != '\0' ? cause : errno_text(error),
              goes_offline ? "; the device goes offline for writing" : "");
  transfer.done(error);
}

Device::Counters Device::counters() const noexcept {
  return {.reads = reads_.begun.value(),
          .read_bytes = reads_.bytes.value(),
          .writes = writes_.begun.value(),
          .written_bytes = writes_.bytes.value(),
          .flushes = flushes_.begun.value(),
          .discards = discards_.begun.value(),
          .errors = errors_.value()};
}

void Device::add_to(Metrics& metrics, const Metrics::Labels& labels) const {
  struct Row {
    std::string_view name;
    std::string_view help;
    Metrics::Number number;
  };
  const Row rows[] = {
      {"mpoolfs_device_reads_total", "Reads begun", &reads_.begun},
      {"mpoolfs_device_read_bytes_total", "Bytes read", &reads_.bytes},
      {"mpoolfs_device_read_duration_seconds", "Time that reads took", &reads_.durations},
      {"mpoolfs_device_writes_total", "Writes begun", &writes_.begun},
      {"mpoolfs_device_written_bytes_total", "Bytes written", &writes_.bytes},
      {"mpoolfs_device_write_duration_seconds", "Time that writes took", &writes_.durations},
      {"mpoolfs_device_flushes_total", "Flushes begun", &flushes_.begun},
      {"mpoolfs_device_flush_duration_seconds", "Time that flushes took", &flushes_.durations},
      {"mpoolfs_device_discards_total", "Discards begun", &discards_.begun},
      {"mpoolfs_device_discarded_bytes_total", "Bytes discarded", &discards_.bytes},
      {"mpoolfs_device_discard_duration_seconds", "Time that discards took", &discards_.durations},
      {"mpoolfs_device_errors_total", "Reads, writes, flushes and discards that failed", &errors_},
  };
  for (const Row& row : rows)
    metrics.add(row.name, row.help, labels, row.number);
}

void Device::check_range(const char* operation, std::uint64_t offset, std::uint64_t length) const {
  if (!is_aligned(offset, kPageSize) || !is_aligned(length, kPageSize)) {
    raise(EINVAL, name_, "{} of {} bytes at {}: not aligned to {} bytes", operation, length, offset,
          kPageSize);
  }
  const std::uint64_t size = this->size();
  if (offset > size || length > size - offset) {
    raise(EINVAL, name_, "{} of {} bytes at {}: beyond the end, the device has {} bytes", operation,
          length, offset, size);
  }
}

void Device::check_writable(const char* operation) const {
  if (properties_.read_only) raise(EROFS, name_, "{}: opened for reading only", operation);
  if (offline()) {
    raise(EIO, name_, "{}: the device is offline for writing after an earlier failure", operation);
  }
}

void Device::note_no_room(const char* operation, std::uint64_t offset,
                          std::uint64_t length) noexcept {
  const std::int64_t now = clock_->now().time_since_epoch().count();
  std::int64_t told = no_room_told_.load(std::memory_order_relaxed);
  if (told != 0 && now - told < kNoRoomInterval.count()) return;
  if (!no_room_told_.compare_exchange_strong(told, now, std::memory_order_relaxed)) return;
  log().warn(
      "{}: {} of {} bytes at {}: no room behind the device (its file system is full, a quota or a "
      "file size limit); writes that need more fail until there is",
      name_, operation, length, offset);
}

void Device::go_offline(const Error& error) {
  errors_.add();
  if (!offline_.exchange(true, std::memory_order_acq_rel)) {
    log().error("{}; the device goes offline for writing", error.what());
  }
  throw error;
}

}  // namespace mpool
