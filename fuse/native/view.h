// A view: an EROFS image on a hidden mount, whose files the kernel reads from the devices of the
// pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "engine/base/bytes.h"
#include "engine/base/logger.h"
#include "engine/io/file_descriptor.h"
#include "fuse/native/loop_device.h"

namespace mpoolfs {

// The mount is detached: it is in no mount table, and ends with this object and the last open file
// of it, also when the process is killed.
//
// Threads: all functions may be called at the same time.
class View {
 public:
  // Bytes of the kernel's read-ahead. Less than for requests to a daemon: more was slower (cold
  // sequential reading of 128 KiB and mapped, loop device).
  static constexpr std::size_t kReadAhead = std::size_t{1} << 20;

  // Mounts `image` (erofs_image.h) over the devices, in its order. Errors: EPERM without
  // CAP_SYS_ADMIN, ENODEV when the kernel has no EROFS, EBUSY when another holder has a device
  // exclusively, those of loop devices (loop_device.h); with the kernel's message.
  // `read_ahead`: greatest, in bytes, for files that are opened from now on.
  View(mpool::ConstByteSpan image, std::span<const std::string> devices,
       std::size_t read_ahead = kReadAhead);

  // The image has room behind what is given, in which write() and discard() work.
  struct Room {
    std::uint64_t size = 0;        // bytes, of the whole image
    std::uint64_t read_ahead = 0;  // bytes
  };
  View(mpool::ConstByteSpan image, std::span<const std::string> devices, const Room& room);

  // Writes a part of the room, which must be zero. Error EBUSY when the kernel does not see it
  // then, because it has the old bytes in use.
  void write(std::uint64_t offset, mpool::ConstByteSpan bytes) const;
  // Frees the memory of a part of the room that is not used any more.
  void discard(std::uint64_t offset, std::uint64_t length) const noexcept;

  // Opens a file of the image for reading. Error ENOENT, EMFILE, …
  mpool::FileDescriptor open(const std::string& name) const;
  // As that of the constructor. Failures are logged.
  void set_read_ahead(std::size_t bytes, const mpool::Logger& logger) const;

 private:
  void mount(const LoopDevice& image, std::span<const std::string> devices);

  mpool::FileDescriptor image_;     // with room
  std::optional<LoopDevice> loop_;  // the same
  mpool::FileDescriptor mount_;
};

}  // namespace mpoolfs
