#include "engine/file/object_allocator.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "engine/base/error.h"

namespace mpool::names {

// Runs `allocate`; when there is no room, first makes deletions durable, so that their zones become
// free.
template <typename Allocate>
auto ObjectAllocator::with_room(Allocate allocate) {
  try {
    return allocate();
  } catch (const Error& error) {
    if (error.code() != ENOSPC) throw;
  }
  events_.no_room();
  give_up_unnamed_();
  tree_.journal().wait_for_room();
  pool_.wait_for_discards(pool_.tunables().discards.allocation_wait);
  return allocate();
}

std::unique_ptr<MblockWriter> ObjectAllocator::allocate_mblock(MediaClass media_class,
                                                               std::optional<std::uint64_t> near) {
  const Placement placement{media_class, SpacePolicy::usable_only, near};
  return with_room([&] { return std::make_unique<MblockWriter>(pool_, placement); });
}

ObjectRecord ObjectAllocator::allocate_mlog(MediaClass media_class) {
  const Placement placement{media_class, SpacePolicy::usable_only, std::nullopt};
  return with_room(
      [&] { return pool_.allocate(ObjectType::mlog, tree_.options().log_mlog_size, placement); });
}

ObjectRecord ObjectAllocator::allocate_pack(MediaClass media_class, SpacePolicy policy) {
  const Tunables::Packing& tunables = pool_.tunables().packing;
  const std::uint64_t zone = pool_.zone_size(media_class);
  const std::uint64_t device = pool_.class_info(media_class).space.total * zone;
  const Placement placement{media_class, policy, std::nullopt};
  if (tunables.capacity > zone && device / tunables.pack_divisor >= tunables.capacity) {
    try {
      return pool_.allocate(ObjectType::mlog, tunables.capacity, placement);
    } catch (const Error& error) {
      if (error.code() != ENOSPC) throw;
    }
  }
  return with_room([&] { return pool_.allocate(ObjectType::mlog, zone, placement); });
}

std::shared_ptr<ContentWriter> ObjectAllocator::make_writer(MediaClass media_class,
                                                            std::unique_ptr<PackRoom> pack) {
  const auto allocate = [this, media_class](std::optional<std::uint64_t> near) {
    return allocate_mblock(media_class, near);
  };
  return std::make_shared<ContentWriter>(pool_.zone_size(media_class), allocate,
                                         pool_.write_memory(), std::move(pack));
}

bool ObjectAllocator::room_is_certain() const {
  return std::ranges::all_of(
      std::array{MediaClass::capacity, MediaClass::staging}, [this](MediaClass media_class) {
        return !pool_.has_class(media_class) || pool_.device(media_class).room_is_certain();
      });
}

}  // namespace mpool::names
