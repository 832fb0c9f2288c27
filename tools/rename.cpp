// mpool rename: gives a pool another name.
#include <ostream>

#include "fuse/client/registry.h"
#include "tools/claim.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/pool_access.h"
#include "tools/print.h"

namespace mpool::tools {

int run_rename(Context& context, Arguments arguments) {
  CommandLine line("mpool rename [OPTIONS] POOL NAME",
                   "Gives POOL (a name, UUID=…, or device paths joined with ',') the name NAME. "
                   "The pool must\nnot be mounted.",
                   {.names = "POOL NAME", .least = 2, .most = 2});
  line.add_switch("force", "also when another pool on a block device has the name");
  if (!line.parse(context, arguments)) return kSuccess;

  const std::vector<std::string> paths = resolve(line.operands()[0]);
  const std::string& name = line.operands()[1];
  if (!line.has("force")) refuse_taken_name(name, paths);
  const auto pool = activate_for_change(paths);
  const std::string before = pool->name();
  pool->rename(name);
  libmpool::record_renamed(pool->uuid(), name);
  print_escaped(context.out, "Pool {} (UUID {}) is called {} now.\n", before,
                pool->uuid().to_string(), name);
  return kSuccess;
}

}  // namespace mpool::tools
