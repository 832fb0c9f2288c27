// Access of the sub-commands object, log and mdc to the objects of a pool: through its mount, or
// with the engine in this process.
#pragma once

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/pool/pool.h"
#include "fuse/client/backend.h"
#include "tools/command_line.h"
#include "tools/context.h"

namespace mpool::tools {

// The objects of a pool. Those that are not committed at the end are aborted.
class PoolObjects {
 public:
  enum class Access { show, change };
  // A pool opened to show it is never written to. Errors: those of inspect_idle_pool(),
  // activate_for_change() and libmpool::MountBackend::find().
  PoolObjects(const std::string& pool, Access access);

  libmpool::Backend& backend() { return *backend_; }
  // Null when the pool is mounted.
  Pool* engine() { return engine_; }
  // EPERM for an object that belongs to the named tree, or may.
  void check_changeable(ObjectId id);

 private:
  std::unique_ptr<libmpool::Backend> backend_;
  Pool* engine_ = nullptr;  // of the back end
};

// Calls `write` with each record from the position of reading to the end.
template <typename Write>
void read_all_records(libmpool::Records& records, const Write& write) {
  std::vector<std::byte> buffer(1u << 16);
  for (;;) {
    const SharedReader::Result result = records.read(buffer);
    if (result.error == EOVERFLOW) {
      buffer.resize(result.length);
      continue;
    }
    if (result.length == 0) return;
    write(ConstByteSpan(buffer).first(result.length));
  }
}

// What follows the verb on a command line such as `mpool log append POOL ID`.
struct VerbLine {
  std::string verb;
  std::string pool;
  std::vector<std::string> rest;  // at least `least` and at most `most` of the verb
};
struct Verb {
  std::string_view name;
  std::string_view operands;  // after POOL, for messages
  std::size_t least = 0;
  std::size_t most = 0;
  std::array<std::string_view, 3> options = {};  // of the sub-command, those it takes
};
// UsageError for another verb, or other operands or options than it takes.
VerbLine parse_verb(const CommandLine& line, std::span<const Verb> verbs);

// "0x30101". UsageError.
ObjectId parse_object_id(const std::string& text);
// The value of --class; capacity without it. UsageError.
MediaClass class_of(const CommandLine& line);

// The bytes of a file, or of the input for "" and "-". At most `limit`: EFBIG for more.
std::string read_input(Context& context, const std::string& path, std::uint64_t limit);
// Without `lines` all of the input is one record; with it each line is one.
std::vector<std::string> split_records(std::string text, bool lines);

// The output of `read`: the payloads alone; with `records` each after a line with its length, and a
// newline behind; as JSON a list of {length, hex}.
enum class RecordFormat { payload, framed, json };
RecordFormat format_of(const CommandLine& line);  // by its switches --json and --records
class RecordWriter {
 public:
  RecordWriter(std::ostream& out, RecordFormat format) : out_(out), format_(format) {}
  void add(ConstByteSpan record);
  void finish();

 private:
  std::ostream& out_;
  const RecordFormat format_;
  std::uint64_t count_ = 0;
};

}  // namespace mpool::tools
