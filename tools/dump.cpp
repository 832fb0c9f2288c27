// mpool dump: every object of a pool with a checksum of its content. Never writes.
#include <algorithm>
#include <ostream>

#include "engine/base/error.h"
#include "engine/mlog/mlog.h"
#include "engine/object/log_content.h"
#include "engine/object/mblock.h"
#include "engine/pool/discovery.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_access.h"
#include "tools/print.h"
#include "tools/progress.h"
#include "tools/sha256.h"

namespace mpool::tools {

namespace {

constexpr std::size_t kChunkSize = 1u << 20;

// The digest of one object's content.
struct Digest {
  std::uint64_t records = 0;  // mlogs only
  std::string sha256;         // empty when it could not be read
  bool unfinished_compaction = false;
  std::string error;  // not empty: why it could not be read
};

Digest digest_mblock(const Pool& pool, const ObjectRecord& object, AlignedBuffer& buffer) {
  Sha256 hash;
  for (std::uint64_t offset = 0; offset < object.written_length;) {
    const auto length = static_cast<std::size_t>(
        std::min<std::uint64_t>(buffer.size(), object.written_length - offset));
    read_mblock(pool, object, offset, buffer.span(0, length));
    hash.update(buffer.span(0, length));
    offset += length;
  }
  return {.sha256 = hash.finish(), .error = {}};
}

Digest digest_mlog(const Pool& pool, const ObjectRecord& object) {
  const auto log = open_any_mlog(pool.mlog_location(object));
  const Mlog::Stats stats = log->stats();
  if (stats.has_compaction_start && !stats.has_compaction_end) {
    return {.sha256 = {}, .unfinished_compaction = true, .error = {}};
  }
  MlogReader reader(*log);
  RecordHash hash;
  std::vector<std::byte> record;
  while (reader.next(record))
    hash.add(record);
  return {.records = hash.count(), .sha256 = hash.finish(), .error = {}};
}

// A damaged object must not prevent the others from being shown.
Digest digest(const Pool& pool, const ObjectRecord& object, AlignedBuffer& buffer) {
  try {
    return object.id.is_mblock() ? digest_mblock(pool, object, buffer) : digest_mlog(pool, object);
  } catch (const Error& error) {
    return {.sha256 = {}, .error = error.what()};
  }
}

Json object_json(const ObjectRecord& object, const Digest& content) {
  Json json = {
      {"objid", object.id.to_string()},         {"type", object.id.is_mblock() ? "mblock" : "mlog"},
      {"class", to_string(object.media_class)}, {"zone", object.layout.first_zone},
      {"zones", object.layout.zone_count},      {"generation", object.generation}};
  if (object.id.is_mblock()) json["length"] = object.written_length;
  if (content.unfinished_compaction) json["unfinished_compaction"] = true;
  if (!content.error.empty()) json["error"] = content.error;
  if (!content.sha256.empty()) {
    if (object.id.is_mlog()) json["records"] = content.records;
    json["sha256"] = content.sha256;
  }
  return json;
}

Json mdc_json(const Pool& pool, const Pool::MdcStats& stats) {
  RecordHash hash;
  pool.read_mdc(stats.slot, [&](ConstByteSpan record) { hash.add(record); });
  Json logs = Json::array();
  for (std::size_t i = 0; i < stats.mdc.ids.size(); ++i) {
    logs.push_back(
        {{"objid", stats.mdc.ids[i].to_string()}, {"generation", stats.mdc.generations[i]}});
  }
  return {{"slot", stats.slot},
          {"logs", logs},
          {"active", stats.mdc.ids[stats.mdc.active].to_string()},
          {"last_uniquifier", stats.last_uniquifier},
          {"last_checkpoint", stats.last_checkpoint.to_string()},
          {"blocks", stats.mdc.log.blocks},
          {"flush_set", stats.mdc.log.last_flush_set},
          {"next_flush_set", stats.mdc.log.next_flush_set},
          {"records", hash.count()},
          {"sha256", hash.finish()}};
}

// Takes the parts of a dump as they are found: the JSON of all objects of a pool may exceed the
// memory.
class Writer {
 public:
  Writer(std::ostream& out, bool json) : out_(out), json_(json) {}

  void head(const Pool& pool) {
    for (const auto& [key, value] : {std::pair<const char*, Json>{"pool", pool_json(pool)},
                                     {"devices", devices_json(pool)},
                                     {"config", config_json(pool)},
                                     {"spares", spares_json(pool)},
                                     {"damage", Json(pool.damage())}}) {
      if (json_) {
        print_escaped(out_, "{}\"{}\": {},\n", std::exchange(opening_, " "), key, to_line(value));
      } else {
        print_escaped(out_, "{:<8} {}\n", key, to_line(value));
      }
    }
  }
  void begin_list(const char* key) {
    if (json_) print_escaped(out_, " \"{}\": [", key);
    separator_ = "\n";
  }
  void entry(const char* kind, const Json& value) {
    if (json_) {
      out_ << std::exchange(separator_, ",\n") << "  " << to_line(value);
      return;
    }
    print_escaped(out_, "{:<8}", kind);
    for (const auto& [key, field] : value.items()) {
      print_escaped(out_, " {}={}", key,
                    field.is_string() ? field.get<std::string>() : to_line(field));
    }
    print_escaped(out_, "\n");
  }
  void end_list(const char* after) {
    if (json_) print_escaped(out_, "\n ]{}\n", after);
  }

 private:
  std::ostream& out_;
  bool json_;
  const char* opening_ = "{";
  const char* separator_ = "\n";
};

// Returns the number of objects that could not be read.
std::size_t write_objects(Context& context, Writer& writer, const Pool& pool) {
  const auto objects = pool.objects();
  AlignedBuffer buffer(kChunkSize);
  Progress progress(context, "mpool dump");
  std::size_t done = 0;
  std::size_t failed = 0;
  for (const ObjectRecord& object : objects) {
    const Digest content = digest(pool, object, buffer);
    writer.entry("object", object_json(object, content));
    if (!content.error.empty()) ++failed;
    progress.show(++done, objects.size(), "objects");
  }
  return failed;
}

}  // namespace

int run_dump(Context& context, Arguments arguments) {
  CommandLine line(
      "mpool dump [OPTIONS] POOL",
      "Shows the facts and every object of POOL (a name, UUID=…, or device paths joined "
      "with ','),\nwith the SHA-256 of its content. Writes nothing, even when the pool has "
      "to be recovered\nto be read. The pool must not be active.",
      {.names = "POOL", .least = 1, .most = 1});
  line.add_switch("json", "print JSON");
  if (!line.parse(context, arguments)) return kSuccess;

  const auto pool = inspect_pool(resolve(line.operands().front()), OnDamage::report);
  Writer writer(context.out, line.has("json"));
  writer.head(*pool);
  writer.begin_list("mdcs");
  for (const Pool::MdcStats& stats : pool->mdcs())
    writer.entry("mdc", mdc_json(*pool, stats));
  writer.end_list(",");
  writer.begin_list("objects");
  const std::size_t failed = write_objects(context, writer, *pool);
  writer.end_list("}");
  const std::size_t damages = pool->damage().size();
  if (damages != 0) {
    print_escaped(context.err,
                  "mpool dump: the pool is damaged in {} places, and not all of it is shown: see "
                  "\"damage\"\n",
                  damages);
  }
  if (failed != 0) {
    print_escaped(context.err, "mpool dump: {} objects could not be read: see \"error\" there\n",
                  failed);
  }
  return failed + damages == 0 ? kSuccess : kFailure;
}

}  // namespace mpool::tools
