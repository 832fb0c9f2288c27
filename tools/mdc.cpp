// mpool mdc: metadata containers of programs, pairs of mlogs.
#include <array>
#include <ostream>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_objects.h"
#include "tools/print.h"

namespace mpool::tools {

namespace {

constexpr auto kMlog = ObjectType::mlog;
constexpr std::array kMdcVerbs = {Verb{"create", "", 0, 0, {"class", "capacity", "json"}},
                                  Verb{"append", "ID,ID [FILE]", 1, 2, {"lines"}},
                                  Verb{"read", "ID,ID", 1, 1, {"records", "json"}},
                                  Verb{"replace", "ID,ID [FILE]", 1, 2, {"lines"}},
                                  Verb{"delete", "ID,ID", 1, 1}};

using Ids = std::pair<ObjectId, ObjectId>;

// "0x30201,0x40201", or "root".
Ids parse_pair(const std::string& text) {
  if (text == "root") return {root_log_id(0), root_log_id(1)};
  const std::size_t comma = text.find(',');
  if (comma == std::string::npos) {
    throw UsageError(fmt::format("\"{}\" is no pair of ids joined with ',', nor root", text));
  }
  return {parse_object_id(text.substr(0, comma)), parse_object_id(text.substr(comma + 1))};
}

Ids create_pair(libmpool::Backend& objects, MediaClass media_class, std::uint64_t capacity) {
  const auto allocate = [&] {
    return objects.allocate(kMlog, media_class, capacity, SpacePolicy::usable_only);
  };
  const ObjectId first = allocate();
  const ObjectId second = allocate();
  objects.commit(first, kMlog);
  try {
    objects.commit(second, kMlog);
  } catch (...) {
    objects.remove(first, kMlog);
    throw;
  }
  return {first, second};
}

void append_records(libmpool::Mdc& mdc, const std::vector<std::string>& records) {
  for (const std::string& record : records) {
    const ConstByteSpan part = as_bytes(record.data(), record.size());
    mdc.append(std::span(&part, 1), false);
  }
}

}  // namespace

int run_mdc(Context& context, Arguments arguments) {
  CommandLine line(
      "mpool mdc [OPTIONS] VERB POOL [ARGUMENTS]",
      "Works on metadata containers of programs in POOL (a name, UUID=…, or device paths joined\n"
      "with ','), through its mount if it is mounted. ID,ID are the ids of the two mlogs, or "
      "root:\n"
      "  create POOL                 makes an empty container, and prints its ids\n"
      "  append POOL ID,ID [FILE]    appends FILE, or the input, as one record\n"
      "  read POOL ID,ID             prints the records, one after the other\n"
      "  replace POOL ID,ID [FILE]   puts FILE, or the input, in the place of all records, at "
      "once\n"
      "  delete POOL ID,ID           deletes both logs\n"
      "The root container of a pool with a named tree cannot be opened.",
      {.names = "VERB POOL", .least = 2, .most = 4});
  line.add_value("class", "CLASS", "media class of a new container; default capacity");
  line.add_value("capacity", "SIZE", "of each new log, rounded up to zones; default one zone");
  line.add_switch("lines", "take each line as a record, without its newline");
  line.add_switch("records",
                  "print the length of each record in a line before it, and a newline "
                  "behind it");
  line.add_switch("json", "print JSON: of read, the records in hexadecimal");
  if (!line.parse(context, arguments)) return kSuccess;
  const VerbLine given = parse_verb(line, kMdcVerbs);
  const MediaClass media_class = class_of(line);
  const std::uint64_t capacity = line.size("capacity").value_or(0);
  const Ids ids = given.rest.empty() ? Ids{} : parse_pair(given.rest.front());
  const std::string path = given.rest.size() < 2 ? "" : given.rest[1];

  PoolObjects pool(given.pool,
                   given.verb == "read" ? PoolObjects::Access::show : PoolObjects::Access::change);
  libmpool::Backend& objects = pool.backend();
  if (given.verb == "create") {
    const Ids made = create_pair(objects, media_class, capacity);
    if (line.has("json")) {
      print_json(context.out, {{"objids", {made.first.to_string(), made.second.to_string()}}});
    } else {
      print_escaped(context.out, "{},{}\n", made.first.to_string(), made.second.to_string());
    }
    return kSuccess;
  }
  for (const ObjectId id : {ids.first, ids.second}) {
    objects.log(id);  // ENOENT, EINVAL
    pool.check_changeable(id);
  }
  if (given.verb == "delete") {
    objects.remove(ids.first, kMlog);
    objects.remove(ids.second, kMlog);
    return kSuccess;
  }
  const auto mdc = objects.open_mdc(ids.first, ids.second);
  if (given.verb == "read") {
    RecordWriter writer(context.out, format_of(line));
    mdc->rewind();
    read_all_records(*mdc, [&](ConstByteSpan record) { writer.add(record); });
    writer.finish();
    return kSuccess;
  }
  const auto records = split_records(
      read_input(context, path, objects.log(ids.first).lpr_alloc_cap), line.has("lines"));
  if (given.verb == "replace") mdc->start_compaction();
  append_records(*mdc, records);
  if (given.verb == "replace") {
    mdc->end_compaction();
  } else {
    mdc->sync();
  }
  mdc->close();
  return kSuccess;
}

}  // namespace mpool::tools
