// mpool map: committed mblocks of a mounted pool as one file each.
#include <array>
#include <cstdlib>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/bytes.h"
#include "engine/base/size.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/map_picture.h"
#include "tools/map_session.h"
#include "tools/pool_objects.h"
#include "tools/print.h"
#include "tools/table.h"

namespace mpool::tools {

namespace {

constexpr std::size_t kAnyNumber = ~std::size_t{0};
constexpr std::array kMapVerbs = {
    Verb{"create", "NAME MEMBER...", 2, kAnyNumber, {"advice", "json"}},
    Verb{"list", "", 0, 0, {"json"}},
    Verb{"show", "NAME", 1, 1, {"json"}},
    Verb{"purge", "NAME...", 1, kAnyNumber},
    Verb{"advise", "NAME ADVICE", 2, 2},
    Verb{"rm", "NAME...", 1, kAnyNumber}};
constexpr std::string_view kWillNeed = "willneed";

Advice need_advice(const std::string& text) {
  const auto advice = parse_advice(text);
  if (!advice) throw UsageError(fmt::format("\"{}\" is not cold, warm, hot or pinned", text));
  return *advice;
}

unsigned terminal_width() {
  constexpr unsigned kWidth = 80;
  if (const char* columns = ::secure_getenv("COLUMNS")) {
    const long given = std::strtol(columns, nullptr, 10);
    if (given > 0 && given <= 1000) return static_cast<unsigned>(given);
  }
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kWidth;
}

// As setlocale(3) chooses.
PictureStyle picture_style() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = ::secure_getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view locale(value);
    const bool is_utf8 = locale.find("UTF-8") != std::string_view::npos ||
                         locale.find("utf8") != std::string_view::npos;
    return is_utf8 ? PictureStyle::unicode : PictureStyle::ascii;
  }
  return PictureStyle::ascii;
}

Json map_json(const MapSession& session, const MapFacts& map) {
  return {{"name", map.name},
          {"path", session.path_of(map.name)},
          {"members", map.members},
          {"stride", map.stride},
          {"size", map.size()},
          {"written", map.written},
          {"resident_pages", map.resident},
          {"total_pages", map.size() / kPageSize},
          {"advice", to_string(map.advice)},
          {"native", map.native}};
}

void list_maps(Context& context, const MapSession& session, bool json) {
  std::vector<MapFacts> maps;
  for (const std::string& name : session.names())
    maps.push_back(session.facts(name));
  if (json) {
    Json all = Json::array();
    for (const MapFacts& map : maps)
      all.push_back(map_json(session, map));
    return print_json(context.out, all);
  }
  if (maps.empty()) return;
  Table table({"NAME", "MEMBERS", "STRIDE", "SIZE", "IN MEMORY", "ADVICE", "READ BY"});
  for (const MapFacts& map : maps) {
    table.add({map.name, fmt::format("{}", map.members), format_size(map.stride),
               format_size(map.size()), format_size(map.resident * kPageSize),
               std::string(to_string(map.advice)), map.native ? "kernel" : "daemon"});
  }
  table.print(context.out);
}

void show_map(Context& context, const MapSession& session, const std::string& name, bool json) {
  const MapFacts map = session.facts(name);
  const auto members = session.members(map);
  if (json) {
    const auto cells = session.residency(map, map.stride);
    Json all = Json::array();
    for (std::size_t i = 0; i < members.size(); ++i) {
      all.push_back({{"objid", members[i].id.to_string()},
                     {"length", members[i].length},
                     {"resident_pages", cells.at(i)}});
    }
    Json shown = map_json(session, map);
    shown["objects"] = std::move(all);
    return print_json(context.out, shown);
  }
  print_escaped(context.out, "{}: {} members, stride {}, {}\n\n", session.path_of(name),
                map.members, format_size(map.stride), format_size(map.size()));
  const PictureLayout layout = layout_picture(map, terminal_width());
  draw_picture(context.out, map, members, session.residency(map, layout.step), layout,
               picture_style());
}

}  // namespace

int run_map(Context& context, Arguments arguments) {
  CommandLine line(
      "mpool map [OPTIONS] VERB WHERE [ARGUMENTS]",
      "Works on the maps of a mounted pool. WHERE is its mount point, or the pool (a name, "
      "UUID=…,\n"
      "or device paths joined with ','):\n"
      "  create WHERE NAME MEMBER...   makes WHERE/.mpool/map/NAME of mblocks (0x…) and of the\n"
      "                                mblocks of committed files, each at a multiple of a stride\n"
      "  list WHERE                    every map, and how much of it is in memory\n"
      "  show WHERE NAME               a picture of which parts are in memory\n"
      "  purge WHERE NAME...           drops pages that no program has mapped\n"
      "  advise WHERE NAME ADVICE      how long unused pages stay: cold, warm, hot or pinned; or\n"
      "                                willneed, to read all of it now\n"
      "  rm WHERE NAME...              removes maps; their users go on",
      {.names = "VERB WHERE", .least = 2, .most = kAnyNumber});
  line.add_value("advice", "ADVICE", "of a new map; default cold");
  line.add_switch("json", "print JSON");
  if (!line.parse(context, arguments)) return kSuccess;
  const VerbLine given = parse_verb(line, kMapVerbs);
  const bool json = line.has("json");
  const Advice advice = need_advice(line.text("advice").value_or("cold"));
  std::optional<Advice> advised;
  if (given.verb == "advise" && given.rest[1] != kWillNeed) advised = need_advice(given.rest[1]);

  MapSession session(given.pool);
  if (given.verb == "list") {
    list_maps(context, session, json);
    return kSuccess;
  }
  const std::string& name = given.rest.front();
  if (given.verb == "create") {
    session.create(name, std::span(given.rest).subspan(1), advice);
    if (json) {
      print_json(context.out, map_json(session, session.facts(name)));
    } else {
      print_escaped(context.out, "{}\n", session.path_of(name));
    }
  } else if (given.verb == "show") {
    show_map(context, session, name, json);
  } else if (advised) {
    session.advise(name, *advised);
  } else if (given.verb == "advise") {
    session.read_ahead(session.facts(name));
  } else {
    for (const std::string& each : given.rest)
      given.verb == "purge" ? session.purge(each) : session.remove(each);
  }
  return kSuccess;
}

}  // namespace mpool::tools
