// mpool object: the objects of a pool by their ids.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ostream>
#include <sstream>
#include <string_view>

#include <fmt/format.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "engine/object/mblock.h"
#include "fuse/client/params.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_objects.h"
#include "tools/print.h"
#include "tools/table.h"

namespace mpool::tools {

namespace {

using Access = PoolObjects::Access;

constexpr std::size_t kObjectChunk = 1u << 20;
constexpr std::array kObjectVerbs = {Verb{"list", "", 0, 0, {"json"}},
                                     Verb{"show", "ID", 1, 1, {"json"}},
                                     Verb{"read", "ID", 1, 1},
                                     Verb{"write", "[FILE]", 0, 1, {"class", "json"}},
                                     Verb{"delete", "ID...", 1, ~std::size_t{0}},
                                     Verb{"run", "[FILE]", 0, 1, {"json"}}};

constexpr std::array<std::string_view, 5> kSteps = {"write", "commit", "abort", "delete", "show"};

Json facts_of(PoolObjects& pool, ObjectId id) {
  Json facts = {{"objid", id.to_string()}, {"type", id.is_mlog() ? "mlog" : "mblock"}};
  unsigned media_class = 0;
  bool committed = false;
  if (id.is_mlog()) {
    const mlog_props log = pool.backend().log(id);
    media_class = log.lpr_mclassp;
    committed = log.lpr_iscommitted != 0;
    facts.update({{"capacity", log.lpr_alloc_cap},
                  {"generation", log.lpr_gen},
                  {"uuid", libmpool::uuid_from(log.lpr_uuid).to_string()},
                  {"committed", committed}});
  } else {
    const mblock_props mblock = pool.backend().mblock(id);
    media_class = mblock.mpr_mclassp;
    committed = mblock.mpr_iscommitted != 0;
    facts.update({{"capacity", mblock.mpr_alloc_cap},
                  {"length", mblock.mpr_write_len},
                  {"committed", committed}});
  }
  facts["class"] = to_string(static_cast<MediaClass>(media_class));
  facts["owner"] = committed && pool.backend().is_of_tree(id) ? "tree" : "program";
  return facts;
}

void show_facts(Context& context, const Json& facts) {
  for (const auto& [key, value] : facts.items()) {
    print_escaped(context.out, "{:<11} {}\n", key + ":",
                  value.is_string() ? value.get<std::string>() : to_line(value));
  }
}

void list_objects(Context& context, PoolObjects& pool, bool json) {
  Json all = Json::array();
  for (const ObjectId id : pool.backend().objects())
    all.push_back(facts_of(pool, id));
  if (json) return print_json(context.out, all);
  Table table({"ID", "TYPE", "CLASS", "LENGTH", "CAPACITY", "OWNER"});
  for (const Json& facts : all) {
    table.add({facts["objid"], facts["type"], facts["class"],
               facts.contains("length") ? to_line(facts["length"]) : "-",
               to_line(facts["capacity"]), facts["owner"]});
  }
  table.print(context.out);
}

// Whole pages, but of an engine in this process also what another implementation may have written.
void read_part(PoolObjects& pool, ObjectId id, std::uint64_t offset, ByteSpan part) {
  if (Pool* const engine = pool.engine()) {
    return read_mblock(*engine, engine->find(id).value(), offset, part);
  }
  pool.backend().read_mblock(id, offset, std::span(&part, 1));
}

void read_object(Context& context, PoolObjects& pool, ObjectId id) {
  const std::uint64_t length = pool.backend().mblock(id).mpr_write_len;
  AlignedBuffer buffer(kObjectChunk);
  for (std::uint64_t offset = 0; offset < length;) {
    const ByteSpan part = buffer.span(
        0, static_cast<std::size_t>(std::min<std::uint64_t>(kObjectChunk, length - offset)));
    read_part(pool, id, offset, part);
    context.out.write(reinterpret_cast<const char*>(part.data()),
                      static_cast<std::streamsize>(part.size()));
    offset += part.size();
  }
}

// Appends the content of a file, filled with zeros to whole pages.
void write_object(Context& context, PoolObjects& pool, ObjectId id, const std::string& path) {
  const mblock_props mblock = pool.backend().mblock(id);
  const std::string content =
      read_input(context, path, mblock.mpr_alloc_cap - mblock.mpr_write_len);
  for (std::size_t begin = 0; begin < content.size(); begin += kObjectChunk) {
    const std::size_t length = std::min(kObjectChunk, content.size() - begin);
    AlignedBuffer pages = AlignedBuffer::zeroed(round_up(length, kPageSize));
    std::memcpy(pages.data(), content.data() + begin, length);
    const ConstByteSpan part = pages.span();
    pool.backend().write_mblock(id, std::span(&part, 1));
  }
}

ObjectId allocate_object(PoolObjects& pool, MediaClass media_class) {
  return pool.backend().allocate(ObjectType::mblock, media_class, 0, SpacePolicy::usable_only);
}

void delete_object(PoolObjects& pool, ObjectId id) {
  pool.check_changeable(id);
  pool.backend().remove(id, id.is_mlog() ? ObjectType::mlog : ObjectType::mblock);
}

// One step of a script. `last`: the object allocated last, which "-" stands for.
void run_step(Context& context, PoolObjects& pool, std::istringstream& words, ObjectId& last,
              bool json) {
  std::string verb;
  std::string word;
  std::string path;
  std::string rest;
  words >> verb;
  if (verb.empty() || verb.front() == '#') return;
  words >> word >> path >> rest;
  const bool has_path = verb == "write";
  if (verb != "alloc" && std::ranges::find(kSteps, verb) == kSteps.end()) {
    throw UsageError(
        fmt::format("\"{}\" is none of alloc, {}", verb, "write, commit, abort, delete or show"));
  }
  if (has_path == path.empty() || !rest.empty() || (verb != "alloc" && word.empty())) {
    throw UsageError(
        "wanted are: alloc [CLASS], write ID FILE, commit ID, abort ID, delete ID, "
        "show ID");
  }
  if (verb == "alloc") {
    if (!word.empty() && word != "capacity" && word != "staging") {
      throw UsageError(fmt::format("\"{}\" is neither capacity nor staging", word));
    }
    last = allocate_object(pool, word == "staging" ? MediaClass::staging : MediaClass::capacity);
    print_escaped(context.out, "{}\n", last.to_string());
    return;
  }
  if (word == "-" && last == ObjectId()) throw UsageError("\"-\": nothing was allocated before");
  const ObjectId id = word == "-" ? last : parse_object_id(word);
  if (verb == "write") return write_object(context, pool, id, path);
  if (verb == "commit") return pool.backend().commit(id, ObjectType::mblock);
  if (verb == "abort") return pool.backend().abort(id, ObjectType::mblock);
  if (verb == "delete") return delete_object(pool, id);
  if (!json) return show_facts(context, facts_of(pool, id));
  context.out << to_line(facts_of(pool, id)) << '\n';
}

void run_script(Context& context, PoolObjects& pool, const std::string& path, bool json) {
  constexpr std::uint64_t kMaxScript = 16u << 20;
  ObjectId last;
  for (const std::string& line : split_records(read_input(context, path, kMaxScript), true)) {
    std::istringstream words(line);
    try {
      run_step(context, pool, words, last, json);
    } catch (const UsageError& error) {
      raise(EINVAL, line, "{}", error.what());  // steps before it were made
    }
  }
}

}  // namespace

int run_object(Context& context, Arguments arguments) {
  CommandLine line(
      "mpool object [OPTIONS] VERB POOL [ARGUMENTS]",
      "Works on the objects of POOL (a name, UUID=…, or device paths joined with ','), through\n"
      "its mount if it is mounted:\n"
      "  list POOL           every object, and whether it belongs to the named tree\n"
      "  show POOL ID        the facts of an object\n"
      "  read POOL ID        prints the content of an mblock\n"
      "  write POOL [FILE]   stores FILE, or the input, as an mblock, and prints its id\n"
      "  delete POOL ID...   deletes objects; those of the tree are refused\n"
      "  run POOL [FILE]     reads steps, one in a line: alloc [CLASS], write ID FILE, commit ID,\n"
      "                      abort ID, delete ID, show ID; - is the object allocated last. What\n"
      "                      is not committed at the end is aborted",
      {.names = "VERB POOL", .least = 2, .most = ~std::size_t{0}});
  line.add_value("class", "CLASS", "media class of a new object; default capacity");
  line.add_switch("json", "print JSON");
  if (!line.parse(context, arguments)) return kSuccess;
  const VerbLine given = parse_verb(line, kObjectVerbs);
  const MediaClass media_class = class_of(line);
  const bool json = line.has("json");
  std::vector<ObjectId> ids;
  if (given.verb == "show" || given.verb == "read" || given.verb == "delete") {
    for (const std::string& text : given.rest)
      ids.push_back(parse_object_id(text));
  }
  const std::string path = given.rest.empty() ? "" : given.rest.front();

  const bool changes = given.verb == "write" || given.verb == "delete" || given.verb == "run";
  PoolObjects pool(given.pool, changes ? Access::change : Access::show);
  if (given.verb == "list") {
    list_objects(context, pool, json);
  } else if (given.verb == "show" && json) {
    print_json(context.out, facts_of(pool, ids.front()));
  } else if (given.verb == "show") {
    show_facts(context, facts_of(pool, ids.front()));
  } else if (given.verb == "read") {
    read_object(context, pool, ids.front());
  } else if (given.verb == "delete") {
    for (const ObjectId id : ids)
      delete_object(pool, id);
  } else if (given.verb == "run") {
    run_script(context, pool, path, json);
  } else {
    const ObjectId id = allocate_object(pool, media_class);
    write_object(context, pool, id, path);
    pool.backend().commit(id, ObjectType::mblock);
    if (json) {
      print_json(context.out, facts_of(pool, id));
    } else {
      print_escaped(context.out, "{}\n", id.to_string());
    }
  }
  return kSuccess;
}

}  // namespace mpool::tools
