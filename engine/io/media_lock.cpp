#include "engine/io/media_lock.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "engine/base/error.h"
#include "engine/io/loops.h"

namespace mpool {

namespace {

constexpr mode_t kDirectoryMode = 0755;
constexpr mode_t kLockMode = 0644;
constexpr std::size_t kMaxHolderLength = 4096;
// The holder may remove the lock's file each time between opening and locking it.
constexpr int kAttempts = 100;

std::string directory_of_locks() {
  if (::geteuid() == 0) return "/run/mpool";
  const char* const runtime = ::secure_getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') return std::string(runtime) + "/mpool";
  return fmt::format("/tmp/mpool-{}", ::geteuid());
}

// Returns the errno of an unusable directory, or 0: another user must not be able to create files
// there.
int prepare(const std::string& directory) {
  if (::mkdir(directory.c_str(), kDirectoryMode) != 0 && errno != EEXIST) return errno;
  struct stat status {};
  if (::lstat(directory.c_str(), &status) != 0) return errno;
  if (!S_ISDIR(status.st_mode)) return ENOTDIR;
  const bool own = status.st_uid == ::geteuid() && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
  return own ? 0 : EPERM;
}

void warn_unlocked(const Logger& logger, const std::string& path, int code) {
  logger.warn("{}: {}: a pool that is active by another path, or a copy of it, will not be noticed",
              path, errno_text(code));
}

bool is_file_at(int fd, const std::string& path) {
  struct stat opened {};
  struct stat named {};
  return ::fstat(fd, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

// A failure only reduces the information for messages.
void write_holder(int fd, const std::string& holder, const Logger& logger) {
  if (::ftruncate(fd, 0) != 0) return;
  const std::string text = holder.substr(0, kMaxHolderLength);
  if (::pwrite(fd, text.data(), text.size(), 0) < 0) {
    logger.debug("lock: {}", errno_text(errno));
  }
}

}  // namespace

int try_flock(int fd, int operation) {
  while (::flock(fd, operation | LOCK_NB) != 0) {
    if (errno != EINTR) return errno == EWOULDBLOCK ? EBUSY : errno;
  }
  return 0;
}

MediaLock::~MediaLock() {
  // Another process may share it.
  if (fd_ && try_flock(fd_.get(), LOCK_EX) == 0) ::unlink(path_.c_str());
}

int MediaLock::take(const std::string& name, LockMode mode, const std::string& holder,
                    const Logger& logger) {
  const std::string directory = directory_of_locks();
  const std::string path = directory + "/" + name;
  if (const int code = prepare(directory); code != 0) {
    warn_unlocked(logger, directory, code);
    return 0;
  }
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, kLockMode));
    if (!fd) {
      warn_unlocked(logger, path, errno);
      return 0;
    }
    const int code = try_flock(fd.get(), mode == LockMode::exclusive ? LOCK_EX : LOCK_SH);
    if (code != 0) return code;
    if (!is_file_at(fd.get(), path)) continue;
    if (mode == LockMode::exclusive) write_holder(fd.get(), holder, logger);
    fd_ = std::move(fd);
    path_ = path;
    return 0;
  }
  return EBUSY;
}

std::string MediaLock::holder_of(const std::string& name) {
  const std::string path = directory_of_locks() + "/" + name;
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd || try_flock(fd.get(), LOCK_SH) != EBUSY) return {};
  std::array<char, kMaxHolderLength> text;
  const ssize_t length = ::pread(fd.get(), text.data(), text.size(), 0);
  return length > 0 ? std::string(text.data(), static_cast<std::size_t>(length)) : std::string();
}

std::vector<std::string> media_names(const std::string& path) {
  std::vector<std::string> names;
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return names;
  if (S_ISBLK(status.st_mode)) {
    names.push_back(fmt::format("block-{}:{}", major(status.st_rdev), minor(status.st_rdev)));
  }
  if (const auto file = file_of(path)) {
    names.push_back(fmt::format("file-{}:{}", file->device, file->inode));
  }
  return names;
}

bool is_media_of(const std::string& path, std::span<const std::string> others) {
  const std::vector<std::string> names = media_names(path);
  return std::ranges::any_of(others, [&](const std::string& other) {
    return std::ranges::find_first_of(names, media_names(other)) != names.end();
  });
}

std::string describe_holder(const std::string& path) {
  return fmt::format("process {} ({}) by {}", ::getpid(), program_invocation_short_name, path);
}

}  // namespace mpool
