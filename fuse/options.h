// The command line of mpoolfs and of the mount helper mount.mpoolfs.
#pragma once

#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/types.h>

#include "engine/cache/reaper_settings.h"

namespace mpoolfs {

// The command line is invalid; what() gives the reason.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The transport of requests from the kernel.
enum class TransportChoice {
  automatic,  // over io_uring where the kernel has that enabled, otherwise /dev/fuse
  uring,      // over io_uring; otherwise mounting fails
  dev,        // /dev/fuse
};

// Whether the kernel reads committed files natively.
enum class NativeChoice {
  automatic,  // where that is possible
  on,         // always; otherwise mounting fails
  off,
};

struct Options {
  std::string pool;  // as the user named it: name, UUID=…, or device paths
  // The pool's device paths, absolute; found by resolve() (serve.h).
  std::vector<std::string> device_paths;
  std::string source;       // as shown in the mount table
  std::string mount_point;  // as given
  bool foreground = false;  // -f
  bool debug = false;       // -d: every request on stderr, implies foreground

  bool read_only = false;
  bool sync = false;
  bool force = false;
  std::optional<bool> allow_other;  // absent: yes when root mounts
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::vector<std::string> mount_flags;  // ro, nosuid, noatime, … in order (mount_flags.h)

  static constexpr unsigned kMaxWorkers = 256;
  TransportChoice transport = TransportChoice::automatic;
  NativeChoice native = NativeChoice::automatic;
  mpool::ReaperSettings reaper;
  unsigned workers = 32;  // threads for requests that may block, 1..kMaxWorkers
  // Bytes: files of at most this size go into packs (mpool::NamespaceOptions).
  std::optional<std::uint64_t> pack_max;

  bool remount = false;  // of the mount on mount_point; see remount.h
  bool fake = false;     // mount(8) -f: everything except mounting
  bool help = false;
  bool version = false;
};

// Parses the arguments after the program's name. `helper`: called by mount(8) as mount.mpoolfs,
// with the switches of a mount helper (mount(8), "External helpers"). Mount options are accepted if
// they are implemented or have no effect. Other options are refused, or skipped with the helper's
// switch -s ("sloppy"). A helper's mount_flags begin with mount(8)'s defaults. Throws UsageError.
Options parse_options(std::span<const std::string> arguments, bool helper);

// For --help.
std::string help_text();

}  // namespace mpoolfs
