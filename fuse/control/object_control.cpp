#include "fuse/control/object_control.h"

#include <cerrno>

#include "engine/base/error.h"
#include "fuse/control/object_session.h"

namespace mpoolfs {

bool ProgramObjects::is_of_tree(mpool::ObjectId id) const {
  if (!names_.owns(id)) return false;
  const std::lock_guard lock(mutex_);
  return !committed_.contains(id);
}

void ProgramObjects::check_writable() const {
  if (read_only_) mpool::raise(EROFS, "pool " + client_.pool().name(), "mounted read-only");
}

void ProgramObjects::check_changeable(mpool::ObjectId id) const {
  check_writable();
  if (!is_of_tree(id)) return;
  mpool::raise(EPERM, "object " + id.to_string(), "it belongs to the named tree");
}

void ProgramObjects::add(mpool::ObjectId id) {
  const std::lock_guard lock(mutex_);
  committed_.insert(id);
}

void ProgramObjects::use(std::uint32_t& present, std::uint32_t wanted) {
  const std::lock_guard lock(mutex_);
  const unsigned others = users_ - (present != MPOOL_IOC_UNUSED ? 1 : 0);
  const bool other_is_exclusive = exclusive_ && present != MPOOL_IOC_EXCLUSIVE;
  if (wanted != MPOOL_IOC_UNUSED &&
      (other_is_exclusive || (wanted == MPOOL_IOC_EXCLUSIVE && others != 0))) {
    mpool::raise(EBUSY, "pool " + client_.pool().name(), "another program uses it");
  }
  users_ = others + (wanted != MPOOL_IOC_UNUSED ? 1 : 0);
  if (!other_is_exclusive) exclusive_ = wanted == MPOOL_IOC_EXCLUSIVE;
  present = wanted;
}

ObjectControl::ObjectControl(ProgramObjects& objects, Maps& maps)
    : objects_(objects),
      maps_(maps),
      uid_(objects.client().pool().config().uid),
      gid_(objects.client().pool().config().gid) {}

ControlProvider::Info ObjectControl::describe(Node) const {
  return {.mode = 0600, .uid = uid_, .gid = gid_};
}

std::unique_ptr<ControlFile> ObjectControl::open(Node node, const mpool::OpenIntent& intent) {
  return open_for({.uid = uid_, .gid = gid_}, node, intent);
}

std::unique_ptr<ControlFile> ObjectControl::open_for(const Caller& caller, Node,
                                                     const mpool::OpenIntent&) {
  return std::make_unique<ObjectSession>(objects_, maps_, caller);
}

}  // namespace mpoolfs
