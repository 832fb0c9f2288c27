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

ObjectControl::ObjectControl(ProgramObjects& objects, Maps& maps)
    : objects_(objects),
      maps_(maps),
      uid_(objects.client().pool().config().uid),
      gid_(objects.client().pool().config().gid) {}

ControlProvider::Info ObjectControl::describe(Node) const {
  return {.mode = 0600, .uid = uid_, .gid = gid_};
}

std::unique_ptr<ControlFile> ObjectControl::open(Node, const mpool::OpenIntent&) {
  return std::make_unique<ObjectSession>(objects_, maps_);
}

}  // namespace mpoolfs
