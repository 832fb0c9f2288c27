// How the engine's attributes appear to the kernel, and how long it may trust them.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>

#include <sys/stat.h>

#include "engine/names/names.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/ops/operations.h"

namespace mpoolfs {

// Seconds the kernel may answer from its cache: for ever, as whatever changes tells it, or not at
// all.
inline constexpr double kForever = 1e9;
inline constexpr double kNever = 0;

// Preferred I/O size shown for regular files, in bytes: what one request carries.
inline constexpr blksize_t kPreferredIoSize = kMaxRequestSize;

// Mount options that change what is shown of every file (mpoolfs(8), "MOUNT OPTIONS": uid=, gid=).
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

// The size and times of files being written and of logs change without the kernel being able to
// tell; everything else changes by requests alone, the opening of an empty file for writing among
// them.
double attribute_timeout(const mpool::Attributes& attributes);
// A file whose content is not committed may vanish (its commit may fail); other names go by
// requests alone.
double entry_timeout(const mpool::Attributes& attributes);

fuse_entry_param to_entry(const mpool::Attributes& attributes, const Presentation& presentation);
// "There is no such name", to be remembered.
fuse_entry_param negative_entry();

// Owner and mode bits of something made in `parent`: in a set-group-ID directory the group is the
// directory's, and new directories inherit the bit.
struct Ownership {
  mpool::Owner owner;
  std::uint32_t mode = 0;  // permission bits
};
Ownership ownership_in(const mpool::Attributes& parent, const fuse_ctx& caller, mode_t mode);

// From the flags of open(2). O_TRUNC writes, whatever else is wanted.
mpool::OpenIntent to_intent(int flags);

// The mode that a write by `caller` leaves a file with: without the bits that would give the file's
// owner's rights to the content of others, unless root writes.
std::uint32_t mode_after_write(const mpool::Attributes& attributes, const fuse_ctx& caller);
inline constexpr std::uint32_t kPrivilegeBits = S_ISUID | S_ISGID;

std::timespec time_now();

// From the arguments of a SETATTR request; `now` stands for FUSE_SET_ATTR_ATIME_NOW and MTIME_NOW.
mpool::AttributeChange to_change(const struct stat& wanted, int to_set, const std::timespec& now);

}  // namespace mpoolfs
