#include "engine/pool/object_table.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <mutex>
#include <utility>

#include "engine/format/log_block.h"

namespace mpool {
namespace {

// Bytes an object's OCREATE takes in a log.
std::uint64_t record_size(ObjectId id) {
  constexpr std::uint64_t kMblockRecord = 40;
  constexpr std::uint64_t kMlogRecord = 56;
  return (id.is_mlog() ? kMlogRecord : kMblockRecord) + ChunkHeader::kSize;
}

}  // namespace

bool ObjectTable::is_live(ObjectState state) {
  return state == ObjectState::committing || state == ObjectState::committed ||
         state == ObjectState::marked_for_deletion;
}

bool ObjectTable::is_found(ObjectState state) {
  return state == ObjectState::committed || state == ObjectState::marked_for_deletion;
}

ObjectTable::Entry ObjectTable::make_entry(const ObjectRecord& object, ObjectState state) {
  return {.first_zone = object.layout.first_zone,
          .generation = object.generation,
          .written_length = object.written_length,
          .zone_count = object.layout.zone_count,
          .pins = 0,
          .media_class = object.media_class,
          .state = state};
}

ObjectRecord ObjectTable::record_of(const Entries::value_type& entry) const {
  const auto& [id, fields] = entry;
  ObjectRecord object{.media_class = fields.media_class,
                      .layout = {.zone_count = fields.zone_count, .first_zone = fields.first_zone},
                      .id = id,
                      .generation = fields.generation,
                      .written_length = fields.written_length,
                      .uuid = {}};
  if (id.is_mlog()) object.uuid = uuids_.at(id);
  return object;
}

void ObjectTable::count_live(ObjectId id, bool more) {
  const auto count = [more](std::atomic<std::size_t>& counter) {
    if (more) {
      counter.fetch_add(1, std::memory_order_relaxed);
    } else {
      counter.fetch_sub(1, std::memory_order_relaxed);
    }
  };
  count(live_count_);
  if (id.is_mlog()) count(live_mlog_count_);
}

void ObjectTable::change_state(ObjectId id, Entry& entry, ObjectState state) {
  if (is_live(entry.state) != is_live(state)) count_live(id, is_live(state));
  entry.state = state;
}

ObjectRecord ObjectTable::take(Entries::iterator at) {
  ObjectRecord object = record_of(*at);
  if (is_live(at->second.state)) count_live(object.id, false);
  record_bytes_.fetch_sub(record_size(object.id), std::memory_order_relaxed);
  if (object.id.is_mlog()) uuids_.erase(object.id);
  entries_.erase(at);
  return object;
}

void ObjectTable::reserve(std::size_t objects) {
  const std::unique_lock lock(mutex_);
  entries_.reserve(objects);
}

bool ObjectTable::insert(const ObjectRecord& object, ObjectState state) {
  const std::unique_lock lock(mutex_);
  if (!entries_.emplace(object.id, make_entry(object, state)).second) return false;
  if (object.id.is_mlog()) uuids_.emplace(object.id, object.uuid);
  if (is_live(state)) count_live(object.id, true);
  record_bytes_.fetch_add(record_size(object.id), std::memory_order_relaxed);
  return true;
}

bool ObjectTable::replace(const ObjectRecord& object) {
  const std::unique_lock lock(mutex_);
  const auto at = entries_.find(object.id);
  if (at == entries_.end() || at->second.state != ObjectState::committed) return false;
  const std::uint32_t pins = at->second.pins;
  at->second = make_entry(object, ObjectState::committed);
  at->second.pins = pins;
  if (object.id.is_mlog()) uuids_[object.id] = object.uuid;
  return true;
}

std::optional<ObjectRecord> ObjectTable::erase(ObjectId id) {
  const std::unique_lock lock(mutex_);
  const auto at = entries_.find(id);
  if (at == entries_.end()) return std::nullopt;
  return take(at);
}

std::optional<ObjectRecord> ObjectTable::erase_if(ObjectId id, ObjectState expected) {
  const std::unique_lock lock(mutex_);
  const auto at = entries_.find(id);
  if (at == entries_.end() || at->second.state != expected) return std::nullopt;
  return take(at);
}

std::optional<ObjectRecord> ObjectTable::find_committed(ObjectId id) const {
  const std::shared_lock lock(mutex_);
  const auto at = entries_.find(id);
  if (at == entries_.end() || !is_found(at->second.state)) return std::nullopt;
  return record_of(*at);
}

std::optional<ObjectState> ObjectTable::state(ObjectId id) const {
  const std::shared_lock lock(mutex_);
  const auto at = entries_.find(id);
  if (at == entries_.end()) return std::nullopt;
  return at->second.state;
}

void ObjectTable::set_state(ObjectId id, ObjectState state) {
  const std::unique_lock lock(mutex_);
  const auto at = entries_.find(id);
  assert(at != entries_.end());
  change_state(at->first, at->second, state);
}

bool ObjectTable::begin_commit(const ObjectRecord& object) {
  const std::unique_lock lock(mutex_);
  const auto at = entries_.find(object.id);
  if (at == entries_.end() || at->second.state != ObjectState::allocated) return false;
  at->second.written_length = object.written_length;
  change_state(at->first, at->second, ObjectState::committing);
  return true;
}

int ObjectTable::mark_for_deletion(ObjectId id) {
  const std::unique_lock lock(mutex_);
  const auto at = entries_.find(id);
  if (at == entries_.end() || at->second.state != ObjectState::committed) return ENOENT;
  if (at->second.pins != 0) return EBUSY;
  change_state(at->first, at->second, ObjectState::marked_for_deletion);
  return 0;
}

std::optional<std::uint64_t> ObjectTable::set_generation(ObjectId id, std::uint64_t generation) {
  const std::unique_lock lock(mutex_);
  const auto at = entries_.find(id);
  if (at == entries_.end() || !is_live(at->second.state)) return std::nullopt;
  return std::exchange(at->second.generation, generation);
}

std::optional<std::uint64_t> ObjectTable::set_written_length(ObjectId id, std::uint64_t length) {
  const std::unique_lock lock(mutex_);
  const auto at = entries_.find(id);
  if (at == entries_.end() || !is_live(at->second.state)) return std::nullopt;
  return std::exchange(at->second.written_length, length);
}

bool ObjectTable::pin(ObjectId id) {
  const std::unique_lock lock(mutex_);
  const auto at = entries_.find(id);
  if (at == entries_.end() || at->second.state != ObjectState::committed) return false;
  ++at->second.pins;
  return true;
}

void ObjectTable::unpin(ObjectId id) noexcept {
  const std::unique_lock lock(mutex_);
  const auto at = entries_.find(id);
  assert(at != entries_.end() && at->second.pins > 0);
  --at->second.pins;
}

std::vector<ObjectRecord> ObjectTable::live() const {
  std::vector<ObjectRecord> objects;
  {
    const std::shared_lock lock(mutex_);
    objects.reserve(live_count());
    for (const auto& entry : entries_) {
      if (is_live(entry.second.state)) objects.push_back(record_of(entry));
    }
  }
  std::ranges::sort(objects, {}, &ObjectRecord::id);
  return objects;
}

void ObjectTable::collect_committed(std::vector<ObjectRecord>& into) const {
  const std::shared_lock lock(mutex_);
  for (const auto& entry : entries_) {
    if (is_found(entry.second.state)) into.push_back(record_of(entry));
  }
}

}  // namespace mpool
