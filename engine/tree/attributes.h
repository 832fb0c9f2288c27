// Numbers, kinds and attributes of inodes, and the limits of names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>

#include "engine/base/uuid.h"

namespace mpool {

// Never reused, stable over mounts. 1 is the root directory.
using InodeNumber = std::uint64_t;
inline constexpr InodeNumber kRootInode = 1;
// The user type of pools that hold a named tree, set at their first mount: their root MDC is not
// free for other programs.
inline constexpr Uuid kTreeUserType{
    {std::byte{0x6d}, std::byte{0x70}, std::byte{0x6f}, std::byte{0x6f}, std::byte{0x6c},
     std::byte{0x66}, std::byte{0x43}, std::byte{0x73}, std::byte{0x9b}, std::byte{0x1e},
     std::byte{0x52}, std::byte{0xc7}, std::byte{0xd0}, std::byte{0xa4}, std::byte{0xe6},
     std::byte{0x83}}};
inline constexpr std::size_t kMaxNameLength = 255;       // bytes
inline constexpr std::size_t kMaxSymlinkLength = 4095;   // bytes
inline constexpr std::size_t kMaxXattrSize = 64u << 10;  // bytes: one value
// Bytes: the names and values of all extended attributes of an inode.
inline constexpr std::size_t kMaxXattrTotal = kMaxXattrSize + kMaxNameLength;

enum class FileKind : std::uint8_t {
  directory = 1,
  symlink = 2,
  empty = 3,       // a regular file without content: the next open for writing decides its kind
  write_once = 4,  // stored in mblocks
  log = 5,         // append-only: a chain of mlogs
  // Special files: only a name and attributes; the kernel implements the rest.
  fifo = 6,
  socket = 7,
  character_device = 8,
  block_device = 9,
};
constexpr bool is_regular(FileKind kind) {
  return kind >= FileKind::empty && kind <= FileKind::log;
}
constexpr bool is_special(FileKind kind) {
  return kind >= FileKind::fifo && kind <= FileKind::block_device;
}

// The bits of a mode except the file type: chmod(2).
inline constexpr std::uint32_t kPermissionBits = 07777;

struct Attributes {
  InodeNumber inode = 0;
  FileKind kind = FileKind::empty;
  std::uint32_t mode = 0;  // permission bits only
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t links = 0;
  std::uint64_t size = 0;    // bytes
  std::uint64_t blocks = 0;  // 512-byte units of the zones of the content
  std::uint64_t device = 0;  // of a device: its major number << 32 | its minor number
  std::timespec atime{}, mtime{}, ctime{};
  // The content can no longer change: the caller may cache pages and attributes until it is
  // notified.
  bool committed = false;
  // A write-once file that is open for writing, or with a commit in progress.
  bool being_written = false;
};

// The changes of set_attributes; absent fields stay. It cannot change the size
// (OpenFile::truncate).
struct AttributeChange {
  std::optional<std::uint32_t> mode, uid, gid;
  std::optional<std::timespec> atime, mtime;
};

struct Owner {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

// References to one inode; see Namespace::ref().
struct InodeReferences {
  InodeNumber inode = 0;
  std::uint64_t count = 0;
};

}  // namespace mpool
