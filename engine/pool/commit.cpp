// Changes of the objects of a pool that are recorded in its MDCs.
#include <cassert>
#include <cerrno>
#include <exception>
#include <map>
#include <vector>

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

// Logs the deletion of a marked object. A full MDC is compacted without the object.
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

// Objects of one MDC whose change is logged and may not be durable.
struct Logged {
  MdcSlot* slot;
  std::vector<ObjectId> ids;
  MdcSlot::Pending pending;
};

// Waits until the changes are durable, with one flush for all MDCs. Failed ones are removed from
// `changes`, their objects get the state `failed`, and the failure is returned.
std::exception_ptr wait_for(std::vector<Logged>& changes, ObjectState failed) {
  try {
    std::vector<MdcSlot::Change> waiting;
    for (const Logged& change : changes)
      waiting.push_back({change.slot, change.pending});
    MdcSlot::wait(waiting);
    return nullptr;
  } catch (...) {
    std::exception_ptr failure = std::current_exception();
    const auto not_durable = [failed](const Logged& change) {
      try {
        change.slot->wait(change.pending);
        return false;
      } catch (...) {
        set_states(*change.slot, change.ids, failed);
        return true;
      }
    };
    return std::erase_if(changes, not_durable) == 0 ? nullptr : failure;
  }
}

// Logs the creation of objects of one MDC until the first failure, which goes to `failure`.
Logged log_creates(const PoolState& pool, MdcSlot& slot, std::span<const ObjectRecord> objects,
                   std::exception_ptr& failure) {
  Logged change{.slot = &slot, .ids = {}, .pending = {}};
  change.ids.reserve(objects.size());
  try {
    const auto updates = slot.lock_updates();
    for (const ObjectRecord& object : objects) {
      const auto state = slot.table().state(object.id);
      if (state == ObjectState::committed || state == ObjectState::marked_for_deletion) continue;
      if (!state) raise(ENOENT, pool.describe(object.id), "cannot commit: it was not allocated");
      if (!slot.table().begin_commit(object)) {
        const bool failed = state == ObjectState::uncertain;
        raise(failed ? EIO : EBUSY, pool.describe(object.id), "cannot commit: {}",
              failed ? "the metadata device failed before" : "it is being committed or deleted");
      }
      change.pending = log_create(slot, object);
      change.ids.push_back(object.id);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  return change;
}

// Logs a greater written length of a committed mblock.
MdcSlot::Pending log_extension(MdcSlot& slot, const ObjectRecord& present, std::uint64_t length) {
  ObjectRecord record = present;
  record.update = true;
  record.written_length = length;
  slot.table().set_written_length(record.id, length);
  try {
    return slot.log(record);
  } catch (...) {
    slot.table().set_written_length(record.id, present.written_length);
    throw;
  }
}

// As log_creates().
Logged log_extensions(const PoolState& pool, MdcSlot& slot, std::span<const ObjectRecord> mblocks,
                      std::exception_ptr& failure) {
  Logged change{.slot = &slot, .ids = {}, .pending = {}};
  try {
    const auto updates = slot.lock_updates();
    for (const ObjectRecord& mblock : mblocks) {
      const auto present = slot.table().find_committed(mblock.id);
      if (!present) raise(ENOENT, pool.describe(mblock.id), "cannot extend: it does not exist");
      if (mblock.written_length <= present->written_length) continue;
      change.pending = log_extension(slot, *present, mblock.written_length);
      change.ids.push_back(mblock.id);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  return change;
}

// As log_creates() for the deletion of marked objects; objects whose deletion was not logged are
// kept.
Logged log_deletes(MdcSlot& slot, std::span<const ObjectId> ids, std::exception_ptr& failure) {
  Logged change{.slot = &slot, .ids = {}, .pending = {}};
  change.ids.reserve(ids.size());
  try {
    const auto updates = slot.lock_updates();
    for (const ObjectId id : ids) {
      change.pending = log_delete(slot, id);
      change.ids.push_back(id);
    }
  } catch (...) {
    failure = std::current_exception();
    set_states(slot, ids.subspan(change.ids.size()), ObjectState::committed);
  }
  return change;
}

// Ordered by MDC, so that a run can be reproduced write by write.
struct InOrder {
  bool operator()(const MdcSlot* a, const MdcSlot* b) const { return a->slot() < b->slot(); }
};
using RecordsBySlot = std::map<MdcSlot*, std::vector<ObjectRecord>, InOrder>;
using IdsBySlot = std::map<MdcSlot*, std::vector<ObjectId>, InOrder>;

// Logs changes of objects, MDC by MDC until the first failure, and waits until they are durable.
// Returns those that are; `failed`: the state of the objects of the others.
template <typename Log>
std::vector<Logged> log_by_slot(const PoolState& pool, const RecordsBySlot& objects, const Log& log,
                                ObjectState failed, std::exception_ptr& failure) {
  std::vector<Logged> changes;
  for (const auto& [slot, of_slot] : objects) {
    changes.push_back(log(pool, *slot, of_slot, failure));
    if (failure != nullptr) break;
  }
  const std::exception_ptr not_durable = wait_for(changes, failed);
  if (failure == nullptr) failure = not_durable;
  return changes;
}

void commit_by_slot(const PoolState& pool, const RecordsBySlot& objects) {
  std::exception_ptr failure;
  const auto changes = log_by_slot(pool, objects, log_creates, ObjectState::uncertain, failure);
  for (const Logged& change : changes)
    set_states(*change.slot, change.ids, ObjectState::committed);
  pool.note_change();
  if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace

void PoolState::commit_in(MdcSlot& slot, std::span<const ObjectRecord> objects) {
  commit_by_slot(*this, {{&slot, {objects.begin(), objects.end()}}});
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
  note_change();
}

namespace {

// ENOENT with `missing`; EINVAL beyond the capacity.
RecordsBySlot sort_by_slot(const Pool& pool, const PoolState& state,
                           std::span<const ObjectRecord> objects, std::string_view missing) {
  RecordsBySlot by_slot;
  for (const ObjectRecord& object : objects) {
    MdcSlot* slot = state.slot_of(object.id);
    if (slot == nullptr) raise(ENOENT, state.describe(object.id), "{}", missing);
    if (object.written_length > pool.capacity_of(object)) {
      raise(EINVAL, state.describe(object.id), "{} bytes written, its capacity is {}",
            object.written_length, pool.capacity_of(object));
    }
    by_slot[slot].push_back(object);
  }
  return by_slot;
}

}  // namespace

void Pool::commit(std::span<const ObjectRecord> objects) {
  commit_by_slot(*impl_,
                 sort_by_slot(*this, *impl_, objects, "cannot commit: it was not allocated"));
}

void Pool::extend(std::span<const ObjectRecord> mblocks) {
  std::exception_ptr failure;
  log_by_slot(*impl_, sort_by_slot(*this, *impl_, mblocks, "cannot extend: it does not exist"),
              log_extensions, ObjectState::committed, failure);
  impl_->note_change();
  if (failure != nullptr) std::rethrow_exception(failure);
}

namespace {

void unmark(const IdsBySlot& marked) {
  for (const auto& [slot, ids] : marked)
    set_states(*slot, ids, ObjectState::committed);
}

// Marks all objects for deletion, or none.
IdsBySlot mark_all_for_deletion(const PoolState& pool, std::span<const ObjectId> objects) {
  IdsBySlot marked;
  for (const ObjectId id : objects) {
    MdcSlot* slot = pool.slot_of(id);
    const int error = slot == nullptr ? ENOENT : slot->table().mark_for_deletion(id);
    if (error != 0) {
      unmark(marked);
      raise(error, pool.describe(id), "cannot delete: {}",
            error == EBUSY ? "it is in use" : "there is no such object");
    }
    marked[slot].push_back(id);
  }
  return marked;
}

}  // namespace

void Pool::remove(std::span<const ObjectId> objects) {
  IdsBySlot marked = mark_all_for_deletion(*impl_, objects);
  std::vector<Logged> changes;
  std::exception_ptr failure;
  for (const auto& [slot, ids] : marked) {
    if (failure == nullptr) {
      changes.push_back(log_deletes(*slot, ids, failure));
    } else {
      set_states(*slot, ids, ObjectState::committed);
    }
  }
  const std::exception_ptr not_durable = wait_for(changes, ObjectState::committed);
  for (const Logged& change : changes) {
    for (const ObjectId id : change.ids) {
      assert(change.slot->table().state(id) == ObjectState::deleting);
      if (const auto object = change.slot->table().erase(id)) impl_->give_back(*object);
    }
  }
  if (failure == nullptr) failure = not_durable;
  if (failure != nullptr) std::rethrow_exception(failure);
}

void Pool::record_generation(ObjectId mlog, std::uint64_t generation) {
  MdcSlot* slot = impl_->slot_of(mlog);
  if (slot == nullptr) raise(ENOENT, impl_->describe(mlog), "there is no such mlog");
  impl_->record_generation(*slot, mlog, generation);
}

}  // namespace mpool
