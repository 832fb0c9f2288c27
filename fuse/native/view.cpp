#include "fuse/native/view.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "fuse/native/loop_device.h"
#include "fuse/native/read_ahead.h"

namespace mpoolfs {

namespace {

using mpool::FileDescriptor;

constexpr const char* kSubject = "view";
constexpr const char* kImage = "the image of a view";

FileDescriptor to_memory_file(mpool::ConstByteSpan bytes) {
  FileDescriptor fd(::memfd_create("mpoolfs-view", MFD_CLOEXEC));
  if (!fd) mpool::raise_system(errno, kSubject, "memfd_create");
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) mpool::raise_system(errno, kSubject, "writing its image");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return fd;
}

// The kernel's messages of a failed step; each begins with a letter and a space.
std::string kernel_messages(int context) {
  std::string messages;
  std::array<char, 512> text;
  ssize_t length = 0;
  while ((length = ::read(context, text.data(), text.size())) > 0) {
    std::string_view message(text.data(), static_cast<std::size_t>(length));
    if (message.size() > 2 && message[1] == ' ') message.remove_prefix(2);
    while (message.ends_with('\n'))
      message.remove_suffix(1);
    messages += ": ";
    messages += message;
  }
  return messages;
}

void configure(int context, unsigned command, const char* key, const char* value) {
  if (::fsconfig(context, command, key, value, 0) == 0) return;
  const int code = errno;
  mpool::raise(code, kSubject, "mounting EROFS: {}{}", mpool::errno_text(code),
               kernel_messages(context));
}

}  // namespace

View::View(mpool::ConstByteSpan image, std::span<const std::string> devices,
           std::size_t read_ahead) {
  const FileDescriptor file = to_memory_file(image);
  const LoopDevice loop(file.get(), kImage, false);
  loop.set_read_ahead(read_ahead);
  mount(loop, devices);
}

View::View(mpool::ConstByteSpan image, std::span<const std::string> devices, const Room& room)
    : image_(to_memory_file(image)) {
  if (::ftruncate(image_.get(), static_cast<off_t>(room.size)) != 0) {
    mpool::raise_system(errno, kSubject, "making room in its image");
  }
  loop_.emplace(image_.get(), kImage, false);
  loop_->set_read_ahead(room.read_ahead);
  // Nothing is read beyond what write() compares.
  ::posix_fadvise(loop_->descriptor(), 0, 0, POSIX_FADV_RANDOM);
  mount(*loop_, devices);
}

void View::mount(const LoopDevice& loop, std::span<const std::string> devices) {
  const FileDescriptor context(::fsopen("erofs", FSOPEN_CLOEXEC));
  if (!context) {
    const int code = errno;
    mpool::raise(code, kSubject, "{}",
                 code == ENODEV
                     ? "this kernel has no EROFS, or its module is not loaded (modprobe erofs)"
                     : "EROFS: " + mpool::errno_text(code));
  }
  configure(context.get(), FSCONFIG_SET_STRING, "source", loop.path().c_str());
  for (const std::string& device : devices)
    configure(context.get(), FSCONFIG_SET_STRING, "device", device.c_str());
  configure(context.get(), FSCONFIG_SET_FLAG, "ro", nullptr);
  configure(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr);
  mount_ = FileDescriptor(
      ::fsmount(context.get(), FSMOUNT_CLOEXEC,
                MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME));
  if (!mount_) mpool::raise_system(errno, kSubject, "fsmount");
}

void View::write(std::uint64_t offset, mpool::ConstByteSpan bytes) const {
  const auto at = static_cast<off_t>(offset);
  if (::pwrite(image_.get(), bytes.data(), bytes.size(), at) !=
      static_cast<ssize_t>(bytes.size())) {
    mpool::raise_system(errno, kSubject, "writing its image");
  }
  // The kernel reads the image through the pages of the loop device, which another program may have
  // filled.
  ::posix_fadvise(loop_->descriptor(), at, static_cast<off_t>(bytes.size()), POSIX_FADV_DONTNEED);
  std::vector<std::byte> seen(bytes.size());
  const ssize_t read = ::pread(loop_->descriptor(), seen.data(), seen.size(), at);
  if (read != static_cast<ssize_t>(bytes.size()) || !std::ranges::equal(seen, bytes)) {
    mpool::raise(EBUSY, kSubject, "the kernel does not see what was added to its image");
  }
}

void View::discard(std::uint64_t offset, std::uint64_t length) const noexcept {
  ::fallocate(image_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
              static_cast<off_t>(length));
}

FileDescriptor View::open(const std::string& name) const {
  FileDescriptor fd(::openat(mount_.get(), name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) mpool::raise_system(errno, kSubject, "opening " + name);
  return fd;
}

void View::set_read_ahead(std::size_t bytes, const mpool::Logger& logger) const {
  struct stat facts {};
  if (::fstat(mount_.get(), &facts) != 0) return;
  mpoolfs::set_read_ahead(fmt::format("{}:{}", ::major(facts.st_dev), ::minor(facts.st_dev)), bytes,
                          logger);
}

}  // namespace mpoolfs
