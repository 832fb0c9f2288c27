#include "fuse/client/mount_session.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>

#include "engine/base/error.h"

namespace libmpool {

namespace {

constexpr const char* kMountSubject = "mount";

std::string_view text_of(int code) {
  switch (code) {
    case ENOENT:
      return "there is no such object, or it is not in the state for that";
    case EPERM:
      return "it belongs to the named tree, which only the mount changes";
    case EBUSY:
      return "it is in use";
    case EROFS:
      return "the pool is mounted read-only";
    default:
      return {};
  }
}

[[noreturn]] void raise_call(int code, mpool::ObjectId object = {}) {
  const bool gone = code == ENOTCONN || code == ECONNABORTED || code == ENODEV;
  if (gone) mpool::raise(EIO, kMountSubject, "its daemon has ended");
  const std::string_view text = text_of(code);
  mpool::raise(
      code, object.value != 0 ? "object " + object.to_string() : std::string(kMountSubject), "{}",
      object.value == 0 || text.empty() ? mpool::errno_text(code) : std::string(text));
}

std::vector<std::byte> join(std::span<const mpool::ConstByteSpan> parts, std::size_t length) {
  std::vector<std::byte> all;
  all.reserve(length);
  for (const mpool::ConstByteSpan part : parts)
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

// An error of a system call becomes one of the call of the library.
template <typename Body>
auto attempt(const Body& body, mpool::ObjectId object = {}) {
  try {
    return body();
  } catch (const mpool::Error& error) {
    raise_call(error.code(), object);
  }
}

}  // namespace

void read_all(MountFile& file, std::uint64_t offset, std::span<const mpool::ByteSpan> parts,
              mpool::ObjectId object) {
  attempt([&] { file.read(offset, parts); }, object);
}

void write_all(MountFile& file, std::uint64_t offset, std::span<const mpool::ConstByteSpan> parts,
               mpool::ObjectId object) {
  attempt([&] { file.write(offset, parts); }, object);
}

std::optional<MountSession> MountSession::open(const std::string& mount_point) {
  auto directory = open_mount_directory(mount_point);
  if (directory == nullptr) return std::nullopt;
  try {
    return MountSession(std::move(directory));
  } catch (const mpool::Error& error) {
    if (!says_no_mount(error.code())) throw;
    return std::nullopt;
  }
}

MountSession::MountSession(std::unique_ptr<MountDirectory> directory)
    : directory_(std::move(directory)), control_(directory_->open("ctl", O_RDWR)) {
  mpool_ioc_version version{};
  call(MPOOL_IOC_VERSION, version);
  if (version.version < MPOOL_IOC_VERSION_NUMBER) {
    mpool::raise(EPROTO, kMountSubject, "version {} of its interface; at least {} is needed",
                 version.version, MPOOL_IOC_VERSION_NUMBER);
  }
}

void MountSession::call_with(unsigned long command, void* structure, mpool::ObjectId object) const {
  attempt([&] { control_->ioctl(command, structure); }, object);
}

std::uint64_t MountSession::call_on(unsigned long command, std::uint32_t handle,
                                    std::uint64_t value) const {
  mpool_ioc_handle on{};
  on.handle = handle;
  on.value = value;
  call(command, on);
  return on.value;
}

void MountSession::close_quietly(std::uint32_t handle) const noexcept {
  try {
    if (handle != 0) call_on(MPOOL_IOC_CLOSE, handle);
  } catch (const mpool::Error&) {
    // It has ended nevertheless, as all do with the daemon.
  }
}

std::vector<mpool::ObjectId> MountSession::list(const char* directory) const {
  std::vector<mpool::ObjectId> ids;
  for (const std::string& name : attempt([&] { return directory_->list(directory); })) {
    if (const auto id = mpool::ObjectId::parse(name)) ids.push_back(*id);
  }
  return ids;
}

std::unique_ptr<MountFile> MountSession::open_mblock(mpool::ObjectId id, int flags) const {
  try {
    return directory_->open("mblock/" + id.to_string(), flags);
  } catch (const mpool::Error& error) {
    const int code = error.code();
    if (code != EACCES && code != ENOENT && code != ESTALE) raise_call(code);
    mpool::raise(ENOENT, id.to_string(), "there is no such mblock");
  }
}

std::unique_ptr<MountFile> MountSession::open_map(const std::string& name) const {
  return attempt([&] { return directory_->open("map/" + name, O_RDONLY); });
}

void MountSession::remove_map(const std::string& name) const noexcept {
  std::array<char, 256> path{};
  const auto end = fmt::format_to_n(path.data(), path.size() - 1, "map/{}", name);
  *end.out = '\0';
  directory_->remove(path.data());
}

// With buffer_mutex_.
void MountSession::fill_buffer(mpool::ConstByteSpan bytes) const {
  if (bytes.size() > MPOOL_IOC_BUFFER) {
    mpool::raise(EFBIG, kMountSubject, "{} bytes of arguments", bytes.size());
  }
  write_all(*control_, 0, std::span(&bytes, 1), {});
}

void MountSession::append(std::uint32_t handle, std::span<const mpool::ConstByteSpan> parts,
                          bool durable) {
  const std::uint64_t length = mpool::length_of(parts);
  if (length > MPOOL_IOC_BUFFER) {
    mpool::raise(EFBIG, kMountSubject, "a record has at most {} bytes", MPOOL_IOC_BUFFER);
  }
  mpool_ioc_append append{};
  append.handle = handle;
  append.flags = durable ? MPOOL_IOC_SYNC_RECORD : 0;
  append.length = length;
  if (length <= MPOOL_IOC_APPEND_INLINE) {
    auto* next = reinterpret_cast<std::byte*>(append.data);
    for (const mpool::ConstByteSpan part : parts)
      next = std::ranges::copy(part, next).out;
    return call(MPOOL_IOC_APPEND, append);
  }
  append.flags = MPOOL_IOC_IN_BUFFER;
  const std::vector<std::byte> joined = join(parts, length);
  const mpool::ConstByteSpan record = joined;
  {
    const std::lock_guard lock(buffer_mutex_);
    fill_buffer(record);
    call(MPOOL_IOC_APPEND, append);
  }
  // With the buffer free for other threads: their syncs share a flush with this one.
  if (durable) call_on(MPOOL_IOC_SYNC, handle);
}

mpool_ioc_read MountSession::read(std::uint32_t handle, mpool::ByteSpan into) {
  mpool_ioc_read read{};
  read.handle = handle;
  read.size = std::min<std::uint64_t>(into.size(), MPOOL_IOC_READ_INLINE);
  call(MPOOL_IOC_READ, read);
  if (read.error != EOVERFLOW) {
    if (read.error == 0) {
      std::ranges::copy(std::as_bytes(std::span(read.data).first(read.length)), into.begin());
    }
    return read;
  }
  const std::lock_guard lock(buffer_mutex_);
  // Other threads may read meanwhile: the next record may be another one then.
  while (read.error == EOVERFLOW && read.length <= into.size()) {
    const std::uint64_t size = read.length;
    if (size > MPOOL_IOC_BUFFER) {
      mpool::raise(EFBIG, kMountSubject, "the record has {} bytes, more than {}", size,
                   MPOOL_IOC_BUFFER);
    }
    read = {};
    read.handle = handle;
    read.flags = MPOOL_IOC_IN_BUFFER;
    read.size = size;
    call(MPOOL_IOC_READ, read);
  }
  if (read.error == 0) {
    const mpool::ByteSpan record = into.first(read.length);
    read_all(*control_, 0, std::span(&record, 1), {});
  }
  return read;
}

}  // namespace libmpool
