// Conversion of the engine's attributes for the kernel, and their cache lifetimes.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>

#include <sys/stat.h>

#include "engine/file/open_file.h"
#include "fuse/ops/fuse_api.h"

namespace mpoolfs {

// Cache lifetimes for the kernel, in seconds: forever (changes invalidate the cache), or none.
inline constexpr double kForever = 1e9;
inline constexpr double kNever = 0;
// The kernel rounds it up to its next tick but one.
inline constexpr double kOpening = 0.001;

// The most data of one READ or WRITE, in bytes.
inline constexpr unsigned kMaxRequestSize = 1u << 20;

// Preferred I/O size of regular files, in bytes: the maximum of one request.
inline constexpr blksize_t kPreferredIoSize = kMaxRequestSize;

// Mount options that change the attributes shown for every file
// (mpoolfs(8), "MOUNT OPTIONS": uid=, gid=).
struct Presentation {
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
};

// S_IFDIR and so on.
mode_t type_bits(mpool::FileKind kind);
// The inverse for special files; nullopt for others.
std::optional<mpool::FileKind> special_kind(mode_t mode);
// As mpool::Attributes::device.
std::uint64_t device_number(dev_t device);

struct stat to_stat(const mpool::Attributes& attributes, const Presentation& presentation);

// None for files being written and logs: their size and times change without the kernel's
// knowledge. All other attributes change through requests only, including the opening of an empty
// file for writing.
double attribute_timeout(const mpool::Attributes& attributes);
// Of a file just created: long enough for the kernel to open it, which otherwise asks for the
// attributes that it has just got. The kernel knows all changes of a write-once file by then.
double attribute_timeout_of_created(const mpool::Attributes& attributes);
// A file with uncommitted content may be removed (its commit may fail); other names are removed
// through requests only.
double entry_timeout(const mpool::Attributes& attributes);

fuse_entry_param to_entry(const mpool::Attributes& attributes, const Presentation& presentation);
// A cacheable answer that the name does not exist.
fuse_entry_param negative_entry();

// The process that made a request.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
};

// Owner and mode bits of an inode created in `parent`: in a set-group-ID directory the group is the
// directory's, and new directories inherit the bit.
struct Ownership {
  mpool::Owner owner;
  std::uint32_t mode = 0;  // permission bits
};
Ownership ownership_in(const mpool::Attributes& parent, const Caller& caller, mode_t mode);

// From the flags of open(2). O_TRUNC implies writing, regardless of the access mode.
mpool::OpenIntent to_intent(int flags);

// The mode of a file after a write by `caller`: cleared of the bits that would grant the file
// owner's rights to content written by another user, unless root writes.
std::uint32_t mode_after_write(const mpool::Attributes& attributes, const Caller& caller);
inline constexpr std::uint32_t kPrivilegeBits = S_ISUID | S_ISGID;

// From the arguments of a SETATTR request; `now` is used for FUSE_SET_ATTR_ATIME_NOW and MTIME_NOW.
mpool::AttributeChange to_change(const struct stat& wanted, int to_set, const std::timespec& now);

}  // namespace mpoolfs
