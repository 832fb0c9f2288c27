#include "fuse/control/maps.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <span>
#include <utility>

#include <mpool/ioctl.h>

#include "engine/base/error.h"
#include "engine/cache/page_cache.h"

namespace mpoolfs {

namespace {

// A map as an open file. Its reads come here where the kernel does not read by itself.
class MapFile : public ControlFile {
 public:
  MapFile(Maps& maps, Maps::Node node, std::shared_ptr<Map> map)
      : native_(maps.native()), inode_(maps.inode_of(node)), map_(std::move(map)) {
    NativeEntry entry = native_.enter_map(inode_, maps.use(*map_, node), map_);
    backing_id_ = entry.backing_id();
    entry.keep();
  }
  ~MapFile() override { native_.leave(inode_); }

  std::string read(std::uint64_t offset, std::size_t size) override {
    const mpool::Collection& collection = map_->collection();
    if (offset >= collection.size()) return {};
    map_->cached().note_read(offset, size);
    std::string bytes(std::min<std::uint64_t>(size, collection.size() - offset), '\0');
    collection.read(offset, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }
  Caching caching() const override { return backing_id_ != 0 ? Caching::native : Caching::kept; }
  std::uint32_t backing_id() const override { return backing_id_; }

 private:
  NativeReads& native_;
  const mpool::InodeNumber inode_;
  const std::shared_ptr<Map> map_;
  std::uint32_t backing_id_ = 0;
};

std::string map_subject(std::string_view name) {
  return "map " + std::string(name);
}

void check_map_name(std::string_view name) {
  const bool valid = !name.empty() && name.size() < MPOOL_IOC_MAP_NAME && name != "." &&
                     name != ".." && std::ranges::none_of(name, [](char c) {
                       return (c >= 0 && c < ' ') || c == '/' || c == 127;
                     });
  if (!valid) {
    mpool::raise(EINVAL, map_subject(name),
                 "a name has 1 to {} bytes, without '/' and control characters",
                 MPOOL_IOC_MAP_NAME - 1);
  }
}

}  // namespace

Map::~Map() {
  collection_.reset();
  try {
    names_.delete_unheld();
  } catch (const std::exception& error) {
    logger_.error("the end of a map: {}", error.what());
  }
}

std::shared_ptr<const MapViews::File> Map::show(NativeReads& native) {
  const std::lock_guard lock(mutex_);
  if (view_file_ != nullptr) return view_file_;
  const auto layout = collection_->layout();
  if (layout) view_file_ = native.show_map(*layout);
  if (view_file_ != nullptr) cached_.show(view_file_);
  return view_file_;
}

std::shared_ptr<const MapViews::File> Map::shown() const {
  const std::lock_guard lock(mutex_);
  return view_file_;
}

std::pair<std::shared_ptr<Map>, Maps::Node> Maps::create(std::string name,
                                                         std::vector<mpool::ObjectId> members,
                                                         mpool::Advice advice) {
  check_map_name(name);
  const auto map =
      std::make_shared<Map>(names_, reaper_, std::move(members), advice, max_size_, logger_);
  const std::lock_guard lock(mutex_);
  if (nodes_.contains(name)) mpool::raise(EEXIST, map_subject(name), "there is such a map");
  std::erase_if(entries_, [](const auto& entry) { return entry.second.used.expired(); });
  const Node node = ++last_node_;
  entries_.emplace(node, Entry{.name = name, .map = map, .used = map});
  nodes_.emplace(std::move(name), node);
  return {map, node};
}

std::shared_ptr<Map> Maps::find(Node node) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(node);
  auto map = found == entries_.end() ? nullptr : found->second.used.lock();
  if (map == nullptr) mpool::raise(ESTALE, "map", "it has ended");
  return map;
}

std::shared_ptr<Map> Maps::find(std::string_view name) const {
  return find(named(name));
}

std::optional<Maps::Node> Maps::node_of(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(name);
  return found == nodes_.end() ? std::nullopt : std::optional(found->second);
}

Maps::Node Maps::named(std::string_view name) const {
  const auto node = node_of(name);
  if (!node) mpool::raise(ENOENT, map_subject(name), "there is no such map");
  return *node;
}

void Maps::list(Node after, const ControlProvider::Take& take) const {
  constexpr std::size_t kPart = 256;
  std::vector<std::pair<Node, std::string>> part;
  do {
    part.clear();
    {
      const std::lock_guard lock(mutex_);
      auto next = entries_.upper_bound(after);
      for (; next != entries_.end() && part.size() < kPart; ++next)
        part.emplace_back(next->first, next->second.name);
    }
    for (const auto& [node, name] : part) {
      if (!name.empty() && !take(node, name)) return;
      after = node;
    }
  } while (!part.empty());
}

void Maps::remove(std::string_view name) {
  remove(named(name));
}

void Maps::remove(Node node) {
  std::shared_ptr<Map> removed;  // may end without the lock
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(node);
    if (found == entries_.end() || found->second.name.empty()) return;
    nodes_.erase(found->second.name);
    found->second.name.clear();
    removed = std::move(found->second.map);
  }
  sweep(node, *removed);
}

void Maps::sweep(Node node, const Map& map) {
  if (const auto file = map.shown()) native_.sweep_map(inode_of(node), *file);
}

void Maps::sweep_removed() {
  std::vector<std::pair<Node, std::shared_ptr<Map>>> removed;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [node, entry] : entries_) {
      auto map = entry.name.empty() ? entry.used.lock() : nullptr;
      if (map != nullptr) removed.emplace_back(node, std::move(map));
    }
  }
  for (const auto& [node, map] : removed)
    sweep(node, *map);
}

std::shared_ptr<const MapViews::File> Maps::use(Map& map, Node node) {
  auto file = map.show(native_);
  map.cached().note_use(map.collection(),
                        [this, inode = inode_of(node)](std::uint64_t offset, std::uint64_t length) {
                          invalidate_(inode, offset, length);
                        });
  return file;
}

std::shared_ptr<const MapViews::File> Maps::use(std::string_view name) {
  const auto node = node_of(name);
  if (!node) mpool::raise(ENOENT, map_subject(name), "there is no such map");
  const auto map = find(*node);
  return use(*map, *node);
}

void Maps::purge(std::string_view name, std::uint64_t offset, std::uint64_t length) {
  const Node node = named(name);
  const auto map = find(node);
  if (const auto file = map->shown()) {
    return mpool::drop_unmapped_pages(file->open().get(), offset, length);
  }
  invalidate_(inode_of(node), offset, length);
}

ControlProvider::Info MapFiles::describe(Node node) const {
  if (node == kSelf) {
    return {.kind = mpool::FileKind::directory, .mode = 0700, .uid = owner_.uid, .gid = owner_.gid};
  }
  const auto map = maps_.find(node);
  return {.mode = 0400,
          .uid = owner_.uid,
          .gid = owner_.gid,
          .size = map->collection().size(),
          .space = 0};
}

std::unique_ptr<ControlFile> MapFiles::open(Node node, const mpool::OpenIntent&) {
  return std::make_unique<MapFile>(maps_, node, maps_.find(node));
}

}  // namespace mpoolfs
