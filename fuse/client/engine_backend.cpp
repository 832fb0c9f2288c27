#include "fuse/client/engine_backend.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/cache/collection.h"
#include "engine/cache/page_cache.h"
#include "engine/names/namespace.h"
#include "engine/pool/discovery.h"
#include "engine/pool/object_pin.h"
#include "engine/tree/attributes.h"
#include "engine/tree/records.h"
#include "fuse/client/log.h"
#include "fuse/client/params.h"
#include "fuse/client/pool_facts.h"

namespace libmpool {

namespace {

using mpool::ClientPool;
using mpool::ObjectId;
using mpool::ObjectType;

// The object of an open, which `Close` of ClientPool ends.
template <typename Interface, typename Object, auto Close>
class EngineRecords : public Interface {
 public:
  EngineRecords(ClientPool& client, std::shared_ptr<Object> object)
      : client_(client), object_(std::move(object)) {}
  ~EngineRecords() override {
    try {
      if (object_ != nullptr) close();
    } catch (const mpool::Error&) {
      // It has ended nevertheless.
    }
  }
  EngineRecords(const EngineRecords&) = delete;
  EngineRecords& operator=(const EngineRecords&) = delete;

  void sync() override { object().sync(); }
  std::uint64_t used() override { return object().used(); }
  mpool::SharedReader::Result read(mpool::ByteSpan into) override { return object().read(into); }
  void rewind() override { object().rewind(); }
  void close() final { (client_.*Close)(std::exchange(object_, nullptr)); }

 protected:
  Object& object() const { return *object_; }

 private:
  ClientPool& client_;
  std::shared_ptr<Object> object_;
};

class EngineLog : public EngineRecords<Log, mpool::ClientLog, &ClientPool::close_log> {
 public:
  using EngineRecords::EngineRecords;
  void append(std::span<const mpool::ConstByteSpan> parts, bool durable) override {
    object().append(parts, durable);
  }
  mpool::SharedReader::Result skip_and_read(std::size_t length, mpool::ByteSpan into) override {
    return object().skip_and_read(length, into);
  }
  std::uint64_t generation() override { return object().generation(); }
  void erase(std::uint64_t min_generation) override { object().erase(min_generation); }
};

class EngineMdc : public EngineRecords<Mdc, mpool::ClientMdc, &ClientPool::close_mdc> {
 public:
  using EngineRecords::EngineRecords;
  void append(std::span<const mpool::ConstByteSpan> parts, bool durable) override {
    object().append(parts.empty() ? mpool::ConstByteSpan() : parts.front(), durable);
  }
  void start_compaction() override { object().start_compaction(); }
  void end_compaction() override { object().end_compaction(); }
  bool failed() override { return object().failed(); }
};

class EnginePins : public PinnedMblocks {
 public:
  EnginePins(mpool::Pool& pool,
             const std::array<mpool::FileDescriptor, MP_MED_NUMBER>& cached_files,
             std::span<const std::uint64_t> ids)
      : cached_files_(cached_files) {
    members_.reserve(ids.size());
    for (const std::uint64_t value : ids) {
      const ObjectId id{value};
      if (!id.is_mblock()) mpool::raise(EINVAL, id.to_string(), "not the id of an mblock");
      mpool::ObjectPin pin(pool, id);
      const auto object = pool.find(id);
      members_.push_back({.pin = std::move(pin),
                          .media_class = object->media_class,
                          .place = pool.offset_of(*object),
                          .length = object->written_length});
      longest_ = std::max(longest_, object->written_length);
    }
  }

  std::size_t count() const override { return members_.size(); }
  std::uint64_t length(std::size_t index) const override { return members_[index].length; }
  std::uint64_t stride() const override { return mpool::Collection::stride_of(longest_); }
  void map_all(std::byte* base) override {
    for (const Member& member : members_) {
      const std::uint64_t length = mpool::round_up(member.length, mpool::kPageSize);
      if (length != 0 && ::mmap(base, length, PROT_READ, MAP_SHARED | MAP_FIXED, file_of(member),
                                static_cast<off_t>(member.place)) == MAP_FAILED) {
        mpool::raise_system(errno, "map", "mmap");
      }
      base += stride();
    }
  }
  void drop_cached() override {
    for (const Member& member : members_) {
      if (member.length == 0) continue;
      mpool::drop_unmapped_pages(file_of(member), member.place, member.length);
    }
  }

 private:
  struct Member {
    mpool::ObjectPin pin;
    mpool::MediaClass media_class = mpool::MediaClass::capacity;
    std::uint64_t place = 0;   // bytes, on the device
    std::uint64_t length = 0;  // bytes written
  };
  int file_of(const Member& member) const {
    const auto& file = cached_files_[std::to_underlying(member.media_class)];
    if (!file) mpool::raise(ENOENT, "map", "the pool has no device of that media class");
    return file.get();
  }

  const std::array<mpool::FileDescriptor, MP_MED_NUMBER>& cached_files_;
  std::vector<Member> members_;
  std::uint64_t longest_ = 0;
};

}  // namespace

SignalBlock::SignalBlock() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalBlock::~SignalBlock() {
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

std::unique_ptr<mpool::Pool> activate_engine(const std::vector<std::string>& devices) {
  const SignalBlock block;
  return mpool::Pool::activate(
      mpool::open_pool_devices(devices, mpool::OpenMode::activate, {.logger = library_logger()}),
      {.logger = library_logger()});
}

std::unordered_set<ObjectId> objects_of_tree(mpool::Pool& pool) {
  mpool::NamespaceOptions without_changes;
  without_changes.read_only = true;
  const auto tree = mpool::Namespace::mount(pool, without_changes);
  std::unordered_set<ObjectId> ids;
  for (const mpool::ObjectRecord& object : pool.objects()) {
    if (tree->owns(object.id)) ids.insert(object.id);
  }
  return ids;
}

EngineBackend::EngineBackend(const ActivePool& active)
    : pool_(activate_engine(active.devices)), client_(*pool_) {
  if (pool_->uuid() != uuid_from(active.params.mp_poolid)) {
    mpool::raise(ENOENT, active.name(), "its devices belong to another pool now");
  }
  find_tree();
  open_cached_files();
  try {
    record();
  } catch (const mpool::Error& error) {
    // Only lists are of an earlier state.
    library_logger().info("{}", error.what());
  }
}

EngineBackend::EngineBackend(std::unique_ptr<mpool::Pool> pool,
                             std::unordered_set<ObjectId> tree_objects)
    : pool_(std::move(pool)), tree_objects_(std::move(tree_objects)), client_(*pool_) {}

void EngineBackend::find_tree() {
  has_owner_record_ = client_.first_record_is(mpool::root_log_id(0), mpool::root_log_id(1),
                                              mpool::names::is_owner_record);
  if (has_owner_record_) tree_objects_ = objects_of_tree(*pool_);
}

void EngineBackend::open_cached_files() {
  for (const mpool::MediaClass media_class : pool_->classes()) {
    const std::string path = pool_->class_info(media_class).device_name;
    mpool::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) mpool::raise_system(errno, path, "open");
    cached_files_[std::to_underlying(media_class)] = std::move(file);
  }
}

// Writes the present parameters to the registry, if they differ.
void EngineBackend::record() {
  auto active = find_active(pool_->name());
  const mpool_params params = params_of(facts());
  if (!active) return;
  const bool was_mounted = !active->mount_point.empty();
  if (!was_mounted && params_to_json(params) == params_to_json(active->params)) return;
  active->params = params;
  active->mount_point.clear();  // by a daemon that was killed
  const RegistryLock lock;
  record_active(*active);
}

// --- the pool ---

mpool_ioc_pool EngineBackend::facts() {
  return facts_of(*pool_, holds_tree());
}

mpool_ioc_usage EngineBackend::usage() {
  return usage_of(*pool_);
}

void EngineBackend::change_settings(const mpool_ioc_settings& wanted) {
  libmpool::change_settings(*pool_, wanted, {.uid = ::geteuid(), .is_in_group = is_in_group},
                            holds_tree());
  record();
}

bool EngineBackend::holds_tree() {
  return has_owner_record_ || pool_->config().user_type == mpool::kTreeUserType;
}

void EngineBackend::check_changeable(ObjectId id) {
  if (!is_of_tree(id)) return;
  mpool::raise(EPERM, "object " + id.to_string(),
               "it belongs to the named tree of pool {}, which only a mount changes",
               pool_->name());
}

std::vector<ObjectId> EngineBackend::objects() {
  std::vector<ObjectId> ids;
  for (const mpool::ObjectRecord& object : pool_->objects())
    ids.push_back(object.id);
  return ids;
}

// --- objects ---

ObjectId EngineBackend::allocate(ObjectType type, mpool::MediaClass media_class,
                                 std::uint64_t capacity, mpool::SpacePolicy policy) {
  if (type == ObjectType::mblock) return client_.allocate_mblock(media_class, policy).id;
  return client_.allocate_log(media_class, capacity, policy).id;
}

void EngineBackend::commit(ObjectId id, ObjectType type) {
  client_.commit(id, type);
}

void EngineBackend::abort(ObjectId id, ObjectType type) {
  client_.abort(id, type);
}

void EngineBackend::remove(ObjectId id, ObjectType type) {
  check_changeable(id);
  client_.remove(id, type);
}

mblock_props EngineBackend::mblock(ObjectId id) {
  const ClientPool::Mblock mblock = client_.mblock(id);
  return mblock_props_of(properties_of(mblock),
                         optimal_write_size(pool_->device(mblock.media_class)));
}

void EngineBackend::write_mblock(ObjectId id, std::span<const mpool::ConstByteSpan> parts) {
  client_.write_mblock(id, parts);
}

void EngineBackend::read_mblock(ObjectId id, std::uint64_t offset,
                                std::span<const mpool::ByteSpan> parts) {
  client_.read_mblock(id, offset, parts);
}

std::unique_ptr<PinnedMblocks> EngineBackend::pin(std::span<const std::uint64_t> ids,
                                                  mpc_vma_advice) {
  return std::make_unique<EnginePins>(*pool_, cached_files_, ids);
}

mlog_props EngineBackend::log(ObjectId id) {
  return mlog_props_of(properties_of(client_.log(id)));
}

std::unique_ptr<Log> EngineBackend::open_log(ObjectId id, mpool::ClientLog::Options options) {
  return std::make_unique<EngineLog>(client_, client_.open_log(id, options));
}

std::unique_ptr<Mdc> EngineBackend::open_mdc(ObjectId first, ObjectId second) {
  return std::make_unique<EngineMdc>(client_, client_.open_mdc(first, second));
}

}  // namespace libmpool
