#include "engine/refs/references.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <iterator>

#include "engine/base/error.h"

namespace mpool {

std::string_view to_string(FileHolder holder) {
  constexpr std::array<std::string_view, kFileHolderCount> kNames{"open file", "backing file",
                                                                  "displaced name", "call"};
  return kNames.at(static_cast<std::size_t>(holder));
}

std::string_view to_string(ObjectHolder holder) {
  constexpr std::array<std::string_view, kObjectHolderCount> kNames{"log", "open object", "map",
                                                                    "failed change", "pack reader"};
  return kNames.at(static_cast<std::size_t>(holder));
}

References::Hold::Hold(References& references, ObjectHolder holder, ObjectId object)
    : references_(references), holder_(holder), object_(object) {
  references_.begin_hold(holder_, object_);
}

References::Hold::~Hold() {
  references_.end_hold(holder_, object_);
}

References::GroupHold::GroupHold(References& references, ObjectHolder holder,
                                 std::vector<ObjectId> objects)
    : references_(references), holder_(holder), objects_(std::move(objects)) {
  std::size_t held = 0;
  try {
    for (; held < objects_.size(); ++held)
      references_.begin_hold(holder_, objects_[held]);
  } catch (...) {
    end(held);
    throw;
  }
}

References::GroupHold::~GroupHold() {
  end(objects_.size());
}

void References::GroupHold::end(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    references_.end_hold(holder_, objects_[i]);
}

void References::begin_hold(ObjectHolder holder, ObjectId object) {
  const bool by_id = holder == ObjectHolder::open_object || holder == ObjectHolder::map;
  const std::lock_guard lock(mutex_);
  // A released object may be deleted at any time: it must not be pinned.
  if (by_id && waiting_.contains(object)) {
    raise(ENOENT, "object " + object.to_string(), "it is being deleted");
  }
  pool_.pin(object);
  try {
    add(holder, object);
  } catch (...) {
    pool_.unpin(object);
    throw;
  }
}

void References::end_hold(ObjectHolder holder, ObjectId object) {
  drop(holder, object);
  pool_.unpin(object);
}

void References::add(ObjectHolder holder, ObjectId object) {
  ++users_[object][static_cast<std::size_t>(holder)];
}

void References::drop(ObjectHolder holder, ObjectId object) {
  const std::lock_guard lock(mutex_);
  const auto found = users_.find(object);
  assert(found != users_.end());
  std::uint32_t& count = found->second[static_cast<std::size_t>(holder)];
  assert(count > 0);
  --count;
  if (found->second == Users{}) users_.erase(found);
}

void References::keep_failed(std::span<const ObjectId> objects) {
  const std::lock_guard lock(mutex_);
  for (const ObjectId object : objects)
    add(ObjectHolder::failed_change, object);
}

void References::set_deletes(Deletes deletes) {
  const std::lock_guard lock(mutex_);
  deletes_ = deletes;
}

std::vector<ObjectId> References::release(std::span<const ObjectId> objects) {
  const std::lock_guard lock(mutex_);
  // An object can be missing only where the media lost it: its name is removed nevertheless.
  std::ranges::copy_if(objects, std::inserter(waiting_, waiting_.end()),
                       [&](ObjectId object) { return pool_.find(object).has_value(); });
  std::vector<ObjectId> deletable;
  if (deletes_ == Deletes::held) return deletable;
  // A remove() that failed may have deleted some.
  std::erase_if(waiting_, [&](ObjectId object) { return !pool_.find(object); });
  std::ranges::copy_if(waiting_, std::back_inserter(deletable),
                       [&](ObjectId object) { return !users_.contains(object); });
  return deletable;
}

void References::remove(std::span<const ObjectId> objects) {
  if (objects.empty()) return;
  pool_.remove(objects);
  const std::lock_guard lock(mutex_);
  for (const ObjectId object : objects)
    waiting_.erase(object);
}

std::vector<ObjectId> References::waiting() const {
  const std::lock_guard lock(mutex_);
  return {waiting_.begin(), waiting_.end()};
}

References::Counts References::counts() const {
  const std::lock_guard lock(mutex_);
  Counts counts{.deletes = deletes_, .waiting = waiting_.size(), .held = {}};
  for (const auto& [object, users] : users_) {
    for (std::size_t i = 0; i < users.size(); ++i)
      counts.held[i] += users[i] > 0 ? 1 : 0;
  }
  return counts;
}

}  // namespace mpool
