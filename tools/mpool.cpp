#include <algorithm>
#include <array>
#include <cerrno>
#include <ostream>

#include <fmt/format.h>
#include <fmt/ostream.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/print.h"

namespace mpool::tools {

namespace {

constexpr std::array kSubCommands = {
    SubCommand{"create", "make a pool on a block device or in a file", run_create},
    SubCommand{"list", "list the pools of this machine", run_list},
    SubCommand{"info", "show a pool's devices, space and settings", run_info},
    SubCommand{"df", "show how full pools are", run_df},
    SubCommand{"stat", "show what a mounted pool does", run_stat},
    SubCommand{"add", "give a pool a staging device", run_add},
    SubCommand{"grow", "use the room by which a pool's devices grew", run_grow},
    SubCommand{"rename", "give a pool another name", run_rename},
    SubCommand{"set", "change settings of a pool", run_set},
    SubCommand{"get", "show settings of a pool", run_get},
    SubCommand{"destroy", "remove a pool", run_destroy},
    SubCommand{"activate", "have programs find a pool by name", run_activate},
    SubCommand{"deactivate", "end that", run_deactivate},
    SubCommand{"dump", "list every object of a pool with a checksum of its content", run_dump},
    SubCommand{"object", "work on the objects of a pool by their ids", run_object},
    SubCommand{"log", "append to, read and erase logs of programs", run_log},
    SubCommand{"mdc", "the same for metadata containers, pairs of logs", run_mdc},
    SubCommand{"map", "make maps of a mounted pool, and see what of them is in memory", run_map},
    SubCommand{"check", "find, and repair, what is wrong with a pool", run_check, kCheckFailure,
               kCheckUsage},
};

void print_help(Context& context) {
  fmt::print(context.out,
             "Usage: mpool SUB-COMMAND [OPTIONS] [ARGUMENTS]\n"
             "\n"
             "Makes, shows and removes mpools. To mount one: mpoolfs(8).\n"
             "\n"
             "Sub-commands (mpool SUB-COMMAND --help tells more):\n");
  for (const SubCommand& command : kSubCommands) {
    fmt::print(context.out, "  {:<10} {}\n", command.name, command.summary);
  }
  fmt::print(context.out,
             "\n"
             "Options:\n"
             "  -h [ --help ]         show this help and exit\n"
             "  -V [ --version ]      show the version and exit\n");
}

// The remedy for a failure of this kind; empty when there is none.
std::string_view advice(int code) {
  switch (code) {
    case EBUSY:
      return "End what uses it (a mounted pool: umount it) and try again.";
    case ENODEV:
      return "A pool in files that is not active, and a pool some of whose devices are not found, "
             "is named by the paths of all its devices: DEV or DEV,DEV.";
    case ENOTUNIQ:
      return "Name the pool by UUID=… or by its device paths.";
    case EACCES:
    case EPERM:
      return ::geteuid() != 0 ? "Run as root." : std::string_view();
    default:
      return {};
  }
}

int run_sub_command(Context& context, const SubCommand& command, Arguments arguments) {
  try {
    return command.run(context, arguments);
  } catch (const UsageError& error) {
    print_escaped(context.err, "mpool {}: {}\nTry: mpool {} --help\n", command.name, error.what(),
                  command.name);
    return command.usage;
  } catch (const Error& error) {
    print_escaped(context.err, "mpool {}: {}\n", command.name, error.what());
    if (const auto text = advice(error.code()); !text.empty()) {
      print_escaped(context.err, "{}\n", text);
    }
    return command.failure;
  }
}

}  // namespace

std::span<const SubCommand> sub_commands() {
  return kSubCommands;
}

int run_mpool(Context& context, Arguments arguments) {
  if (arguments.empty()) {
    print_escaped(context.err, "mpool: missing sub-command\nTry: mpool --help\n");
    return kUsage;
  }
  const std::string& first = arguments.front();
  if (first == "--help" || first == "-h") {
    print_help(context);
    return kSuccess;
  }
  if (first == "--version" || first == "-V") {
    print_escaped(context.out, "mpool {}\n", MPOOLFS_VERSION);
    return kSuccess;
  }
  const auto command = std::ranges::find(kSubCommands, first, &SubCommand::name);
  if (command == kSubCommands.end()) {
    print_escaped(context.err, "mpool: no sub-command or option \"{}\"\nTry: mpool --help\n",
                  first);
    return kUsage;
  }
  return run_sub_command(context, *command, arguments.subspan(1));
}

}  // namespace mpool::tools
