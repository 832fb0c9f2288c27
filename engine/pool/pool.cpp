// Facts about an active pool, and allocation.
#include "engine/pool/pool.h"

#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/pool/pool_state.h"

namespace mpool {

Pool::Pool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pool::~Pool() = default;

std::string Pool::name() const {
  return impl_->superblocks.pool_name();
}
Uuid Pool::uuid() const {
  return impl_->uuid;
}

ConfigRecord Pool::config() const {
  const std::lock_guard lock(impl_->properties_mutex);
  return impl_->properties.config.value_or(ConfigRecord{});
}

std::vector<std::string> Pool::damage() const {
  const std::lock_guard lock(impl_->damage_mutex);
  return impl_->damage;
}

bool Pool::has_class(MediaClass media_class) const {
  return impl_->classes[index_of(media_class)] != nullptr;
}

bool Pool::offline() const noexcept {
  for (std::size_t i = 0; i < kMediaClassCount; ++i) {
    const MediaClassSpace* space = impl_->classes[i];
    if (space != nullptr && space->device().offline()) return true;
  }
  return false;
}

std::vector<MediaClass> Pool::classes() const {
  std::vector<MediaClass> classes;
  for (const MediaClass media_class : {MediaClass::capacity, MediaClass::staging}) {
    if (has_class(media_class)) classes.push_back(media_class);
  }
  return classes;
}

Pool::ClassInfo Pool::class_info(MediaClass media_class) const {
  return impl_->media_class(media_class).info();
}

std::vector<Pool::MdcStats> Pool::mdcs() const {
  std::vector<MdcStats> stats;
  stats.reserve(impl_->slots.size());
  for (const auto& slot : impl_->slots)
    stats.push_back(slot->stats());
  stats.front().last_uniquifier = stats.size() - 1;
  return stats;
}

std::vector<Mdc::State> Pool::mdc_states() const {
  std::vector<Mdc::State> states;
  states.reserve(impl_->slots.size());
  for (const auto& slot : impl_->slots)
    states.push_back(slot->state());
  return states;
}

void Pool::read_mdc(unsigned slot, const std::function<void(ConstByteSpan)>& record) const {
  if (slot >= impl_->slots.size()) {
    raise(ENOENT, impl_->subject, "has no MDC{}, the last is MDC{}", slot, impl_->slots.size() - 1);
  }
  impl_->slots[slot]->read(record);
}

std::vector<ObjectRecord> Pool::objects() const {
  std::vector<ObjectRecord> objects;
  for (std::size_t i = 1; i < impl_->slots.size(); ++i) {
    impl_->slots[i]->table().collect_committed(objects);
  }
  std::ranges::sort(objects, {}, &ObjectRecord::id);
  return objects;
}

Pool::ObjectCounts Pool::object_counts() const {
  ObjectCounts counts;
  for (std::size_t slot = 1; slot < impl_->slots.size(); ++slot) {
    const ObjectTable& table = impl_->slots[slot]->table();
    const std::size_t live = table.live_count();
    // The counters change one after the other.
    const std::size_t mlogs = std::min(table.live_mlog_count(), live);
    counts.mlogs += mlogs;
    counts.mblocks += live - mlogs;
  }
  return counts;
}

std::size_t Pool::object_count() const {
  const ObjectCounts counts = object_counts();
  return counts.mblocks + counts.mlogs;
}

std::optional<ObjectRecord> Pool::find(ObjectId id) const {
  const MdcSlot* slot = impl_->slot_of(id);
  if (slot == nullptr) return std::nullopt;
  return slot->table().find_committed(id);
}

std::uint64_t Pool::zone_size(MediaClass media_class) const {
  return impl_->media_class(media_class).zone_size();
}

Device& Pool::device(MediaClass media_class) const {
  return impl_->media_class(media_class).device();
}

const Logger& Pool::logger() const {
  return impl_->PoolState::logger;
}

Clock& Pool::clock() const {
  return impl_->jobs.clock();
}

Metrics& Pool::metrics() const {
  return impl_->metrics;
}

JobScheduler& Pool::jobs() const {
  return impl_->jobs;
}

const Tunables& Pool::tunables() const {
  return impl_->tunables;
}

WriteMemory& Pool::write_memory() const {
  return impl_->write_memory;
}

std::uint64_t Pool::offset_of(const ObjectRecord& object) const {
  return object.layout.first_zone * zone_size(object.media_class);
}

std::uint64_t Pool::capacity_of(const ObjectRecord& object) const {
  return object.layout.zone_count * zone_size(object.media_class);
}

MlogLocation Pool::mlog_location(const ObjectRecord& object) const {
  MlogLocation location = impl_->location_of(object);
  // Activation flushed the content it found; since then a log is synced before it is closed.
  location.flushed = true;
  return location;
}

namespace {

// An object of `type` with zones but without an id.
ObjectRecord allocate_zones(PoolState& pool, ObjectType type, std::uint64_t capacity,
                            const Placement& placement) {
  if (type == ObjectType::undefined)
    raise(EINVAL, pool.subject, "cannot allocate: unknown object type");
  const bool is_mlog = type == ObjectType::mlog;
  MediaClassSpace& space = pool.media_class(placement.media_class);
  if ((space.features() & (is_mlog ? kFeatureMlogs : kFeatureMblocks)) == 0) {
    raise(ENOTSUP, pool.subject, "the {} device {} cannot hold {}s",
          to_string(placement.media_class), space.device().name(), is_mlog ? "mlog" : "mblock");
  }
  const std::uint32_t zones = is_mlog ? space.zones_for(capacity) : 1;
  const ObjectRecord object{.media_class = placement.media_class,
                            .layout = space.allocate(pool.name, zones, placement),
                            .id = {},
                            .uuid = is_mlog ? Uuid::random() : Uuid{}};
  if (!is_mlog) return object;
  // A log cannot continue after a failed write.
  try {
    const std::uint64_t zone_size = space.zone_size();
    space.device().reserve(object.layout.first_zone * zone_size, zones * zone_size);
  } catch (...) {
    pool.give_back(object);
    throw;
  }
  return object;
}

// Gives the object an id of an MDC that has room for its record; false when none has.
bool insert(PoolState& pool, ObjectType type, ObjectRecord& object) {
  while (const auto chosen = pool.choice->choose()) {
    MdcSlot& slot = *pool.slots[*chosen + 1];
    object.id = slot.next_id(type);
    slot.table().insert(object, ObjectState::allocated);
    if (!slot.overfull()) return true;
    // Other threads took the last room at the same time.
    slot.table().erase(object.id);
  }
  return false;
}

}  // namespace

ObjectRecord Pool::allocate(ObjectType type, std::uint64_t capacity, const Placement& placement) {
  ObjectRecord object = allocate_zones(*impl_, type, capacity, placement);
  try {
    while (!insert(*impl_, type, object)) {
      if (!impl_->background->add_room()) {
        raise(ENOSPC, impl_->subject, "the MDCs have no room for more objects");
      }
    }
  } catch (...) {
    impl_->give_back(object);
    throw;
  }
  impl_->note_change();
  return object;
}

ObjectRecord Pool::reallocate(ObjectId id, std::uint64_t capacity, const Placement& placement) {
  MdcSlot* slot = impl_->slot_of(id);
  if (slot == nullptr || !slot->was_handed_out(id)) {
    raise(EINVAL, impl_->describe(id), "cannot allocate it again: the id was never handed out");
  }
  const auto refuse_existing = [&] {
    raise(EEXIST, impl_->describe(id), "cannot allocate it again: it exists");
  };
  if (slot->table().state(id)) refuse_existing();
  ObjectRecord object = allocate_zones(*impl_, id.type(), capacity, placement);
  object.id = id;
  if (!slot->table().insert(object, ObjectState::allocated)) {
    impl_->give_back(object);
    refuse_existing();
  }
  if (slot->overfull()) {
    abort(object);
    raise(ENOSPC, slot->name(), "no room for the record of {}", id.to_string());
  }
  return object;
}

void Pool::abort(const ObjectRecord& object) noexcept {
  MdcSlot* slot = impl_->slot_of(object.id);
  if (slot == nullptr) return;
  if (const auto given_up = slot->table().erase_if(object.id, ObjectState::allocated)) {
    impl_->give_back(*given_up);
  }
}

void Pool::pin(ObjectId id) {
  MdcSlot* slot = impl_->slot_of(id);
  if (slot == nullptr || !slot->table().pin(id)) {
    raise(ENOENT, impl_->describe(id), "there is no such object");
  }
}

void Pool::unpin(ObjectId id) noexcept {
  if (MdcSlot* slot = impl_->slot_of(id)) slot->table().unpin(id);
}

bool Pool::wait_for_discards(std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds kMaxTimeout = std::chrono::hours(24);
  const Clock::Time deadline = clock().now() + std::min(timeout, kMaxTimeout);
  bool done = true;
  for (const MediaClass media_class : classes()) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock().now());
    done &= impl_->media_class(media_class)
                .wait_for_discards(std::max(left, std::chrono::milliseconds::zero()));
  }
  return done;
}

void Pool::maintain() {
  impl_->background->maintain();
}

std::unique_ptr<Mdc> Pool::open_mdc(ObjectId first, ObjectId second,
                                    Mdc::OpenOptions::Finish finish) {
  std::array<Mdc::Half, 2> halves;
  for (std::size_t i = 0; i < halves.size(); ++i) {
    const ObjectId id = i == 0 ? first : second;
    const auto object = find(id);
    if (!object || !id.is_mlog()) {
      const std::vector<std::string> known = damage();
      raise(ENOENT, impl_->describe(id), "there is no such mlog{}{}", known.empty() ? "" : ": ",
            known.empty() ? "" : known.front());
    }
    halves[i] = {.id = id, .location = mlog_location(*object)};
    reserve_mlog(halves[i].location);
  }
  const std::string mdc_name =
      first == root_log_id(0)
          ? fmt::format("root MDC of pool {}", name())
          : fmt::format("MDC {}/{} of pool {}", first.to_string(), second.to_string(), name());
  // The records of operations on the pair may be missing in a damaged pool: nothing is finished
  // there.
  using Finish = Mdc::OpenOptions::Finish;
  const Mdc::OpenOptions options{.finish = damage().empty() ? finish : Finish::later};
  return impl_->open_pair(
      mdc_name, halves,
      [this](ObjectId half, std::uint64_t generation) { record_generation(half, generation); },
      options);
}

}  // namespace mpool
