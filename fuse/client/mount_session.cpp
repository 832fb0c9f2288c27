#include "fuse/client/mount_session.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string_view>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/base/error.h"

namespace libmpool {

namespace {

constexpr const char* kMountSubject = "mount";

// What open(2) says where no daemon serves.
bool says_no_mount(int code) {
  return code == ENOENT || code == ENOTDIR || code == ENOTCONN || code == ECONNABORTED;
}

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

// By preadv(2) or pwritev(2).
template <typename Span, typename Operation>
void transfer_all(const Operation& operation, const mpool::FileDescriptor& file,
                  std::uint64_t offset, std::span<const Span> parts, mpool::ObjectId object) {
  std::vector<iovec> left;
  left.reserve(parts.size());
  for (const Span& part : parts)
    left.push_back({const_cast<std::byte*>(part.data()), part.size()});
  for (std::size_t first = 0; first < left.size();) {
    const auto count = static_cast<int>(std::min<std::size_t>(left.size() - first, IOV_MAX));
    const ssize_t done = operation(file.get(), &left[first], count, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) raise_call(done < 0 ? errno : EIO, object);
    offset += static_cast<std::uint64_t>(done);
    for (auto rest = static_cast<std::size_t>(done); rest != 0;) {
      const std::size_t taken = std::min(rest, left[first].iov_len);
      left[first].iov_base = static_cast<std::byte*>(left[first].iov_base) + taken;
      left[first].iov_len -= taken;
      rest -= taken;
      if (left[first].iov_len == 0) ++first;
    }
  }
}

}  // namespace

void read_all(const mpool::FileDescriptor& file, std::uint64_t offset,
              std::span<const mpool::ByteSpan> parts, mpool::ObjectId object) {
  transfer_all(::preadv, file, offset, parts, object);
}

void write_all(const mpool::FileDescriptor& file, std::uint64_t offset,
               std::span<const mpool::ConstByteSpan> parts, mpool::ObjectId object) {
  transfer_all(::pwritev, file, offset, parts, object);
}

std::optional<MountSession> MountSession::open(const std::string& mount_point) {
  const std::string path = mount_point + "/.mpool";
  mpool::FileDescriptor directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) {
    if (says_no_mount(errno)) return std::nullopt;
    mpool::raise_system(errno, path, "open");
  }
  mpool::FileDescriptor control(::openat(directory.get(), "ctl", O_RDWR | O_CLOEXEC));
  if (!control) {
    if (says_no_mount(errno)) return std::nullopt;
    mpool::raise_system(errno, path + "/ctl", "open");
  }
  MountSession session(std::move(directory), std::move(control));
  mpool_ioc_version version{};
  session.call(MPOOL_IOC_VERSION, version);
  if (version.version < MPOOL_IOC_VERSION_NUMBER) {
    mpool::raise(EPROTO, path + "/ctl", "version {} of the interface; at least {} is needed",
                 version.version, MPOOL_IOC_VERSION_NUMBER);
  }
  return session;
}

void MountSession::call_with(unsigned long command, void* structure, mpool::ObjectId object) const {
  while (::ioctl(control_.get(), command, structure) != 0) {
    if (errno != EINTR) raise_call(errno, object);
  }
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
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  const int file = ::openat(directory_.get(), directory, kFlags);
  if (file < 0) raise_call(errno);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(file), ::closedir);
  if (entries == nullptr) {
    const int code = errno;
    ::close(file);
    raise_call(code);
  }
  std::vector<mpool::ObjectId> ids;
  errno = 0;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this call's own
  while (const dirent* entry = ::readdir(entries.get())) {
    if (const auto id = mpool::ObjectId::parse(entry->d_name)) ids.push_back(*id);
  }
  if (errno != 0) raise_call(errno);
  return ids;
}

mpool::FileDescriptor MountSession::open_mblock(mpool::ObjectId id, int flags) const {
  const std::string name = "mblock/" + id.to_string();
  mpool::FileDescriptor file(::openat(directory_.get(), name.c_str(), flags | O_CLOEXEC));
  if (file) return file;
  const int code = errno;
  if (code == EACCES || code == ENOENT || code == ESTALE) {
    mpool::raise(ENOENT, id.to_string(), "there is no such mblock");
  }
  raise_call(code);
}

mpool::FileDescriptor MountSession::open_map(const std::string& name) const {
  const std::string path = "map/" + name;
  mpool::FileDescriptor file(::openat(directory_.get(), path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) raise_call(errno);
  return file;
}

void MountSession::remove_map(const std::string& name) const noexcept {
  std::array<char, 256> path{};
  const auto end = fmt::format_to_n(path.data(), path.size() - 1, "map/{}", name);
  *end.out = '\0';
  ::unlinkat(directory_.get(), path.data(), 0);
}

// With buffer_mutex_.
void MountSession::fill_buffer(mpool::ConstByteSpan bytes) const {
  if (bytes.size() > MPOOL_IOC_BUFFER) {
    mpool::raise(EFBIG, kMountSubject, "{} bytes of arguments", bytes.size());
  }
  write_all(control_, 0, std::span(&bytes, 1), {});
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
  append.flags |= MPOOL_IOC_IN_BUFFER;
  const std::vector<std::byte> joined = join(parts, length);
  const mpool::ConstByteSpan record = joined;
  const std::lock_guard lock(buffer_mutex_);
  fill_buffer(record);
  call(MPOOL_IOC_APPEND, append);
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
    read_all(control_, 0, std::span(&record, 1), {});
  }
  return read;
}

}  // namespace libmpool
