// mpool grow: uses the room by which the devices of a pool grew.
#include <ostream>

#include "engine/base/size.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_access.h"
#include "tools/print.h"

namespace mpool::tools {

int run_grow(Context& context, Arguments arguments) {
  CommandLine line("mpool grow [OPTIONS] POOL",
                   "Makes the room usable by which the devices or files of POOL (a name, UUID=…, "
                   "or device\npaths joined with ',') grew. The pool must not be mounted.",
                   {.names = "POOL", .least = 1, .most = 1});
  line.add_switch("json", "print what the pool has now as JSON");
  if (!line.parse(context, arguments)) return kSuccess;

  const auto pool = activate_for_change(resolve(line.operands().front()));
  for (const MediaClass media_class : pool->classes()) {
    const Pool::ClassInfo before = pool->class_info(media_class);
    const bool grew = pool->grow(media_class);
    if (line.has("json")) continue;
    const DeviceParams params = pool->class_info(media_class).params;
    print_escaped(context.out, "{} {}: ", to_string(media_class), before.device_name);
    if (grew) {
      print_escaped(context.out, "grew from {} to {}, {} zones more\n",
                    format_size(before.params.device_size), format_size(params.device_size),
                    params.zone_count - before.params.zone_count);
    } else {
      print_escaped(context.out, "{} as before\n", format_size(params.device_size));
    }
  }
  if (line.has("json")) print_json(context.out, summary_json(*pool));
  return kSuccess;
}

}  // namespace mpool::tools
