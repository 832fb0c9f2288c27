// mpool get: shows settings kept in a pool.
#include <limits>
#include <ostream>

#include <fmt/format.h>

#include "engine/base/printable.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_access.h"
#include "tools/settings.h"

namespace mpool::tools {

int run_get(Context& context, Arguments arguments) {
  CommandLine line(
      "mpool get [OPTIONS] POOL [KEY...]",
      "Shows settings of POOL (a name, UUID=…, or device paths joined with ','), all "
      "without\nKEY, as KEY=VALUE; with one KEY its value alone. The pool must not be "
      "mounted. The keys:" +
          describe_settings(),
      {.names = "POOL [KEY...]", .least = 1, .most = std::numeric_limits<std::size_t>::max()});
  line.add_switch("json", "print JSON");
  if (!line.parse(context, arguments)) return kSuccess;

  const auto pool = inspect_idle_pool(resolve(line.operands().front()));
  std::vector<std::string> keys(line.operands().begin() + 1, line.operands().end());
  const bool value_alone = keys.size() == 1;
  if (keys.empty()) {
    for (const std::string_view key : setting_keys()) {
      if (has_setting(*pool, key)) keys.emplace_back(key);
    }
  }
  Json values = Json::object();
  std::string lines;
  for (const std::string& key : keys) {
    values[key] = setting_json(*pool, key);
    lines +=
        fmt::format("{}{}\n", value_alone ? "" : key + "=", printable(setting_text(*pool, key)));
  }
  if (line.has("json")) {
    print_json(context.out, values);
  } else {
    context.out << lines;
  }
  return kSuccess;
}

}  // namespace mpool::tools
