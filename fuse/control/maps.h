// Maps: collections that programs read as files of `.mpool/map` (mpoolfs(8), "MAPS").
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/cache/advice.h"
#include "engine/cache/collection.h"
#include "engine/names/namespace.h"
#include "fuse/control/cached_map.h"
#include "fuse/control/provider.h"
#include "fuse/native/native_reads.h"

namespace mpoolfs {

// A collection with a name. As long as it lives its members stay; it ends with the last of its
// name, its openings and its mappings. Threads: all functions may be called at the same time; they
// may block.
class Map {
 public:
  // The namespace and the reaper must outlive it.
  Map(mpool::Namespace& names, mpool::Reaper& reaper, std::vector<mpool::ObjectId> members,
      mpool::Advice advice, std::uint64_t max_size, mpool::Logger logger)
      : names_(names),
        logger_(std::move(logger)),
        collection_(names.make_collection(std::move(members), max_size)),
        cached_(reaper, advice) {}
  ~Map();  // its members may be deleted

  const mpool::Collection& collection() const { return *collection_; }
  CachedMap& cached() { return cached_; }

  // The file by which the kernel reads it, made when it is first asked for; null: the daemon serves
  // it.
  std::shared_ptr<const MapViews::File> show(NativeReads& native);
  // The same without making it.
  std::shared_ptr<const MapViews::File> shown() const;

 private:
  mpool::Namespace& names_;
  const mpool::Logger logger_;
  std::unique_ptr<mpool::Collection> collection_;
  CachedMap cached_;
  mutable std::mutex mutex_;  // guards view_file_
  std::shared_ptr<const MapViews::File> view_file_;
};

// The maps of a mount.
//
// Threads: all functions except mounted_at() may be called at the same time. mutex_ is a leaf.
class Maps {
 public:
  using Node = ControlProvider::Node;
  // Drops the cached pages of a file that the daemon serves; may be called by several threads.
  using Invalidate = std::function<void(mpool::InodeNumber, std::uint64_t offset, std::uint64_t)>;

  // All must outlive it. max_size: of a map, in bytes.
  Maps(mpool::Namespace& names, NativeReads& native, mpool::Reaper& reaper, Invalidate invalidate,
       mpool::Logger logger, std::uint64_t max_size = mpool::Collection::kMaxSize)
      : names_(names),
        native_(native),
        reaper_(reaper),
        invalidate_(std::move(invalidate)),
        logger_(std::move(logger)),
        max_size_(max_size) {}

  NativeReads& native() { return native_; }
  // Before all others: the inode of the directory.
  void mounted_at(mpool::InodeNumber directory) { directory_ = directory; }
  mpool::InodeNumber inode_of(Node node) const { return directory_ + node; }

  // EINVAL for a name that is empty, too long, "." or "..", or has '/' or control characters;
  // EEXIST; those of Collection. Returns the map and its node.
  std::pair<std::shared_ptr<Map>, Node> create(std::string name,
                                               std::vector<mpool::ObjectId> members,
                                               mpool::Advice advice);
  std::shared_ptr<Map> find(Node node) const;              // also without a name; ESTALE
  std::shared_ptr<Map> find(std::string_view name) const;  // ENOENT
  std::optional<Node> node_of(std::string_view name) const;
  Node named(std::string_view name) const;  // ENOENT
  // Those with a name; as ControlProvider::list().
  void list(Node after, const ControlProvider::Take& take) const;
  void remove(std::string_view name);  // ENOENT
  void remove(Node node);              // nothing if it has no name any more
  // Ends the removed maps that no process uses any more.
  void sweep_removed();

  // Pages of the map will be read: by an opening of it, or ahead.
  std::shared_ptr<const MapViews::File> use(Map& map, Node node);
  std::shared_ptr<const MapViews::File> use(std::string_view name);  // ENOENT
  // Drops the pages of a part of a map; length 0: to its end.
  void purge(std::string_view name, std::uint64_t offset, std::uint64_t length);

 private:
  struct Entry {
    std::string name;  // empty: removed
    std::shared_ptr<Map> map;
    std::weak_ptr<Map> used;
  };

  void sweep(Node node, const Map& map);

  mpool::Namespace& names_;
  NativeReads& native_;
  mpool::Reaper& reaper_;
  const Invalidate invalidate_;
  const mpool::Logger logger_;
  const std::uint64_t max_size_;
  mpool::InodeNumber directory_ = 0;

  mutable std::mutex mutex_;  // guards the following
  Node last_node_ = 0;
  std::map<Node, Entry> entries_;
  std::map<std::string, Node, std::less<>> nodes_;
};

// The provider of `map`.
class MapFiles : public ControlProvider {
 public:
  // Of the pool. Only root and this user may use maps: they show content whatever the mode of its
  // file.
  struct Owner {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
  };
  // The maps must outlive it.
  MapFiles(Maps& maps, Owner owner) : maps_(maps), owner_(owner) {}

  Info describe(Node node) const override;
  std::optional<Node> lookup(std::string_view name) const override { return maps_.node_of(name); }
  void list(Node after, const Take& take) const override { maps_.list(after, take); }
  void remove(std::string_view name) override { maps_.remove(name); }
  std::unique_ptr<ControlFile> open(Node node, const mpool::OpenIntent& intent) override;

 private:
  Maps& maps_;
  const Owner owner_;
};

}  // namespace mpoolfs
