#include "fuse/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <ranges>
#include <sstream>
#include <string_view>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "fuse/mount_flags.h"

namespace mpoolfs {

namespace po = boost::program_options;

namespace {

// The hidden option that collects the operands. Its name cannot be typed as an option.
constexpr const char* kOperands = " operands";

constexpr const char* kMountOptions = R"(Mount options (-o):
  ro                    nothing is written, to the media neither
  sync                  every commit and directory change is durable on return
  force                 mount without a staging device that the pool has
  allow_other           other users may use the mount (default when root mounts)
  uid=N, gid=N          show all files as owned by this user, this group
  transport=auto|uring|dev
                        how requests come from the kernel: over io_uring, over
                        /dev/fuse, or (auto, the default) over io_uring where
                        the kernel has it switched on
  native=auto|on|off    whether the kernel reads committed files by itself: where
                        it can (auto, the default), or mounting fails (on)
  workers=N             threads for requests that may block (1 to 256, default 32)
  pack_max=SIZE         files up to this size share zones (default 256K; 0: none)
  reap_mempct=PERCENT   share of the available memory for pages of files, from
                        which on unused ones are dropped (5 to 100; 100: never)
  reap_ttl=N            microseconds that unused pages stay then (default 10000000)
  reap_cgroup=PATH      the memory cgroup of the readers
  reap_debug=LEVEL      what the reaper logs (0 to 3, default 0)
  remount               change ro, rw and the options of the next line of a mount
  rw suid nosuid dev nodev exec noexec noatime dirsync nosymfollow
                        as for every mount, see mount(8), but nosuid and nodev
                        are the default unless mount(8) is used
)";

// Options that are stored unchanged, or have no effect: those of fstab for mount(8) itself, those
// that state the default, and those that permit but do not require.
constexpr auto kAcceptedOptions = std::to_array<std::string_view>(
    {"defaults",         "auto",          "noauto",     "user",
     "nouser",           "users",         "nousers",    "owner",
     "noowner",          "group",         "nogroup",    "nofail",
     "_netdev",          "relatime",      "norelatime", "diratime",
     "nodiratime",       "nostrictatime", "lazytime",   "nolazytime",
     "silent",           "loud",          "nomand",     "noiversion",
     "user_xattr",       "discard",       "loop",       "default_permissions",
     "errors=remount-ro"});

// Unsupported options, and why.
struct Refusal {
  std::string_view option;
  std::string_view why;
};
constexpr std::array kRefusals = {
    Refusal{"strictatime", "access times are as they were set, reading does not change them"},
    Refusal{"errors=continue", "after a failed write the device is not written to any more"},
    Refusal{"errors=panic", "after a failed write the device is not written to any more"}};

// mount(8) passes on only flags that differ from these, even if the user typed them.
constexpr auto kFlagsOfMount8 =
    std::to_array<std::string_view>({"suid", "dev", "exec", "atime", "symfollow"});

// Names of options with values for other programs: mount(8) and programs that read fstab.
constexpr auto kValuesForOthers = std::to_array<std::string_view>({"comment", "user", "loop"});
// Handled by mount(8) before it calls a helper.
constexpr auto kValuesOfLoops = std::to_array<std::string_view>({"offset", "sizelimit"});
// Values in the mount table that mount(8) passes on for a remount.
constexpr auto kValuesOfTable = std::to_array<std::string_view>(
    {"user_id", "group_id", "max_read", "blksize", "fsname", "subtype"});

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& list, std::string_view name) {
  return std::ranges::find(list, name) != list.end();
}

// A user or group number; the system uses the greatest one for "none".
uid_t parse_id(std::string_view name, std::string_view text) {
  uid_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || rest != text.data() + text.size() ||
      value == std::numeric_limits<uid_t>::max()) {
    throw UsageError(fmt::format("mount option {}: \"{}\" is not a number", name, text));
  }
  return value;
}

TransportChoice parse_transport(std::string_view text) {
  if (text == "auto") return TransportChoice::automatic;
  if (text == "uring") return TransportChoice::uring;
  if (text == "dev") return TransportChoice::dev;
  throw UsageError(
      fmt::format("mount option transport: \"{}\" is none of auto, uring and dev", text));
}

NativeChoice parse_native(std::string_view text) {
  if (text == "auto") return NativeChoice::automatic;
  if (text == "on") return NativeChoice::on;
  if (text == "off") return NativeChoice::off;
  throw UsageError(fmt::format("mount option native: \"{}\" is none of auto, on and off", text));
}

unsigned parse_workers(std::string_view text) {
  unsigned value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || rest != text.data() + text.size() || value < 1 ||
      value > Options::kMaxWorkers) {
    throw UsageError(fmt::format("mount option workers: \"{}\" is not a number from 1 to {}", text,
                                 Options::kMaxWorkers));
  }
  return value;
}

std::uint64_t parse_pack_max(std::string_view text) {
  const auto size = mpool::parse_size(text);
  if (!size) throw UsageError(fmt::format("mount option pack_max: \"{}\" is not a size", text));
  return *size;
}

bool is_of_reaper(std::string_view name) {
  return std::ranges::find(mpool::reaper_tunables(), name, &mpool::ReaperTunable::name) !=
         mpool::reaper_tunables().end();
}

void set_reaper(mpool::ReaperSettings& settings, std::string_view name, std::string_view value) {
  try {
    apply(settings, name, value);
  } catch (const mpool::Error& error) {
    throw UsageError(fmt::format("mount option {}: {}", name, error.detail()));
  }
}

// The way the program is called: as a helper of mount(8), and whether it must skip unknown options.
struct Invocation {
  bool helper = false;
  bool sloppy = false;
};

// An option that may have a value; false: no option has that name.
bool apply_flag(Options& options, std::string_view name) {
  if (is_mount_flag(name)) options.mount_flags.emplace_back(name);
  if (name == "ro") {
    options.read_only = true;
  } else if (name == "rw") {
    options.read_only = false;
  } else if (name == "sync" || name == "dirsync") {
    options.sync = true;
  } else if (name == "async") {
    options.sync = false;
  } else if (name == "force") {
    options.force = true;
  } else if (name == "allow_other") {
    options.allow_other = true;
  } else if (name == "remount") {
    options.remount = true;
  } else {
    return is_mount_flag(name);
  }
  return true;
}

bool apply_value(Options& options, std::string_view name, std::string_view value) {
  if (name == "uid") {
    options.uid = parse_id(name, value);
  } else if (name == "gid") {
    options.gid = parse_id(name, value);
  } else if (name == "transport") {
    options.transport = parse_transport(value);
  } else if (name == "native") {
    options.native = parse_native(value);
  } else if (name == "workers") {
    options.workers = parse_workers(value);
  } else if (name == "pack_max") {
    options.pack_max = parse_pack_max(value);
  } else if (is_of_reaper(name)) {
    set_reaper(options.reaper, name, value);
  } else {
    return false;
  }
  return true;
}

// True if the option has no effect on this program.
bool is_for_others(const Options& options, const Invocation& caller, std::string_view option) {
  if (option.empty() || option.starts_with("x-") || option.starts_with("X-")) return true;
  if (contains(kAcceptedOptions, option)) return true;
  const std::size_t equals = option.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = option.substr(0, equals);
  return contains(kValuesForOthers, name) || (caller.helper && contains(kValuesOfLoops, name)) ||
         (options.remount && contains(kValuesOfTable, name));
}

void apply_mount_option(Options& options, const Invocation& caller, std::string_view option) {
  if (is_for_others(options, caller, option)) return;
  const auto refusal = std::ranges::find(kRefusals, option, &Refusal::option);
  if (refusal != kRefusals.end()) {
    throw UsageError(fmt::format("mount option {}: {}", option, refusal->why));
  }
  const std::size_t equals = option.find('=');
  const bool known =
      equals == std::string_view::npos
          ? apply_flag(options, option)
          : apply_value(options, option.substr(0, equals), option.substr(equals + 1));
  if (!known && !caller.sloppy) {
    throw UsageError(fmt::format("unknown mount option \"{}\"", option));
  }
}

std::vector<std::string> split_options(std::span<const std::string> lists) {
  std::vector<std::string> options;
  for (const std::string& list : lists) {
    for (const auto part : std::views::split(list, ','))
      options.emplace_back(part.begin(), part.end());
  }
  return options;
}

po::options_description own_switches() {
  po::options_description switches("Options");
  auto add = switches.add_options();
  add("options,o", po::value<std::vector<std::string>>()->composing()->value_name("OPTIONS"),
      "mount options, joined with ','");
  add("foreground,f", "stay in the foreground, messages on standard error");
  add("debug,d", "as -f, and show every request");
  add("help,h", "show this help and exit");
  add("version,V", "show the version and exit");
  return switches;
}

// The switches that mount(8) may pass to a helper.
po::options_description helper_switches() {
  po::options_description switches;
  auto add = switches.add_options();
  add("options,o", po::value<std::vector<std::string>>()->composing(), "");
  add("fake,f", "");
  add("sloppy,s", "");
  add("no-mtab,n", "");
  add("verbose,v", "");
  add("type,t", po::value<std::string>(), "");
  add("help,h", "");
  add("version,V", "");
  return switches;
}

po::variables_map parse_switches(std::span<const std::string> arguments, bool helper) {
  po::options_description all;
  all.add(helper ? helper_switches() : own_switches());
  all.add_options()(kOperands, po::value<std::vector<std::string>>());
  po::positional_options_description positional;
  positional.add(kOperands, -1);
  // The meaning of abbreviated options would change when new options are added.
  const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  po::variables_map values;
  try {
    po::store(po::command_line_parser({arguments.begin(), arguments.end()})
                  .options(all)
                  .positional(positional)
                  .style(style)
                  .run(),
              values);
    po::notify(values);
  } catch (const po::error& error) {
    throw UsageError(error.what());
  }
  return values;
}

void take_operands(Options& options, const po::variables_map& values) {
  std::vector<std::string> operands;
  if (values.count(kOperands) != 0) operands = values[kOperands].as<std::vector<std::string>>();
  if (operands.empty() || operands[0].empty()) throw UsageError("missing argument: POOL");
  if (operands.size() < 2 || operands[1].empty()) throw UsageError("missing argument: MOUNTPOINT");
  if (operands.size() > 2) throw UsageError(fmt::format("unexpected argument \"{}\"", operands[2]));
  options.pool = operands[0];
  options.mount_point = operands[1];
}

}  // namespace

Options parse_options(std::span<const std::string> arguments, bool helper) {
  const po::variables_map values = parse_switches(arguments, helper);
  Options options;
  options.help = values.count("help") != 0;
  options.version = values.count("version") != 0;
  if (options.help || options.version) return options;
  options.debug = values.count("debug") != 0;
  options.foreground = options.debug || values.count("foreground") != 0;
  options.fake = values.count("fake") != 0;
  if (helper) options.mount_flags.assign(kFlagsOfMount8.begin(), kFlagsOfMount8.end());
  if (values.count("options") != 0) {
    const Invocation caller{.helper = helper, .sloppy = values.count("sloppy") != 0};
    const auto list = split_options(values["options"].as<std::vector<std::string>>());
    options.remount = std::ranges::find(list, "remount") != list.end();
    for (const std::string& option : list)
      apply_mount_option(options, caller, option);
  }
  take_operands(options, values);
  return options;
}

std::string help_text() {
  std::ostringstream text;
  text << "Usage: mpoolfs [OPTIONS] POOL MOUNTPOINT\n\n"
          "Mounts a pool. POOL is its name, UUID=…, or its devices joined with ','.\n"
          "Returns when the mount is usable; it ends with umount(8).\n\n"
       << own_switches() << '\n'
       << kMountOptions;
  return text.str();
}

}  // namespace mpoolfs
