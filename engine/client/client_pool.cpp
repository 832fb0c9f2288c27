#include "engine/client/client_pool.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/pool/object_pin.h"

namespace mpool {

namespace {

bool is_page_aligned(const void* memory) {
  return memory != nullptr && is_aligned(reinterpret_cast<std::uintptr_t>(memory), kPageSize);
}

// The sum of the parts of a transfer; EINVAL for one that cannot be made without a copy.
template <typename Span>
std::uint64_t check_transfer(const std::string& subject, std::span<const Span> parts) {
  std::uint64_t sum = 0;
  for (const Span& part : parts) {
    if (part.empty() || !is_aligned(part.size(), kPageSize) || !is_page_aligned(part.data())) {
      raise(EINVAL, subject, "a transfer is made of whole pages of page-aligned memory");
    }
    sum += part.size();
    if (sum > ClientPool::kMaxTransfer) break;
  }
  if (sum == 0 || sum > ClientPool::kMaxTransfer) {
    raise(EINVAL, subject, "a transfer is of a page to {} bytes", ClientPool::kMaxTransfer);
  }
  return sum;
}

// Calls a function at the end of its scope.
template <typename Function>
class Closer {
 public:
  explicit Closer(Function close) : close_(std::move(close)) {}
  ~Closer() { close_(); }
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;

 private:
  Function close_;
};

}  // namespace

ClientPool::~ClientPool() {
  for (const auto& [id, each] : uncommitted_)
    pool_.abort(each->object);
}

std::string ClientPool::describe(ObjectId id) const {
  return fmt::format("{} {} of pool {}", id.is_mlog() ? "mlog" : "mblock", id.to_string(),
                     pool_.name());
}

// --- life of objects ---

ObjectRecord ClientPool::allocate(ObjectType type, std::uint64_t capacity, MediaClass media_class,
                                  SpacePolicy policy) {
  if (!pool_.has_class(media_class)) {
    raise(ENOENT, "pool " + pool_.name(), "has no device of that media class");
  }
  const ObjectRecord object =
      pool_.allocate(type, capacity, {.media_class = media_class, .policy = policy});
  try {
    const std::lock_guard lock(mutex_);
    uncommitted_.emplace(object.id, std::make_shared<Uncommitted>(object));
  } catch (...) {
    pool_.abort(object);
    throw;
  }
  return object;
}

std::shared_ptr<ClientPool::Uncommitted> ClientPool::uncommitted(ObjectId id) const {
  const std::lock_guard lock(mutex_);
  const auto found = uncommitted_.find(id);
  return found == uncommitted_.end() ? nullptr : found->second;
}

ObjectRecord ClientPool::committed(ObjectId id, ObjectType type) const {
  if (id.type() != type) raise(EINVAL, describe(id), "the id is that of another type of object");
  const auto object = pool_.find(id);
  if (!object) raise(ENOENT, describe(id), "there is no such committed object");
  return *object;
}

ObjectRecord ClientPool::state_of(ObjectId id, ObjectType type, bool& is_committed) const {
  if (id.type() != type) raise(EINVAL, describe(id), "the id is that of another type of object");
  is_committed = false;
  if (const auto own = uncommitted(id)) {
    const std::lock_guard lock(own->mutex);
    if (!own->ended) return own->object;
  }
  is_committed = true;
  return committed(id, type);
}

namespace {

// Locks an uncommitted object; ENOENT when it is none any more.
template <typename Object>
std::unique_lock<std::mutex> lock_object(const std::shared_ptr<Object>& object,
                                         const std::string& subject) {
  if (object != nullptr) {
    std::unique_lock lock(object->mutex);
    if (!object->ended) return lock;
  }
  raise(ENOENT, subject, "there is no such uncommitted object");
}

}  // namespace

void ClientPool::commit(ObjectId id, ObjectType type) {
  if (id.type() != type) raise(EINVAL, describe(id), "the id is that of another type of object");
  const auto own = uncommitted(id);
  const auto lock = lock_object(own, describe(id));
  if (own->failed) raise(EIO, describe(id), "a write to it failed: it can only be aborted");
  if (type == ObjectType::mblock && own->object.written_length != 0) {
    pool_.device(own->object.media_class).flush();
  }
  pool_.commit(std::span(&own->object, 1));
  own->ended = true;
  const std::lock_guard table(mutex_);
  uncommitted_.erase(id);
}

void ClientPool::abort(ObjectId id, ObjectType type) {
  if (id.type() != type) raise(EINVAL, describe(id), "the id is that of another type of object");
  const auto own = uncommitted(id);
  const auto lock = lock_object(own, describe(id));
  pool_.abort(own->object);
  own->ended = true;
  const std::lock_guard table(mutex_);
  uncommitted_.erase(id);
}

void ClientPool::remove(ObjectId id, ObjectType type) {
  if (id.type() != type) raise(EINVAL, describe(id), "the id is that of another type of object");
  pool_.remove(std::span(&id, 1));
}

// --- mblocks ---

ClientPool::Mblock ClientPool::allocate_mblock(MediaClass media_class, SpacePolicy policy) {
  const ObjectRecord object = allocate(ObjectType::mblock, 0, media_class, policy);
  return {.id = object.id,
          .media_class = object.media_class,
          .capacity = pool_.capacity_of(object),
          .written_length = 0,
          .committed = false};
}

ClientPool::Mblock ClientPool::mblock(ObjectId id) const {
  bool is_committed = false;
  const ObjectRecord object = state_of(id, ObjectType::mblock, is_committed);
  return {.id = id,
          .media_class = object.media_class,
          .capacity = pool_.capacity_of(object),
          .written_length = object.written_length,
          .committed = is_committed};
}

void ClientPool::write_mblock(ObjectId id, std::span<const ConstByteSpan> parts) {
  if (!id.is_mblock()) raise(EINVAL, describe(id), "the id is not that of an mblock");
  const std::uint64_t length = check_transfer(describe(id), parts);
  const auto own = uncommitted(id);
  const auto lock = lock_object(own, describe(id));
  if (own->failed) raise(EIO, describe(id), "a write to it failed: it can only be aborted");
  ObjectRecord& object = own->object;
  if (length > pool_.capacity_of(object) - object.written_length) {
    raise(EINVAL, describe(id), "{} bytes do not fit behind the {} written ones", length,
          object.written_length);
  }
  try {
    pool_.device(object.media_class).write(pool_.offset_of(object) + object.written_length, parts);
  } catch (...) {
    own->failed = true;
    throw;
  }
  object.written_length += length;
}

void ClientPool::commit_mblock(ObjectId id) {
  commit(id, ObjectType::mblock);
}

void ClientPool::abort_mblock(ObjectId id) {
  abort(id, ObjectType::mblock);
}

void ClientPool::delete_mblock(ObjectId id) {
  remove(id, ObjectType::mblock);
}

void ClientPool::read_mblock(ObjectId id, std::uint64_t offset,
                             std::span<const ByteSpan> parts) const {
  if (!id.is_mblock()) raise(EINVAL, describe(id), "the id is not that of an mblock");
  const std::uint64_t length = check_transfer(describe(id), parts);
  const ObjectPin pin(pool_, id);
  const auto object = pool_.find(id);
  if (!is_aligned(offset, kPageSize) || offset > object->written_length ||
      length > object->written_length - offset) {
    raise(EINVAL, describe(id), "no such range of pages: {} bytes at {}, {} are written", length,
          offset, object->written_length);
  }
  pool_.device(object->media_class).read(pool_.offset_of(*object) + offset, parts);
}

// --- mlogs ---

ClientPool::Log ClientPool::allocate_log(MediaClass media_class, std::uint64_t capacity,
                                         SpacePolicy policy) {
  const ObjectRecord object = allocate(ObjectType::mlog, capacity, media_class, policy);
  return log(object.id);
}

ClientPool::Log ClientPool::log(ObjectId id) const {
  bool is_committed = false;
  const ObjectRecord object = state_of(id, ObjectType::mlog, is_committed);
  return {.id = id,
          .media_class = object.media_class,
          .uuid = object.uuid,
          .capacity = pool_.capacity_of(object),
          .generation = object.generation,
          .committed = is_committed};
}

void ClientPool::commit_log(ObjectId id) {
  commit(id, ObjectType::mlog);
}

void ClientPool::abort_log(ObjectId id) {
  abort(id, ObjectType::mlog);
}

void ClientPool::delete_log(ObjectId id) {
  remove(id, ObjectType::mlog);
}

// --- open logs and pairs ---

// The entry of these ids, which may be new; EBUSY when one of them is open otherwise.
std::shared_ptr<ClientPool::Open> ClientPool::entry_for(const std::vector<ObjectId>& ids) {
  for (const ObjectId id : ids) {
    if (!id.is_mlog()) raise(EINVAL, describe(id), "the id is not that of an mlog");
    if (uncommitted(id) != nullptr) raise(EINVAL, describe(id), "it is not committed");
  }
  const std::lock_guard lock(mutex_);
  const auto found = open_.find(ids.front());
  if (found != open_.end() && std::ranges::is_permutation(found->second->ids, ids)) {
    return found->second;
  }
  for (const ObjectId id : ids) {
    if (open_.contains(id)) raise(EBUSY, describe(id), "it is open as a log, or in another MDC");
  }
  auto open = std::make_shared<Open>(ids);
  for (const ObjectId id : ids)
    open_.emplace(id, open);
  return open;
}

std::shared_ptr<ClientPool::Open> ClientPool::entry_of(ObjectId id) const {
  const std::lock_guard lock(mutex_);
  return open_.at(id);
}

// After the last close. The caller holds the entry's lock.
void ClientPool::end_if_unused(const std::shared_ptr<Open>& open) {
  if (open->opens != 0) return;
  open->log.reset();
  open->mdc.reset();
  open->ended = true;
  const std::lock_guard lock(mutex_);
  for (const ObjectId id : open->ids)
    open_.erase(id);
}

// After a sync that failed, for want of room, and before a close: the next open takes all that it
// finds for flushed.
void ClientPool::flush_written(const Open& open) const noexcept {
  for (const ObjectId id : open.ids) {
    try {
      pool_.device(pool_.find(id)->media_class).flush();
    } catch (const std::exception&) {
      // The device is offline: nothing more is written behind what it has.
    }
  }
}

std::shared_ptr<ClientLog> ClientPool::open_log(ObjectId id, ClientLog::Options options) {
  for (;;) {
    const auto open = entry_for({id});
    const std::lock_guard lock(open->mutex);
    if (open->ended) continue;
    const Closer closer([&] { end_if_unused(open); });
    if (open->log == nullptr) {
      open->log = std::make_shared<ClientLog>(pool_, id, options);
    } else if (!open->log->options().include(options)) {
      raise(EINVAL, describe(id), "it is open without one of these flags");
    }
    ++open->opens;
    return open->log;
  }
}

void ClientPool::close_log(ObjectId id) {
  const auto open = entry_of(id);
  const std::lock_guard lock(open->mutex);
  --open->opens;
  const Closer closer([&] { end_if_unused(open); });
  try {
    open->log->sync();
  } catch (...) {
    flush_written(*open);
    throw;
  }
}

std::shared_ptr<ClientMdc> ClientPool::open_mdc(ObjectId first, ObjectId second) {
  if (first == second) raise(EINVAL, describe(first), "an MDC is a pair of different mlogs");
  for (;;) {
    const auto open = entry_for({first, second});
    const std::lock_guard lock(open->mutex);
    if (open->ended) continue;
    const Closer closer([&] { end_if_unused(open); });
    if (open->mdc == nullptr) open->mdc = std::make_shared<ClientMdc>(pool_, first, second);
    ++open->opens;
    return open->mdc;
  }
}

bool ClientPool::first_record_is(ObjectId first, ObjectId second,
                                 bool (*condition)(ConstByteSpan record)) {
  for (;;) {
    const auto open = entry_for({first, second});
    const std::lock_guard lock(open->mutex);
    if (open->ended) continue;
    const Closer closer([&] { end_if_unused(open); });
    if (open->mdc != nullptr) return open->mdc->first_record_is(condition);
    const auto mdc = pool_.open_mdc(first, second, Mdc::OpenOptions::Finish::later);
    MlogReader reader = mdc->reader();
    std::vector<std::byte> record;
    return reader.next(record) && condition(record);
  }
}

void ClientPool::close_mdc(const std::shared_ptr<ClientMdc>& mdc) {
  const auto open = entry_of(mdc->ids().front());
  const std::lock_guard lock(open->mutex);
  --open->opens;
  const Closer closer([&] { end_if_unused(open); });
  if (mdc->failed()) return flush_written(*open);
  try {
    mdc->sync();
  } catch (...) {
    flush_written(*open);
    throw;
  }
}

}  // namespace mpool
