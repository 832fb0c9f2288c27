// The packs of a mount: where small files get room, and when a pack goes (engine/file/README.md,
// "Small files").
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "engine/file/object_allocator.h"
#include "engine/object/content_writer.h"
#include "engine/object/pack.h"
#include "engine/tree/recorded_tree.h"

namespace mpool::names {

// One pack per class is filled at a time. A pack is durable and recorded before content gets room
// in it.
//
// Threads: all functions may be called at the same time. mutex_ is a leaf, but for those of packs,
// and not held during I/O.
class Packs {
 public:
  Packs(RecordedTree& tree, ObjectAllocator& allocator)
      : tree_(tree), pool_(tree.pool()), allocator_(allocator) {}

  // A writer whose content goes into a pack if it is small enough.
  std::shared_ptr<ContentWriter> make_writer(MediaClass media_class);
  // Room for content of any length that is in a pack already; a further pack takes spare zones,
  // too.
  std::unique_ptr<PackRoom> make_room_for_move(MediaClass media_class);
  // Reads content of the pack, whose object stays meanwhile. Errors: Pack::read().
  void read(const PackedRecord& record, const ObjectRecord& pack, ByteSpan into) const;
  // The pack, if it may have content in memory. Null otherwise.
  std::shared_ptr<Pack> find(ObjectId pack) const;
  // True if content may still be added to it, or it is about to be used.
  bool is_filling(ObjectId pack) const;
  // Deletes packs without content, unless a writer has room in them. May block, also on the
  // journal.
  void retire_unused();
  // Called, with any lock held, when a writer gave up its room after such a pack was left alone.
  // Must be set before, and until the end of, all calls that make or drop writers.
  void on_retirable(std::function<void()> call) { on_retirable_ = std::move(call); }
  // Bytes: the greatest size of files in packs of the class; 0: there are none.
  std::uint64_t max_length(MediaClass media_class) const;

 private:
  class Room;

  std::shared_ptr<Pack> current(MediaClass media_class) const;
  void prepare(MediaClass media_class, SpacePolicy policy, std::uint64_t bytes);
  std::shared_ptr<Pack> open_pack(MediaClass media_class, SpacePolicy policy, std::uint64_t bytes);
  std::shared_ptr<Pack> reuse_pack(MediaClass media_class, std::uint64_t bytes);
  ObjectId find_reusable(MediaClass media_class);
  std::shared_ptr<Pack> make_pack(MediaClass media_class, SpacePolicy policy);
  bool close_if_unused(ObjectId pack);
  void end_start(ObjectId pack);

  RecordedTree& tree_;
  Pool& pool_;
  ObjectAllocator& allocator_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable opened_;
  struct Filling {
    std::shared_ptr<Pack> pack;  // null: none
    bool opening = false;        // a thread makes the next one
  };
  std::array<Filling, kMediaClassCount> filling_;
  std::map<ObjectId, std::weak_ptr<Pack>> packs_;  // opened in this mount
  std::set<ObjectId> starting_;                    // being made or opened

  std::function<void()> on_retirable_;
  std::atomic<bool> left_alone_ = false;  // a pack without content, because of its users
};

}  // namespace mpool::names
