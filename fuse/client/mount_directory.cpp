#include "fuse/client/mount_directory.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/cache/page_cache.h"
#include "engine/io/file_descriptor.h"

namespace libmpool {

namespace {

// By preadv(2) or pwritev(2).
template <typename Span, typename Operation>
void transfer_all(const Operation& operation, const mpool::FileDescriptor& file,
                  std::uint64_t offset, std::span<const Span> parts) {
  std::vector<iovec> left;
  left.reserve(parts.size());
  for (const Span& part : parts)
    left.push_back({const_cast<std::byte*>(part.data()), part.size()});
  for (std::size_t first = 0; first < left.size();) {
    const auto count = static_cast<int>(std::min<std::size_t>(left.size() - first, IOV_MAX));
    const ssize_t done = operation(file.get(), &left[first], count, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) mpool::raise_system(done < 0 ? errno : EIO, "file of a mount", "transfer");
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

class KernelFile : public MountFile {
 public:
  KernelFile(mpool::FileDescriptor file, std::string path)
      : file_(std::move(file)), path_(std::move(path)) {}

  void read(std::uint64_t offset, std::span<const mpool::ByteSpan> parts) override {
    transfer_all(::preadv, file_, offset, parts);
  }
  void write(std::uint64_t offset, std::span<const mpool::ConstByteSpan> parts) override {
    transfer_all(::pwritev, file_, offset, parts);
  }
  void ioctl(unsigned long command, void* structure) override {
    while (::ioctl(file_.get(), command, structure) != 0) {
      if (errno != EINTR) mpool::raise_system(errno, path_, "ioctl");
    }
  }
  // Without asking the daemon again.
  std::uint64_t size() const override {
    struct statx found {};
    constexpr int kFlags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
    if (::statx(file_.get(), "", kFlags, STATX_SIZE, &found) != 0) {
      mpool::raise_system(errno, path_, "statx");
    }
    return found.stx_size;
  }
  void map(mpool::ByteSpan memory) override {
    constexpr int kFlags = MAP_SHARED | MAP_FIXED;
    if (::mmap(memory.data(), memory.size(), PROT_READ, kFlags, file_.get(), 0) == MAP_FAILED) {
      mpool::raise_system(errno, path_, "mmap");
    }
    if (::madvise(memory.data(), memory.size(), MADV_DONTFORK) != 0) {
      mpool::raise_system(errno, path_, "madvise");
    }
  }
  void drop_cached() override { mpool::drop_unmapped_pages(file_.get(), 0, 0); }

 private:
  const mpool::FileDescriptor file_;
  const std::string path_;
};

class KernelDirectory : public MountDirectory {
 public:
  KernelDirectory(mpool::FileDescriptor directory, std::string path)
      : directory_(std::move(directory)), path_(std::move(path)) {}

  std::unique_ptr<MountFile> open(const std::string& name, int flags) override {
    mpool::FileDescriptor file(::openat(directory_.get(), name.c_str(), flags | O_CLOEXEC));
    if (!file) mpool::raise_system(errno, path_of(name), "open");
    return std::make_unique<KernelFile>(std::move(file), path_of(name));
  }
  std::vector<std::string> list(const std::string& name) override {
    constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    const int file = ::openat(directory_.get(), name.c_str(), kFlags);
    if (file < 0) mpool::raise_system(errno, path_of(name), "open");
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(file), ::closedir);
    if (entries == nullptr) {
      const int code = errno;
      ::close(file);
      mpool::raise_system(code, path_of(name), "fdopendir");
    }
    std::vector<std::string> names;
    errno = 0;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this call's own
    while (const dirent* entry = ::readdir(entries.get()))
      names.emplace_back(entry->d_name);
    if (errno != 0) mpool::raise_system(errno, path_of(name), "readdir");
    return names;
  }
  void remove(const char* name) noexcept override { ::unlinkat(directory_.get(), name, 0); }

 private:
  std::string path_of(const std::string& name) const { return path_ + "/" + name; }

  const mpool::FileDescriptor directory_;
  const std::string path_;
};

}  // namespace

bool says_no_mount(int code) {
  return code == ENOENT || code == ENOTDIR || code == ENOTCONN || code == ECONNABORTED;
}

std::unique_ptr<MountDirectory> open_mount_directory(const std::string& mount_point) {
  std::string path = mount_point + "/.mpool";
  mpool::FileDescriptor directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) {
    if (says_no_mount(errno)) return nullptr;
    mpool::raise_system(errno, path, "open");
  }
  return std::make_unique<KernelDirectory>(std::move(directory), std::move(path));
}

}  // namespace libmpool
