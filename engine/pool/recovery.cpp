// The steps of pool creation that activation repeats when they were interrupted (on-media-format,
// "Creating a pool").
#include <algorithm>
#include <cerrno>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"
#include "engine/pool/defaults.h"
#include "engine/pool/pool_state.h"

namespace mpool {
namespace {

// Allocates and commits a mlog on the capacity device with a given id, for the pool's own use.
void add_mlog(PoolState& pool, MdcSlot& owner, ObjectId id, std::uint32_t zones) {
  MediaClassSpace& space = pool.media_class(MediaClass::capacity);
  const Placement placement{.policy = SpacePolicy::usable_then_spare, .near = std::nullopt};
  const ObjectRecord mlog{
      .layout = space.allocate(pool.name, zones, placement), .id = id, .uuid = Uuid::random()};
  const std::uint64_t zone_size = space.zone_size();
  try {
    space.device().discard(mlog.layout.first_zone * zone_size, zones * zone_size);
  } catch (const Error& error) {
    spdlog::warn("{}: discard failed, going on without: {}", pool.describe(id), error.what());
  }
  owner.table().insert(mlog, ObjectState::allocated);
  try {
    pool.commit_in(owner, std::span(&mlog, 1));
  } catch (...) {
    if (owner.table().erase_if(id, ObjectState::allocated)) pool.give_back(mlog);
    throw;
  }
}

}  // namespace

void PoolState::add_mdc(std::uint32_t mdc_zones) {
  MdcSlot& mdc0 = *slots.front();
  auto slot = make_slot(static_cast<unsigned>(slots.size()));
  for (unsigned half = 0; half < 2; ++half) {
    const ObjectId id = mdc_log_id(slot->slot(), half);
    if (!mdc0.table().find_committed(id)) add_mlog(*this, mdc0, id, mdc_zones);
  }
  slot->start_ids();
  open_slot(*slot);
  slots.add(std::move(slot));
}

void PoolState::add_mdcs(unsigned mdc_count, std::uint32_t mdc_zones) {
  while (slots.size() <= mdc_count)
    add_mdc(mdc_zones);
}

void PoolState::add_root_mlogs(std::uint32_t zones) {
  MdcSlot& owner = *slots[1];
  for (unsigned half = 0; half < 2; ++half) {
    const ObjectId id = root_log_id(half);
    if (!owner.table().find_committed(id)) add_mlog(*this, owner, id, zones);
  }
}

unsigned PoolState::settle_pairs() {
  MdcSlot& mdc0 = *slots.front();
  const ObjectTable& table = mdc0.table();
  const std::vector<ObjectRecord> mlogs = table.live();
  unsigned pairs = 0;
  while (pairs < kMaxMdcs && table.find_committed(mdc_log_id(pairs + 1, 0)) &&
         table.find_committed(mdc_log_id(pairs + 1, 1))) {
    ++pairs;
  }
  if (mlogs.size() == 2ull * pairs) return pairs;
  const ObjectRecord& last = mlogs.back();
  if (mlogs.size() != 2ull * pairs + 1 || last.id.uniquifier() / 2 != pairs + 1) {
    raise(ENOTRECOVERABLE, mdc0.name(), "{} is not one of a pair: MDC{} is incomplete",
          describe(last.id), pairs + 1);
  }
  spdlog::warn("{}: creating MDC{} was interrupted, deleting its only mlog {}", subject, pairs + 1,
               last.id.to_string());
  MdcSlot::Pending pending;
  {
    const auto updates = mdc0.lock_updates();
    mdc0.table().set_state(last.id, ObjectState::deleting);
    pending = mdc0.log(DeleteRecord{last.id});
  }
  mdc0.wait(pending);
  mdc0.table().erase(last.id);
  give_back(last);
  return pairs;
}

void PoolState::complete_creation(std::optional<unsigned> mdc_count) {
  const auto root = [&](unsigned half) {
    return slots.size() > 1 ? slots[1]->table().find_committed(root_log_id(half)) : std::nullopt;
  };
  if (root(0) && root(1)) return;
  const DeviceParams params = media_class(MediaClass::capacity).params();
  // Ours are not found half made (create.cpp): the others' number is the format's default.
  const unsigned wanted = mdc_count.value_or(kDefaultMdcCount);
  if (wanted < 1 || wanted > kMaxMdcs) {
    raise(EINVAL, subject, "MDC count {} is not between 1 and {}", wanted, kMaxMdcs);
  }
  const unsigned count = std::max(wanted, static_cast<unsigned>(slots.size() - 1));
  spdlog::warn("{}: its creation was interrupted with {} of {} MDCs, finishing it", subject,
               slots.size() - 1, count);
  const auto zones_for = [&](std::uint64_t bytes) {
    return media_class(MediaClass::capacity).zones_for(bytes);
  };
  const auto model = slots.front()->table().find_committed(mdc_log_id(1, 0));
  add_mdcs(count,
           model ? model->layout.zone_count : zones_for(default_mdc_capacity(params, count)));
  const auto other = root(0) ? root(0) : root(1);
  add_root_mlogs(other ? other->layout.zone_count
                       : zones_for(default_root_capacity(params.device_size)));
}

}  // namespace mpool
