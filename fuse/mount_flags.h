// The mount options that mount(2) has flags for.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace mpoolfs {

// MS_NOSYMFOLLOW, which the headers of the C library of Debian 12 do not have.
inline constexpr unsigned long kNoSymbolicLinks = 256;

// What a mount of type fuse has unless its options say otherwise (fusermount3(1) likewise).
unsigned long default_mount_flags();

// Whether the option is one that apply_mount_flags() knows.
bool is_mount_flag(std::string_view option);

// `flags` after options such as "ro" and "suid", in order: the last of two that contradict counts.
// Other options change nothing.
unsigned long apply_mount_flags(unsigned long flags, std::span<const std::string> options);

// The flags of the mount at `path` (statvfs(2)), without those of access times. Waits for the
// daemon. Error of statvfs(2).
unsigned long mount_flags_of(const std::string& path);

}  // namespace mpoolfs
