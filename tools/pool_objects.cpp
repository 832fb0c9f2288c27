#include "tools/pool_objects.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <ostream>
#include <utility>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "fuse/client/engine_backend.h"
#include "fuse/client/mount_backend.h"
#include "fuse/client/params.h"
#include "fuse/client/registry.h"
#include "tools/json.h"
#include "tools/mounted.h"
#include "tools/pool_access.h"

namespace mpool::tools {

namespace {

std::unique_ptr<Pool> open_idle(const std::string& pool, PoolObjects::Access access) {
  const std::vector<std::string> paths = resolve(pool);
  return access == PoolObjects::Access::show ? inspect_idle_pool(paths)
                                             : activate_for_change(paths);
}

// The mount of the pool; null without one. Its name needs no rights to the devices.
std::unique_ptr<libmpool::Backend> open_mounted(const std::string& pool) {
  if (!pool.contains('/') && !pool.contains('=')) {
    const auto active = libmpool::find_active(pool);
    auto backend = active ? libmpool::MountBackend::find(*active) : nullptr;
    if (backend != nullptr) return backend;
  }
  const std::vector<std::string> paths = resolve_pool(pool);
  const auto superblocks = peek_superblocks(paths);
  const Superblock& superblock = require_superblock(superblocks.front());
  const auto mounted = find_mounted(paths, superblock);
  if (!mounted) return nullptr;
  libmpool::ActivePool found;
  libmpool::copy_uuid(superblock.pool_uuid, found.params.mp_poolid);
  libmpool::copy_text(superblock.pool_name, found.params.mp_name);
  found.mount_point = mounted->mount_point;
  return libmpool::MountBackend::find(found);
}

// With its tree, to know which objects belong to files.
std::unique_ptr<libmpool::EngineBackend> make_engine(std::unique_ptr<Pool> pool) {
  auto of_tree = libmpool::objects_of_tree(*pool);
  return std::make_unique<libmpool::EngineBackend>(std::move(pool), std::move(of_tree));
}

std::string read_all(std::istream& in, const std::string& name, std::uint64_t limit) {
  std::string text;
  std::vector<char> part(1u << 20);
  while (in.read(part.data(), static_cast<std::streamsize>(part.size())) || in.gcount() > 0) {
    text.append(part.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > limit)
      raise(EFBIG, name, "has more than the {} bytes there is room for", limit);
  }
  if (in.bad()) raise(EIO, name, "cannot be read");
  return text;
}

}  // namespace

PoolObjects::PoolObjects(const std::string& pool, Access access) : backend_(open_mounted(pool)) {
  if (backend_ != nullptr) return;
  auto engine = make_engine(open_idle(pool, access));
  engine_ = &engine->pool();
  backend_ = std::move(engine);
}

void PoolObjects::check_changeable(ObjectId id) {
  if (!backend_->is_of_tree(id)) return;
  raise(EPERM, fmt::format("object {} of pool {}", id.to_string(), backend_->facts().name),
        "it belongs to the named tree, which only a mount changes");
}

VerbLine parse_verb(const CommandLine& line, std::span<const Verb> verbs) {
  const std::vector<std::string>& operands = line.operands();
  const auto verb = std::ranges::find(verbs, operands[0], &Verb::name);
  if (verb == verbs.end()) throw UsageError(fmt::format("there is no \"{}\"", operands[0]));
  const std::size_t rest = operands.size() - 2;
  if (rest < verb->least || rest > verb->most) {
    throw UsageError(fmt::format("{}: wanted are POOL{}{}", verb->name,
                                 verb->operands.empty() ? "" : " ", verb->operands));
  }
  for (const Verb& other : verbs) {
    for (const std::string_view option : other.options) {
      const bool taken =
          option.empty() || std::ranges::find(verb->options, option) != verb->options.end();
      if (!taken && line.has(std::string(option))) {
        throw UsageError(fmt::format("{} takes no --{}", verb->name, option));
      }
    }
  }
  return {.verb = operands[0], .pool = operands[1], .rest = {operands.begin() + 2, operands.end()}};
}

ObjectId parse_object_id(const std::string& text) {
  if (const auto id = ObjectId::parse(text)) return *id;
  throw UsageError(fmt::format("\"{}\" is no object id such as 0x30101", text));
}

MediaClass class_of(const CommandLine& line) {
  const std::string name = line.text("class").value_or("capacity");
  if (name == "capacity") return MediaClass::capacity;
  if (name == "staging") return MediaClass::staging;
  throw UsageError(fmt::format("--class: \"{}\" is neither capacity nor staging", name));
}

std::string read_input(Context& context, const std::string& path, std::uint64_t limit) {
  if (path.empty() || path == "-") return read_all(context.in, "the input", limit);
  std::ifstream file(path, std::ios::binary);
  if (!file) raise(errno, path, "cannot be read: {}", errno_text(errno));
  return read_all(file, path, limit);
}

std::vector<std::string> split_records(std::string text, bool lines) {
  if (!lines) return {std::move(text)};
  std::vector<std::string> records;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    records.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return records;
}

RecordFormat format_of(const CommandLine& line) {
  if (line.has("json")) return RecordFormat::json;
  return line.has("records") ? RecordFormat::framed : RecordFormat::payload;
}

void RecordWriter::add(ConstByteSpan record) {
  ++count_;
  if (format_ == RecordFormat::json) {
    std::string hex;
    for (const std::byte byte : record)
      fmt::format_to(std::back_inserter(hex), "{:02x}", std::to_integer<unsigned>(byte));
    out_ << (count_ == 1 ? "[\n " : ",\n ")
         << to_line(Json{{"length", record.size()}, {"hex", hex}});
    return;
  }
  if (format_ == RecordFormat::framed) out_ << record.size() << '\n';
  out_.write(reinterpret_cast<const char*>(record.data()),
             static_cast<std::streamsize>(record.size()));
  if (format_ == RecordFormat::framed) out_ << '\n';
}

void RecordWriter::finish() {
  if (format_ == RecordFormat::json) out_ << (count_ == 0 ? "[]\n" : "\n]\n");
}

}  // namespace mpool::tools
