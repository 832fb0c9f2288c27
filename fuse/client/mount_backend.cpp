#include "fuse/client/mount_backend.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>

#include "engine/base/error.h"
#include "fuse/client/log.h"
#include "fuse/client/mount_map.h"
#include "fuse/client/mount_records.h"
#include "fuse/client/pool_facts.h"

namespace libmpool {

namespace {

using mpool::ObjectId;
using mpool::ObjectType;

void require_type(ObjectId id, ObjectType type) {
  if (id.type() != type) mpool::raise(EINVAL, id.to_string(), "the id of another type of object");
}

mpool_ioc_pool facts_on(const MountSession& session) {
  mpool_ioc_pool facts{};
  session.call(MPOOL_IOC_POOL, facts);
  return facts;
}

// Says in the log why a mounted pool cannot be used.
std::optional<MountSession> open_session(const ActivePool& active) {
  try {
    return MountSession::open(active.mount_point);
  } catch (const mpool::Error& error) {
    library_logger().error("pool {} is mounted on {}, but cannot be used there: {}", active.name(),
                           active.mount_point, error.what());
    throw;
  }
}

}  // namespace

std::unique_ptr<MountBackend> MountBackend::find(const ActivePool& active) {
  if (active.mount_point.empty()) return nullptr;
  auto session = open_session(active);
  if (!session) return nullptr;
  auto found = std::make_unique<MountBackend>(*std::move(session));
  // Another pool may be mounted there by now.
  if (std::memcmp(found->facts_at_open_.uuid, active.params.mp_poolid, sizeof(uuid_t)) != 0) {
    return nullptr;
  }
  return found;
}

MountBackend::MountBackend(MountSession session)
    : session_(std::move(session)), facts_at_open_(facts_on(session_)) {}

MountBackend::~MountBackend() {
  // The end of the session comes a moment after its close.
  try {
    mpool_ioc_use use{};
    use.mode = MPOOL_IOC_UNUSED;
    session_.call(MPOOL_IOC_USE, use);
  } catch (const mpool::Error&) {
    // The daemon is gone.
  }
}

void MountBackend::share(Sharing sharing) {
  mpool_ioc_use use{};
  use.mode = sharing == Sharing::exclusive ? MPOOL_IOC_EXCLUSIVE : MPOOL_IOC_SHARED;
  session_.call(MPOOL_IOC_USE, use);
}

mpool_ioc_pool MountBackend::facts() {
  return facts_on(session_);
}

mpool_ioc_usage MountBackend::usage() {
  mpool_ioc_usage usage{};
  session_.call(MPOOL_IOC_USAGE, usage);
  return usage;
}

void MountBackend::change_settings(const mpool_ioc_settings& wanted) {
  mpool_ioc_settings changes = wanted;
  session_.call(MPOOL_IOC_SETTINGS, changes);
}

bool MountBackend::holds_tree() {
  return (facts_at_open_.flags & MPOOL_IOC_HOLDS_TREE) != 0;
}

bool MountBackend::is_of_tree(ObjectId id) {
  return (properties_on(session_, id).flags & MPOOL_IOC_OF_TREE) != 0;
}

std::vector<ObjectId> MountBackend::objects() {
  std::vector<ObjectId> ids = session_.list("mblock");
  const std::vector<ObjectId> logs = session_.list("mlog");
  ids.insert(ids.end(), logs.begin(), logs.end());
  std::ranges::sort(ids);
  return ids;
}

// --- objects ---

ObjectId MountBackend::allocate(ObjectType type, mpool::MediaClass media_class,
                                std::uint64_t capacity, mpool::SpacePolicy policy) {
  const unsigned number = std::to_underlying(media_class);
  mpool_ioc_alloc alloc{};
  alloc.type = type == ObjectType::mblock ? MPOOL_IOC_MBLOCK : MPOOL_IOC_MLOG;
  alloc.media_class = number;
  alloc.flags = policy == mpool::SpacePolicy::spare_then_usable ? MPOOL_IOC_SPARE : 0;
  alloc.capacity = capacity;
  session_.call(MPOOL_IOC_ALLOC, alloc);
  const ObjectId id{alloc.objid};
  if (type == ObjectType::mblock) {
    try {
      auto made = std::make_shared<NewMblock>(facts_at_open_.classes[number].zone_size);
      const std::lock_guard lock(mutex_);
      new_mblocks_.emplace(id, std::move(made));
    } catch (...) {
      call_on(MPOOL_IOC_ABORT, id, type);
      throw;
    }
  }
  return id;
}

void MountBackend::commit(ObjectId id, ObjectType type) {
  call_on(MPOOL_IOC_COMMIT, id, type);
  forget(id);
}

void MountBackend::abort(ObjectId id, ObjectType type) {
  call_on(MPOOL_IOC_ABORT, id, type);
  forget(id);
}

void MountBackend::remove(ObjectId id, ObjectType type) {
  call_on(MPOOL_IOC_DELETE, id, type);
}

void MountBackend::call_on(unsigned long command, ObjectId id, ObjectType type) const {
  require_type(id, type);
  mpool_ioc_object object{};
  object.objid = id.value;
  session_.call(command, object, id);
}

void MountBackend::forget(ObjectId id) {
  std::shared_ptr<NewMblock> ended;  // closed without the lock
  const std::lock_guard lock(mutex_);
  if (const auto found = new_mblocks_.find(id); found != new_mblocks_.end()) {
    ended = std::move(found->second);
    new_mblocks_.erase(found);
  }
}

mblock_props MountBackend::mblock(ObjectId id) {
  require_type(id, ObjectType::mblock);
  const mpool_ioc_properties properties = properties_on(session_, id);
  return mblock_props_of(properties, facts_at_open_.classes[properties.media_class & 1].write_size);
}

std::shared_ptr<MountBackend::NewMblock> MountBackend::new_mblock(ObjectId id) const {
  const std::lock_guard lock(mutex_);
  const auto found = new_mblocks_.find(id);
  if (found == new_mblocks_.end()) {
    mpool::raise(ENOENT, id.to_string(), "this process has no such uncommitted mblock");
  }
  return found->second;
}

void MountBackend::write_mblock(ObjectId id, std::span<const mpool::ConstByteSpan> parts) {
  require_type(id, ObjectType::mblock);
  const auto mblock = new_mblock(id);
  const std::uint64_t length = mpool::length_of(parts);
  const std::lock_guard lock(mblock->mutex);
  if (length > mblock->capacity - mblock->written) {
    mpool::raise(EINVAL, id.to_string(), "{} bytes do not fit behind the {} written ones", length,
                 mblock->written);
  }
  if (mblock->file == nullptr) mblock->file = session_.open_mblock(id, O_WRONLY);
  write_all(*mblock->file, mblock->written, parts, id);
  mblock->written += length;
}

void MountBackend::read_mblock(ObjectId id, std::uint64_t offset,
                               std::span<const mpool::ByteSpan> parts) {
  require_type(id, ObjectType::mblock);
  const std::uint64_t length = mpool::length_of(parts);
  const auto file = session_.open_mblock(id, O_RDONLY | O_DIRECT);
  const std::uint64_t size = file->size();
  if (offset % mpool::kPageSize != 0 || offset > size || length > size - offset) {
    mpool::raise(EINVAL, id.to_string(), "no such range of pages: {} bytes at {}, {} are written",
                 length, offset, size);
  }
  read_all(*file, offset, parts, id);
}

std::unique_ptr<PinnedMblocks> MountBackend::pin(std::span<const std::uint64_t> ids,
                                                 mpc_vma_advice advice) {
  auto name = fmt::format("libmpool-{}-{:x}", maps_prefix_.to_string(), ++maps_made_);
  return std::make_unique<MountMap>(session_, std::move(name), ids, advice);
}

mlog_props MountBackend::log(ObjectId id) {
  return mlog_of_mount(session_, id);
}

std::unique_ptr<Log> MountBackend::open_log(ObjectId id, mpool::ClientLog::Options options) {
  return open_mount_log(session_, id, options);
}

std::unique_ptr<Mdc> MountBackend::open_mdc(ObjectId first, ObjectId second) {
  return open_mount_mdc(session_, first, second);
}

}  // namespace libmpool
