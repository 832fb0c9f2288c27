// An mlog that another one takes the place of: so the logs of an MDC grow (engine/format/README.md,
// "Records in MDC0..255", OUPDATE).
//
// A crash leaves either of them. The zones of the new one are free until its record is durable,
// those of the old one are given back after that.
#include <cerrno>

#include "engine/base/error.h"
#include "engine/pool/pool_state.h"

namespace mpool {

std::optional<ObjectRecord> PoolState::allocate_successor(const ObjectRecord& mlog,
                                                          std::uint32_t zones) {
  MediaClassSpace& space = media_class(mlog.media_class);
  const auto first = space.map().allocate(zones, SpacePolicy::usable_then_spare);
  if (!first) return std::nullopt;
  ObjectRecord successor = mlog;
  successor.layout = {.zone_count = zones, .first_zone = *first};
  successor.uuid = Uuid::random();
  successor.written_length = 0;
  const std::uint64_t zone_size = space.zone_size();
  try {
    space.device().discard(*first * zone_size, zones * zone_size);
  } catch (const Error& error) {
    log().warn("{}: discard failed, going on without: {}", describe(mlog.id), error.what());
  }
  return successor;
}

void PoolState::succeed(MdcSlot& slot, const ObjectRecord& successor) {
  std::optional<ObjectRecord> old;
  MdcSlot::Pending pending;
  {
    const auto updates = slot.lock_updates();
    old = slot.table().find_committed(successor.id);
    if (!old || !successor.id.is_mlog()) {
      raise(ENOENT, describe(successor.id), "there is no such mlog");
    }
    if (successor.generation < old->generation) {
      raise(EINVAL, describe(successor.id), "generation {} is below the present {}",
            successor.generation, old->generation);
    }
    if (!slot.table().replace(successor)) raise(EBUSY, describe(successor.id), "is being deleted");
    ObjectRecord record = successor;
    record.update = true;
    try {
      pending = slot.log(record);
    } catch (...) {
      slot.table().replace(*old);
      throw;
    }
  }
  slot.wait(pending);
  give_back(*old);
}

std::optional<ObjectRecord> Pool::allocate_successor(ObjectId mlog, std::uint64_t capacity) {
  const auto object = find(mlog);
  if (!object || !mlog.is_mlog()) raise(ENOENT, impl_->describe(mlog), "there is no such mlog");
  const MediaClassSpace& space = impl_->media_class(object->media_class);
  if (ceil_div(capacity, space.zone_size()) > space.params().zone_count) return std::nullopt;
  return impl_->allocate_successor(*object, space.zones_for(capacity));
}

void Pool::succeed(const ObjectRecord& successor) {
  MdcSlot* slot = impl_->slot_of(successor.id);
  if (slot == nullptr) raise(ENOENT, impl_->describe(successor.id), "there is no such mlog");
  impl_->succeed(*slot, successor);
}

void Pool::abandon_successor(const ObjectRecord& successor) noexcept {
  impl_->give_back(successor);
}

}  // namespace mpool
