// mpool set: changes settings kept in a pool.
#include <limits>
#include <utility>
#include <vector>

#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/pool_access.h"
#include "tools/settings.h"

namespace mpool::tools {

int run_set(Context& context, Arguments arguments) {
  CommandLine line(
      "mpool set [OPTIONS] POOL KEY=VALUE...",
      "Changes settings of POOL (a name, UUID=…, or device paths joined with ','), "
      "which must\nnot be mounted. The keys:" +
          describe_settings(),
      {.names = "POOL KEY=VALUE...", .least = 2, .most = std::numeric_limits<std::size_t>::max()});
  if (!line.parse(context, arguments)) return kSuccess;
  // All are parsed before the pool is changed.
  SettingChanges changes;
  for (const std::string& assignment : Arguments(line.operands()).subspan(1))
    parse_setting(assignment, changes);

  const auto pool = activate_for_change(resolve(line.operands().front()));
  std::vector<std::pair<MediaClass, unsigned>> spares;
  for (const MediaClass media_class : {MediaClass::capacity, MediaClass::staging}) {
    const auto& percent = changes.spares[index_of(media_class)];
    if (!percent) continue;
    pool->class_info(media_class);  // ENODEV before any change
    spares.emplace_back(media_class, *percent);
  }
  for (const auto& [media_class, percent] : spares)
    pool->set_spare_percent(media_class, percent);
  if (changes.config != Pool::Settings{}) pool->configure(changes.config);
  return kSuccess;
}

}  // namespace mpool::tools
