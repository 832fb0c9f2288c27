// The steps of pool creation that activation repeats when they were interrupted
// (engine/format/README.md, "Creating a pool").
#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/pool/defaults.h"
#include "engine/pool/load.h"
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
    pool.log().warn("{}: discard failed, going on without: {}", pool.describe(id), error.what());
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
  open_slot(*slot, PairUse::unused);
  slot->finish();
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

unsigned PoolState::count_pairs(std::optional<ObjectRecord>& lone) {
  const MdcSlot& mdc0 = *slots.front();
  unsigned last = 0;
  for (const ObjectRecord& mlog : mdc0.table().live())
    last = std::max(last, static_cast<unsigned>(mlog.id.uniquifier() / 2));
  for (unsigned pair = 1; pair <= last; ++pair) {
    const auto first = mdc0.table().find_committed(mdc_log_id(pair, 0));
    const auto second = mdc0.table().find_committed(mdc_log_id(pair, 1));
    if (first && second) continue;
    if (pair == last) {
      const ObjectRecord& only = first ? *first : *second;
      if (first && !was_used(location_of(only))) {
        lone = only;
        return last - 1;
      }
      report_damage(
          mdc0.name(),
          fmt::format("{} is the only mlog of MDC{}, and it was in use: the record of the "
                      "other one is lost",
                      describe(only.id), pair));
    } else {
      report_damage(mdc0.name(), fmt::format("the records of the mlogs of MDC{} are lost: it has "
                                             "those of MDC{}",
                                             pair, last));
    }
  }
  return last;
}

void PoolState::delete_lone_mlog(const ObjectRecord& lone) {
  MdcSlot& mdc0 = *slots.front();
  log().warn("{}: creating MDC{} was interrupted, deleting its only mlog {}", subject,
             lone.id.uniquifier() / 2, lone.id.to_string());
  MdcSlot::Pending pending;
  {
    const auto updates = mdc0.lock_updates();
    mdc0.table().set_state(lone.id, ObjectState::deleting);
    pending = mdc0.log(DeleteRecord{lone.id});
  }
  mdc0.wait(pending);
  mdc0.table().erase(lone.id);
  give_back(lone);
}

bool PoolState::has_root_mlogs() const {
  return slots.size() > 1 && slots[1]->table().find_committed(root_log_id(0)) &&
         slots[1]->table().find_committed(root_log_id(1));
}

void PoolState::check_creation() {
  if (has_root_mlogs()) return;
  const auto lost = [this](const std::string& evidence) {
    report_damage(subject, "MDC1 does not have the mlogs of the root MDC, but " + evidence +
                               ": their records are lost");
  };
  if (properties.config) return lost("the pool was finished");
  for (std::size_t slot = 1; slot < slots.size(); ++slot) {
    const MdcSlot& mdc = *slots[slot];
    const std::size_t root_mlogs = slot == 1 && mdc.table().live_count() != 0 ? 1 : 0;
    if (mdc.table().live_count() > root_mlogs || mdc.has_checkpoint()) {
      return lost(mdc.name() + " holds objects");
    }
  }
  for (unsigned half : {0u, 1u}) {
    if (slots.size() == 1) break;
    const auto mlog = slots[1]->table().find_committed(root_log_id(half));
    if (mlog && was_used(location_of(*mlog))) return lost(describe(mlog->id) + " was in use");
  }
}

void PoolState::complete_creation(std::optional<unsigned> mdc_count) {
  if (has_root_mlogs()) return;
  const DeviceParams params = media_class(MediaClass::capacity).params();
  // Creation by mpoolfs is never found half done (create.cpp); for other implementations the number
  // is the format's default.
  const unsigned wanted = mdc_count.value_or(kDefaultMdcCount);
  if (wanted < 1 || wanted > kMaxMdcs) {
    raise(EINVAL, subject, "MDC count {} is not between 1 and {}", wanted, kMaxMdcs);
  }
  const unsigned count = std::max(wanted, static_cast<unsigned>(slots.size() - 1));
  log().warn("{}: its creation was interrupted with {} of {} MDCs, finishing it", subject,
             slots.size() - 1, count);
  const auto zones_for = [&](std::uint64_t bytes) {
    return media_class(MediaClass::capacity).zones_for(bytes);
  };
  const auto model = slots.front()->table().find_committed(mdc_log_id(1, 0));
  add_mdcs(count,
           model ? model->layout.zone_count : zones_for(default_mdc_capacity(params, count)));
  const ObjectTable& of_root = slots[1]->table();
  const auto first = of_root.find_committed(root_log_id(0));
  const auto other = first ? first : of_root.find_committed(root_log_id(1));
  add_root_mlogs(other ? other->layout.zone_count
                       : zones_for(default_root_capacity(params.device_size)));
}

}  // namespace mpool
