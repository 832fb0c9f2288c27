// mpool log: mlogs of a pool by their ids.
#include <array>
#include <charconv>
#include <ostream>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/object/log_content.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_objects.h"
#include "tools/print.h"

namespace mpool::tools {

namespace {

using Access = PoolObjects::Access;

constexpr std::array kLogVerbs = {
    Verb{"create", "", 0, 0, {"class", "capacity", "json"}},
    Verb{"append", "ID [FILE]", 1, 2, {"lines"}}, Verb{"read", "ID", 1, 1, {"records", "json"}},
    Verb{"erase", "ID", 1, 1, {"generation"}}, Verb{"delete", "ID", 1, 1}};

void append_records(Context& context, PoolObjects& pool, ObjectId id, const std::string& path,
                    bool lines) {
  const auto log = pool.backend().open_log(id, {});
  const std::uint64_t capacity = pool.backend().log(id).lpr_alloc_cap;
  for (const std::string& record : split_records(read_input(context, path, capacity), lines)) {
    const ConstByteSpan part = as_bytes(record.data(), record.size());
    log->append(std::span(&part, 1), false);
  }
  log->sync();
  log->close();
}

void read_records(PoolObjects& pool, ObjectId id, RecordWriter writer) {
  pool.backend().log(id);  // ENOENT, EINVAL
  if (Pool* const engine = pool.engine()) {
    const auto log = open_any_mlog(engine->mlog_location(engine->find(id).value()));
    MlogReader reader(*log);
    std::vector<std::byte> record;
    while (reader.next(record))
      writer.add(record);
  } else {
    const auto log = pool.backend().open_log(id, {});
    log->rewind();
    read_all_records(*log, [&](ConstByteSpan record) { writer.add(record); });
  }
  writer.finish();
}

std::uint64_t generation_of(const CommandLine& line) {
  const std::string text = line.text("generation").value_or("0");
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  if (std::from_chars(text.data(), end, value) != std::from_chars_result{end, std::errc{}}) {
    throw UsageError(fmt::format("--generation: \"{}\" is not a number", text));
  }
  return value;
}

}  // namespace

int run_log(Context& context, Arguments arguments) {
  CommandLine line(
      "mpool log [OPTIONS] VERB POOL [ARGUMENTS]",
      "Works on the mlogs of POOL (a name, UUID=…, or device paths joined with ','), through its\n"
      "mount if it is mounted:\n"
      "  create POOL             makes an empty log, and prints its id\n"
      "  append POOL ID [FILE]   appends FILE, or the input, as one record\n"
      "  read POOL ID            prints the records, one after the other\n"
      "  erase POOL ID           empties a log\n"
      "  delete POOL ID          deletes a log\n"
      "Logs of the named tree can be read only, and not while it is mounted.",
      {.names = "VERB POOL", .least = 2, .most = 4});
  line.add_value("class", "CLASS", "media class of a new log; default capacity");
  line.add_value("capacity", "SIZE", "of a new log, rounded up to zones; default one zone");
  line.add_switch("lines", "append each line as a record, without its newline");
  line.add_switch("records",
                  "print the length of each record in a line before it, and a newline "
                  "behind it");
  line.add_value("generation", "N", "of an erased log, if greater than the next one");
  line.add_switch("json", "print JSON: of read, the records in hexadecimal");
  if (!line.parse(context, arguments)) return kSuccess;
  const VerbLine given = parse_verb(line, kLogVerbs);
  const MediaClass media_class = class_of(line);
  const std::uint64_t generation = generation_of(line);
  const std::uint64_t capacity = line.size("capacity").value_or(0);
  const ObjectId named = given.rest.empty() ? ObjectId{} : parse_object_id(given.rest.front());
  const std::string path = given.rest.size() < 2 ? "" : given.rest[1];

  PoolObjects pool(given.pool, given.verb == "read" ? Access::show : Access::change);
  libmpool::Backend& objects = pool.backend();
  if (given.verb == "read") {
    read_records(pool, named, RecordWriter(context.out, format_of(line)));
    return kSuccess;
  }
  if (given.verb == "create") {
    const ObjectId id =
        objects.allocate(ObjectType::mlog, media_class, capacity, SpacePolicy::usable_only);
    objects.commit(id, ObjectType::mlog);
    if (line.has("json")) {
      print_json(context.out,
                 {{"objid", id.to_string()}, {"capacity", objects.log(id).lpr_alloc_cap}});
    } else {
      print_escaped(context.out, "{}\n", id.to_string());
    }
    return kSuccess;
  }
  objects.log(named);  // ENOENT, EINVAL
  pool.check_changeable(named);
  if (given.verb == "append") {
    append_records(context, pool, named, path, line.has("lines"));
  } else if (given.verb == "erase") {
    const auto log = objects.open_log(named, {});
    log->erase(generation);
    log->close();
  } else {
    objects.remove(named, ObjectType::mlog);
  }
  return kSuccess;
}

}  // namespace mpool::tools
