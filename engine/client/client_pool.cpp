#include "engine/client/client_pool.h"

#include <algorithm>
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

void ClientPool::check_type(ObjectId id, ObjectType type) const {
  if (id.type() != type) raise(EINVAL, describe(id), "the id is that of another type of object");
}

std::shared_ptr<ClientPool::Uncommitted> ClientPool::uncommitted(ObjectId id) const {
  const std::lock_guard lock(mutex_);
  const auto found = uncommitted_.find(id);
  return found == uncommitted_.end() ? nullptr : found->second;
}

ClientPool::State ClientPool::state_of(ObjectId id, ObjectType type) const {
  check_type(id, type);
  if (const auto own = uncommitted(id)) {
    const std::lock_guard lock(own->mutex);
    if (!own->ended) return {.object = own->object, .committed = false};
  }
  const auto object = pool_.find(id);
  if (!object) raise(ENOENT, describe(id), "there is no such committed object");
  return {.object = *object, .committed = true};
}

// ENOENT when it is none any more.
ClientPool::Locked ClientPool::lock_uncommitted(ObjectId id, ObjectType type) const {
  check_type(id, type);
  if (const auto own = uncommitted(id)) {
    std::unique_lock lock(own->mutex);
    if (!own->ended) return {.own = own, .lock = std::move(lock)};
  }
  raise(ENOENT, describe(id), "there is no such uncommitted object");
}

void ClientPool::check_sound(ObjectId id, const Uncommitted& own) const {
  if (own.failed) raise(EIO, describe(id), "a write to it failed: it can only be aborted");
}

// The caller holds the object's lock.
void ClientPool::end(ObjectId id, Uncommitted& own) {
  own.ended = true;
  const std::lock_guard lock(mutex_);
  uncommitted_.erase(id);
}

void ClientPool::commit(ObjectId id, ObjectType type) {
  const Locked locked = lock_uncommitted(id, type);
  check_sound(id, *locked.own);
  const ObjectRecord& object = locked.own->object;
  if (object.written_length != 0) pool_.device(object.media_class).flush();
  pool_.commit(std::span(&object, 1));
  end(id, *locked.own);
}

void ClientPool::abort(ObjectId id, ObjectType type) {
  const Locked locked = lock_uncommitted(id, type);
  pool_.abort(locked.own->object);
  end(id, *locked.own);
}

void ClientPool::remove(ObjectId id, ObjectType type) {
  check_type(id, type);
  pool_.remove(std::span(&id, 1));
}

// --- mblocks ---

// The sum of the parts; EINVAL for a transfer that cannot be made without a copy.
template <typename Span>
std::uint64_t ClientPool::check_transfer(ObjectId id, std::span<const Span> parts) const {
  std::uint64_t sum = 0;
  for (const Span& part : parts) {
    if (part.empty() || part.data() == nullptr || !is_aligned(part.size(), kPageSize) ||
        !is_aligned(part.data(), kPageSize)) {
      raise(EINVAL, describe(id), "a transfer is made of whole pages of page-aligned memory");
    }
    sum += part.size();
    if (sum > kMaxTransfer) break;
  }
  if (sum == 0 || sum > kMaxTransfer) {
    raise(EINVAL, describe(id), "a transfer is of a page to {} bytes", kMaxTransfer);
  }
  return sum;
}

ClientPool::Mblock ClientPool::allocate_mblock(MediaClass media_class, SpacePolicy policy) {
  return mblock(allocate(ObjectType::mblock, 0, media_class, policy).id);
}

ClientPool::Mblock ClientPool::mblock(ObjectId id) const {
  const State state = state_of(id, ObjectType::mblock);
  return {.id = id,
          .media_class = state.object.media_class,
          .capacity = pool_.capacity_of(state.object),
          .written_length = state.object.written_length,
          .committed = state.committed};
}

void ClientPool::write_mblock(ObjectId id, std::span<const ConstByteSpan> parts) {
  check_type(id, ObjectType::mblock);
  const std::uint64_t length = check_transfer(id, parts);
  const Locked locked = lock_uncommitted(id, ObjectType::mblock);
  check_sound(id, *locked.own);
  ObjectRecord& object = locked.own->object;
  if (length > pool_.capacity_of(object) - object.written_length) {
    raise(EINVAL, describe(id), "{} bytes do not fit behind the {} written ones", length,
          object.written_length);
  }
  try {
    pool_.device(object.media_class).write(pool_.offset_of(object) + object.written_length, parts);
  } catch (...) {
    locked.own->failed = true;
    throw;
  }
  object.written_length += length;
}

void ClientPool::read_mblock(ObjectId id, std::uint64_t offset,
                             std::span<const ByteSpan> parts) const {
  check_type(id, ObjectType::mblock);
  const std::uint64_t length = check_transfer(id, parts);
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
  return log(allocate(ObjectType::mlog, capacity, media_class, policy).id);
}

ClientPool::Log ClientPool::log(ObjectId id) const {
  const State state = state_of(id, ObjectType::mlog);
  return {.id = id,
          .media_class = state.object.media_class,
          .uuid = state.object.uuid,
          .capacity = pool_.capacity_of(state.object),
          .generation = state.object.generation,
          .committed = state.committed};
}

// --- open logs and pairs ---

// The entry of these ids, which may be new; EBUSY when one of them is open otherwise.
std::shared_ptr<ClientPool::Open> ClientPool::entry_for(const std::vector<ObjectId>& ids) {
  for (const ObjectId id : ids) {
    check_type(id, ObjectType::mlog);
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
  try {
    for (const ObjectId id : ids)
      open_.emplace(id, open);
  } catch (...) {
    for (const ObjectId id : ids)
      open_.erase(id);
    throw;
  }
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
  open->pair.reset();
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

void ClientPool::close_log(const std::shared_ptr<ClientLog>& log) {
  const auto open = entry_of(log->id());
  const std::lock_guard lock(open->mutex);
  --open->opens;
  const Closer closer([&] { end_if_unused(open); });
  try {
    log->sync();
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
    if (open->pair != nullptr && open->pair->failed()) {
      // Other opens may keep it. It does nothing with its logs any more.
      flush_written(*open);
      open->pair.reset();
    }
    if (open->pair == nullptr) open->pair = std::make_shared<ClientPair>(pool_, first, second);
    auto mdc = std::make_shared<ClientMdc>(open->pair);
    ++open->opens;
    return mdc;
  }
}

bool ClientPool::first_record_is(ObjectId first, ObjectId second,
                                 bool (*condition)(ConstByteSpan record)) {
  for (;;) {
    const auto open = entry_for({first, second});
    const std::lock_guard lock(open->mutex);
    if (open->ended) continue;
    const Closer closer([&] { end_if_unused(open); });
    if (open->pair != nullptr && !open->pair->failed()) {
      return open->pair->first_record_is(condition);
    }
    const auto mdc = pool_.open_mdc(first, second, Mdc::OpenOptions::Finish::later);
    MlogReader reader = mdc->reader();
    std::vector<std::byte> record;
    return reader.next(record) && condition(record);
  }
}

void ClientPool::close_mdc(const std::shared_ptr<ClientMdc>& mdc) {
  const auto open = entry_of(mdc->pair().ids().front());
  const std::lock_guard lock(open->mutex);
  --open->opens;
  const Closer closer([&] { end_if_unused(open); });
  try {
    if (!mdc->end()) flush_written(*open);
  } catch (...) {
    flush_written(*open);
    throw;
  }
}

}  // namespace mpool
