#include "fuse/mount_flags.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/mount.h>
#include <sys/statvfs.h>

#include "engine/base/error.h"

namespace mpoolfs {

namespace {

constexpr unsigned long kNoSymbolicLinksShown = 8192;  // ST_NOSYMFOLLOW

enum class Effect { sets, clears };

struct Flag {
  std::string_view option;
  unsigned long flag;
  Effect effect;
};

constexpr std::array kFlags = {Flag{"ro", MS_RDONLY, Effect::sets},
                               Flag{"rw", MS_RDONLY, Effect::clears},
                               Flag{"nosuid", MS_NOSUID, Effect::sets},
                               Flag{"suid", MS_NOSUID, Effect::clears},
                               Flag{"nodev", MS_NODEV, Effect::sets},
                               Flag{"dev", MS_NODEV, Effect::clears},
                               Flag{"noexec", MS_NOEXEC, Effect::sets},
                               Flag{"exec", MS_NOEXEC, Effect::clears},
                               Flag{"noatime", MS_NOATIME, Effect::sets},
                               Flag{"atime", MS_NOATIME, Effect::clears},
                               Flag{"dirsync", MS_DIRSYNC, Effect::sets},
                               Flag{"nosymfollow", kNoSymbolicLinks, Effect::sets},
                               Flag{"symfollow", kNoSymbolicLinks, Effect::clears}};

struct StatFlag {
  unsigned long shown;  // in statvfs::f_flag
  unsigned long flag;   // of mount(2)
};

constexpr std::array kStatFlags = {
    StatFlag{ST_RDONLY, MS_RDONLY},   StatFlag{ST_NOSUID, MS_NOSUID},
    StatFlag{ST_NODEV, MS_NODEV},     StatFlag{ST_NOEXEC, MS_NOEXEC},
    StatFlag{ST_NOATIME, MS_NOATIME}, StatFlag{kNoSymbolicLinksShown, kNoSymbolicLinks}};

}  // namespace

unsigned long default_mount_flags() {
  return MS_NOSUID | MS_NODEV;
}

bool is_mount_flag(std::string_view option) {
  return std::ranges::find(kFlags, option, &Flag::option) != kFlags.end();
}

unsigned long apply_mount_flags(unsigned long flags, std::span<const std::string> options) {
  for (const std::string& option : options) {
    const auto found = std::ranges::find(kFlags, option, &Flag::option);
    if (found == kFlags.end()) continue;
    flags = found->effect == Effect::sets ? flags | found->flag : flags & ~found->flag;
  }
  return flags;
}

unsigned long mount_flags_of(const std::string& path) {
  struct statvfs stats {};
  if (::statvfs(path.c_str(), &stats) != 0) mpool::raise_system(errno, path, "statvfs");
  unsigned long flags = 0;
  for (const StatFlag& known : kStatFlags) {
    if ((stats.f_flag & known.shown) != 0) flags |= known.flag;
  }
  return flags;
}

}  // namespace mpoolfs
