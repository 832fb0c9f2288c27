#include "engine/file/packs.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/base/error.h"

namespace mpool::names {
namespace {

// Packs that one record removes.
constexpr std::size_t kMaxRetired = 64;

}  // namespace

class Packs::Room final : public PackRoom {
 public:
  Room(Packs& packs, MediaClass media_class, SpacePolicy policy)
      : packs_(packs),
        media_class_(media_class),
        policy_(policy),
        max_length_(packs.max_length(media_class)),
        sector_size_(packs.pool_.class_info(media_class).params.sector_size()) {}
  ~Room() override { leave(); }

  std::uint64_t max_length() const override { return max_length_; }

  bool try_reserve(std::uint64_t length) override {
    const std::uint64_t bytes = max_packed_size(sector_size_, length);
    if (bytes <= reserved_) return true;
    if (pack_ && pack_->grow(bytes - reserved_)) {
      reserved_ = bytes;
      return true;
    }
    std::shared_ptr<Pack> next = packs_.current(media_class_);
    if (!next || next == pack_ || !next->enter(bytes)) return false;
    leave();
    pack_ = std::move(next);
    reserved_ = bytes;
    return true;
  }

  void prepare(std::uint64_t length) override {
    packs_.prepare(media_class_, policy_, max_packed_size(sector_size_, length));
  }

  std::optional<Packed> try_append(std::vector<std::byte>& content) override {
    WriteMemory& memory = packs_.pool_.write_memory();
    if (!pack_->log().device->room_is_certain()) return std::nullopt;
    if (!memory.try_defer(content.size())) return std::nullopt;
    const std::size_t deferred = content.size();
    try {
      return put(std::move(content), deferred);
    } catch (...) {
      memory.end_deferral(deferred);
      throw;
    }
  }

  Packed append(std::vector<std::byte> content) override {
    Packed packed = put(std::move(content), 0);
    pack_->write(packed.position);
    return packed;
  }

 private:
  Packed put(std::vector<std::byte> content, std::size_t deferred) {
    const std::uint64_t room = std::exchange(reserved_, 0);
    return {pack_, pack_->append(std::move(content), room, deferred)};
  }
  void leave() {
    if (!pack_) return;
    pack_->leave(std::exchange(reserved_, 0));
    pack_ = nullptr;
    if (packs_.left_alone_.exchange(false) && packs_.on_retirable_) packs_.on_retirable_();
  }

  Packs& packs_;
  const MediaClass media_class_;
  const SpacePolicy policy_;
  const std::uint64_t max_length_;
  const std::uint32_t sector_size_;
  std::shared_ptr<Pack> pack_;  // null: no room is taken
  std::uint64_t reserved_ = 0;
};

std::uint64_t Packs::max_length(MediaClass media_class) const {
  if (!pool_.has_class(media_class) || !tree_.is_writable()) return 0;
  const Tunables::Packing& tunables = pool_.tunables().packing;
  const std::uint64_t wanted = tree_.options().pack_max.value_or(tunables.max_size);
  return std::min(wanted, pool_.zone_size(media_class) / tunables.zone_divisor);
}

std::shared_ptr<ContentWriter> Packs::make_writer(MediaClass media_class) {
  std::unique_ptr<PackRoom> room;
  if (max_length(media_class) > 0) {
    room = std::make_unique<Room>(*this, media_class, SpacePolicy::usable_only);
  }
  return allocator_.make_writer(media_class, std::move(room));
}

std::unique_ptr<PackRoom> Packs::make_room_for_move(MediaClass media_class) {
  return std::make_unique<Room>(*this, media_class, SpacePolicy::usable_then_spare);
}

void Packs::read(const PackedRecord& record, const ObjectRecord& pack, ByteSpan into) const {
  if (const auto open = find(pack.id)) return open->read(record, 0, into);
  read_packed(pool_.mlog_location(pack), record, 0, into);
}

std::shared_ptr<Pack> Packs::current(MediaClass media_class) const {
  const std::lock_guard lock(mutex_);
  return filling_[index_of(media_class)].pack;
}

std::shared_ptr<Pack> Packs::find(ObjectId pack) const {
  const std::lock_guard lock(mutex_);
  const auto found = packs_.find(pack);
  return found == packs_.end() ? nullptr : found->second.lock();
}

bool Packs::is_filling(ObjectId pack) const {
  const std::lock_guard lock(mutex_);
  if (starting_.contains(pack)) return true;
  return std::ranges::any_of(
      filling_, [&](const Filling& filling) { return filling.pack && filling.pack->id() == pack; });
}

// One thread opens the next pack, others wait for it.
void Packs::prepare(MediaClass media_class, SpacePolicy policy, std::uint64_t bytes) {
  Filling& filling = filling_[index_of(media_class)];
  std::unique_lock lock(mutex_);
  opened_.wait(lock, [&] { return !filling.opening; });
  if (filling.pack && filling.pack->has_room(bytes)) return;
  filling.opening = true;
  lock.unlock();
  std::shared_ptr<Pack> next;
  const auto end = [&] {
    lock.lock();
    filling.opening = false;
    opened_.notify_all();
  };
  try {
    next = open_pack(media_class, policy, bytes);
  } catch (...) {
    end();
    throw;
  }
  end();
  // What it has left is lost; its users keep their room.
  if (filling.pack) filling.pack->close();
  filling.pack = next;
  packs_[next->id()] = next;
  starting_.erase(next->id());
}

std::shared_ptr<Pack> Packs::open_pack(MediaClass media_class, SpacePolicy policy,
                                       std::uint64_t bytes) {
  if (auto pack = reuse_pack(media_class, bytes)) return pack;
  return make_pack(media_class, policy);
}

void Packs::end_start(ObjectId pack) {
  const std::lock_guard lock(mutex_);
  starting_.erase(pack);
}

// A pack of an earlier mount with the most room; {}: there is none.
ObjectId Packs::find_reusable(MediaClass media_class) {
  const std::uint64_t divisor = pool_.tunables().packing.reuse_divisor;
  const TreeReadLock tree(tree_.mutex());
  const std::lock_guard lock(mutex_);
  ObjectId best;
  std::uint64_t most = 0;
  for (const auto& [pack, usage] : tree_.packs().packs()) {
    if (packs_.contains(pack) || starting_.contains(pack)) continue;
    const auto object = pool_.find(pack);
    if (!object || object->media_class != media_class) continue;
    const std::uint64_t capacity = pool_.capacity_of(*object);
    const std::uint64_t free = capacity - std::min(capacity, usage.end);
    if (free < std::max(most + 1, capacity / divisor)) continue;
    best = pack;
    most = free;
  }
  if (most > 0) starting_.insert(best);
  return best;
}

std::shared_ptr<Pack> Packs::reuse_pack(MediaClass media_class, std::uint64_t bytes) {
  for (;;) {
    const ObjectId id = find_reusable(media_class);
    if (id == ObjectId{}) return nullptr;
    std::shared_ptr<Pack> pack;
    std::uint64_t end;
    {
      const TreeReadLock tree(tree_.mutex());
      end = tree_.packs().packs().at(id).end;
    }
    try {
      pack = std::make_shared<Pack>(id, media_class, pool_.mlog_location(pool_.find(id).value()),
                                    pool_.write_memory());
      if (pack->used() < end) {
        raise(ENODATA, pack->log().name, "it ends at byte {}, but files have content up to {}",
              pack->used(), end);
      }
    } catch (const Error& error) {
      pool_.log().error("pool {}: nothing is added to a pack that is damaged: {}", pool_.name(),
                        error.what());
    }
    if (pack && pack->has_room(bytes)) return pack;
    const std::lock_guard lock(mutex_);
    starting_.erase(id);
    packs_[id] = {};
  }
}

std::shared_ptr<Pack> Packs::make_pack(MediaClass media_class, SpacePolicy policy) {
  const ObjectRecord object = allocator_.allocate_pack(media_class, policy);
  {
    const std::lock_guard lock(mutex_);
    starting_.insert(object.id);
  }
  try {
    // Durable on return, so that every record of content in it finds it.
    tree_.record_mlog(object, [&] {
      const Record record{tree_.now(), PackRecord{object.id}};
      return RecordedTree::MlogRecords{.written = record, .applied = record};
    });
    return std::make_shared<Pack>(object.id, media_class, pool_.mlog_location(object),
                                  pool_.write_memory());
  } catch (...) {
    end_start(object.id);  // recorded or not: nothing uses it
    throw;
  }
}

bool Packs::close_if_unused(ObjectId id) {
  const std::lock_guard lock(mutex_);
  if (starting_.contains(id)) return false;
  const auto found = packs_.find(id);
  const std::shared_ptr<Pack> pack = found == packs_.end() ? nullptr : found->second.lock();
  if (pack && !pack->close_if_unused()) return false;
  for (Filling& filling : filling_) {
    if (filling.pack == pack) filling.pack = nullptr;
  }
  if (found != packs_.end()) packs_.erase(found);
  return true;
}

void Packs::retire_unused() {
  const auto is_unused = [](const auto& pack) { return pack.second.extents == 0; };
  {
    const TreeReadLock lock(tree_.mutex());
    if (!std::ranges::any_of(tree_.packs().packs(), is_unused)) return;
  }
  const ChangeLock lock = tree_.begin_change(kSmallRecord, RoomFor::release);
  std::vector<ObjectId> unused;
  for (const auto& pack : tree_.packs().packs()) {
    if (unused.size() == kMaxRetired || !is_unused(pack)) continue;
    left_alone_ = true;  // first: it may be given up meanwhile
    if (close_if_unused(pack.first)) unused.push_back(pack.first);
  }
  if (unused.empty()) return;
  for (const ObjectId pack : unused)
    tree_.remove_pack(pack);
  tree_.journal().add({.record = encode({tree_.now(), OrphanRecord{unused}}), .deletes = unused});
}

}  // namespace mpool::names
