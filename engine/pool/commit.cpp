// Changes of the objects of a pool that are recorded in its MDCs.
#include <cerrno>
#include <exception>
#include <map>

#include "engine/base/error.h"
#include "engine/pool/pool_state.h"

namespace mpool {
namespace {

// Logs the record of an object that is marked as committing.
MdcSlot::Pending log_create(MdcSlot& slot, const ObjectRecord& object) {
  ObjectRecord record = object;
  record.update = false;
  try {
    return slot.log(record);
  } catch (const Error& error) {
    slot.table().set_state(
        object.id, error.code() == ENOSPC ? ObjectState::allocated : ObjectState::uncertain);
    throw;
  } catch (...) {
    slot.table().set_state(object.id, ObjectState::uncertain);
    throw;
  }
}

// Logs the deletion of a doomed object. A full MDC is compacted without the object.
MdcSlot::Pending log_delete(MdcSlot& slot, ObjectId id) {
  slot.table().set_state(id, ObjectState::deleting);
  try {
    return slot.log(DeleteRecord{id});
  } catch (...) {
    slot.table().set_state(id, ObjectState::committed);
    throw;
  }
}

void set_states(MdcSlot& slot, std::span<const ObjectId> ids, ObjectState state) {
  for (const ObjectId id : ids)
    slot.table().set_state(id, state);
}

// Waits for what was logged. When that fails the objects get the state `failed`.
void settle(MdcSlot& slot, MdcSlot::Pending pending, std::span<const ObjectId> logged,
            ObjectState failed) {
  try {
    slot.wait(pending);
  } catch (...) {
    set_states(slot, logged, failed);
    throw;
  }
}

}  // namespace

void PoolState::commit_in(MdcSlot& slot, std::span<const ObjectRecord> objects) {
  std::vector<ObjectId> logged;
  logged.reserve(objects.size());
  MdcSlot::Pending pending;
  std::exception_ptr failure;
  try {
    const auto updates = slot.lock_updates();
    for (const ObjectRecord& object : objects) {
      const auto state = slot.table().state(object.id);
      if (state == ObjectState::committed || state == ObjectState::doomed) continue;
      if (!state) raise(ENOENT, describe(object.id), "cannot commit: it was not allocated");
      if (!slot.table().begin_commit(object)) {
        const bool failed = state == ObjectState::uncertain;
        raise(failed ? EIO : EBUSY, describe(object.id), "cannot commit: {}",
              failed ? "the metadata device failed before" : "it is being committed or deleted");
      }
      pending = log_create(slot, object);
      logged.push_back(object.id);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  settle(slot, pending, logged, ObjectState::uncertain);
  set_states(slot, logged, ObjectState::committed);
  if (failure != nullptr) std::rethrow_exception(failure);
}

void PoolState::record_generation(MdcSlot& slot, ObjectId mlog, std::uint64_t generation) {
  MdcSlot::Pending pending;
  {
    const auto updates = slot.lock_updates();
    const auto object = slot.table().find_committed(mlog);
    if (!object || !mlog.is_mlog()) raise(ENOENT, describe(mlog), "there is no such mlog");
    if (generation <= object->generation) {
      raise(EINVAL, describe(mlog), "generation {} is not greater than the present {}", generation,
            object->generation);
    }
    slot.table().set_generation(mlog, generation);
    try {
      pending = slot.log(EraseRecord{mlog, generation});
    } catch (...) {
      slot.table().set_generation(mlog, object->generation);
      throw;
    }
  }
  slot.wait(pending);
}

void Pool::commit(std::span<const ObjectRecord> objects) {
  std::map<MdcSlot*, std::vector<ObjectRecord>> by_slot;
  for (const ObjectRecord& object : objects) {
    MdcSlot* slot = impl_->slot_of(object.id);
    if (slot == nullptr) {
      raise(ENOENT, impl_->describe(object.id), "cannot commit: it was not allocated");
    }
    if (object.written_length > capacity_of(object)) {
      raise(EINVAL, impl_->describe(object.id), "{} bytes written, its capacity is {}",
            object.written_length, capacity_of(object));
    }
    by_slot[slot].push_back(object);
  }
  for (const auto& [slot, of_slot] : by_slot)
    impl_->commit_in(*slot, of_slot);
}

namespace {

using IdsBySlot = std::map<MdcSlot*, std::vector<ObjectId>>;

void spare(const IdsBySlot& doomed) {
  for (const auto& [slot, ids] : doomed)
    set_states(*slot, ids, ObjectState::committed);
}

// Chooses all objects for deletion, or none.
IdsBySlot doom_all(const PoolState& pool, std::span<const ObjectId> objects) {
  IdsBySlot doomed;
  for (const ObjectId id : objects) {
    MdcSlot* slot = pool.slot_of(id);
    const int error = slot == nullptr ? ENOENT : slot->table().doom(id);
    if (error != 0) {
      spare(doomed);
      raise(error, pool.describe(id), "cannot delete: {}",
            error == EBUSY ? "it is in use" : "there is no such object");
    }
    doomed[slot].push_back(id);
  }
  return doomed;
}

// Deletes the doomed objects of one MDC; those whose deletion was not logged are spared.
void delete_in(PoolState& pool, MdcSlot& slot, std::span<const ObjectId> ids) {
  MdcSlot::Pending pending;
  std::size_t logged = 0;
  std::exception_ptr failure;
  try {
    const auto updates = slot.lock_updates();
    for (; logged < ids.size(); ++logged)
      pending = log_delete(slot, ids[logged]);
  } catch (...) {
    failure = std::current_exception();
    set_states(slot, ids.subspan(logged), ObjectState::committed);
  }
  settle(slot, pending, ids.first(logged), ObjectState::committed);
  for (const ObjectId id : ids.first(logged)) {
    if (const auto object = slot.table().erase(id)) pool.give_back(*object);
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace

void Pool::remove(std::span<const ObjectId> objects) {
  IdsBySlot doomed = doom_all(*impl_, objects);
  while (!doomed.empty()) {
    const auto [slot, ids] = *doomed.begin();
    doomed.erase(doomed.begin());
    try {
      delete_in(*impl_, *slot, ids);
    } catch (...) {
      spare(doomed);
      throw;
    }
  }
}

void Pool::record_generation(ObjectId mlog, std::uint64_t generation) {
  MdcSlot* slot = impl_->slot_of(mlog);
  if (slot == nullptr) raise(ENOENT, impl_->describe(mlog), "there is no such mlog");
  impl_->record_generation(*slot, mlog, generation);
}

}  // namespace mpool
