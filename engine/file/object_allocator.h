// Objects for the content of files, also where room must be made for them first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "engine/file/events.h"
#include "engine/object/content_writer.h"
#include "engine/tree/recorded_tree.h"

namespace mpool::names {

// Threads: all functions may be called at the same time, without the locks of a change: they may
// block on the journal.
class ObjectAllocator {
 public:
  // `give_up_unnamed` deletes content that only references keep.
  ObjectAllocator(RecordedTree& tree, Events& events, std::function<void()> give_up_unnamed)
      : tree_(tree),
        pool_(tree.pool()),
        events_(events),
        give_up_unnamed_(std::move(give_up_unnamed)) {}

  // `pack`: as ContentWriter.
  std::shared_ptr<ContentWriter> make_writer(MediaClass media_class,
                                             std::unique_ptr<PackRoom> pack);
  // Several zones if there are, for content of small files.
  ObjectRecord allocate_pack(MediaClass media_class, SpacePolicy policy);
  ObjectRecord allocate_mlog(MediaClass media_class);
  // Deferred writes will find room (Device::room_is_certain of all devices).
  bool room_is_certain() const;

 private:
  std::unique_ptr<MblockWriter> allocate_mblock(MediaClass media_class,
                                                std::optional<std::uint64_t> near);
  template <typename Allocate>
  auto with_room(Allocate allocate);

  RecordedTree& tree_;
  Pool& pool_;
  Events& events_;
  const std::function<void()> give_up_unnamed_;
};

}  // namespace mpool::names
