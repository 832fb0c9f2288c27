// The mount options that mount(2) has flags for.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace mpoolfs {

// MS_NOSYMFOLLOW, which the headers of the C library of Debian 12 do not have.
inline constexpr unsigned long kNoSymbolicLinks = 256;

// The flags of a mount of type fuse unless its options change them (fusermount3(1) likewise).
unsigned long default_mount_flags();

// True if apply_mount_flags() handles the option.
bool is_mount_flag(std::string_view option);

// Applies options such as "ro" and "suid" to `flags`, in order: the last of two contradicting
// options wins. Other options have no effect.
unsigned long apply_mount_flags(unsigned long flags, std::span<const std::string> options);

// The flags of the mount at `path` (statvfs(2)), without those of access times. Blocks until the
// daemon answers. Error of statvfs(2).
unsigned long mount_flags_of(const std::string& path);

}  // namespace mpoolfs
