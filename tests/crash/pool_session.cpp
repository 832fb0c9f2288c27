#include "tests/crash/pool_session.h"

#include <algorithm>
#include <cerrno>
#include <map>

#include <fmt/format.h>

#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "engine/object/mblock.h"

namespace mpool::test {
namespace {

std::string mblock_value(std::uint64_t length, MediaClass media_class, ConstByteSpan content) {
  return fmt::format("{} bytes on {} checksum {:08x}", length, to_string(media_class),
                     crc32c(content));
}

std::string mlog_value(std::uint64_t records, std::uint32_t digest) {
  return fmt::format("{} records checksum {:08x}", records, digest);
}

// The digest of a sequence of records after one more.
std::uint32_t extend(std::uint32_t digest, ConstByteSpan record) {
  return (digest * 31) ^ crc32c(record) ^ static_cast<std::uint32_t>(record.size());
}

std::vector<std::byte> make_record(std::uint64_t number, std::size_t length) {
  std::vector<std::byte> record(length);
  for (std::size_t i = 0; i < length; ++i)
    record[i] = static_cast<std::byte>((number * 131 + i * 7) | 1);
  return record;
}

bool is_root_log(ObjectId id) {
  return id == root_log_id(0) || id == root_log_id(1);
}

std::string value_of(Pool& pool, const ObjectRecord& object) {
  if (is_root_log(object.id)) return "root";
  if (!object.id.is_mlog()) {
    AlignedBuffer content(round_up(object.written_length, kPageSize));
    pool.device(object.media_class).read(pool.offset_of(object), content.span());
    return mblock_value(object.written_length, object.media_class,
                        content.span(0, object.written_length));
  }
  const auto log = Mlog::open(pool.mlog_location(object), CompactionSemantics::off);
  MlogReader reader(*log);
  std::vector<std::byte> record;
  std::uint64_t records = 0;
  std::uint32_t digest = 0;
  for (; reader.next(record); ++records)
    digest = extend(digest, record);
  return mlog_value(records, digest);
}

std::vector<ObjectRecord> user_objects(Pool& pool, ObjectType type) {
  std::vector<ObjectRecord> objects = pool.objects();
  std::erase_if(objects, [type](const ObjectRecord& object) {
    return object.id.type() != type || is_root_log(object.id);
  });
  return objects;
}

}  // namespace

CreateOptions small_pool(std::uint64_t zone_size, unsigned mdc_count) {
  CreateOptions options;
  options.name = "p";
  options.zone_size = zone_size;
  options.mdc_count = mdc_count;
  options.mdc0_capacity = zone_size;
  options.mdc_capacity = zone_size;
  options.root_capacity = zone_size;
  return options;
}

void create_pool(Machine& machine, const CreateOptions& options) {
  const auto staging = machine.media.size() > 1 ? machine.device(1) : nullptr;
  Pool::create(*machine.device(0), staging.get(), options);
}

MediaSet make_pool(const CreateOptions& options, std::uint64_t size, std::uint32_t sector_size,
                   std::uint64_t seed, std::uint64_t staging_size) {
  Machine machine({std::make_shared<SimulatedMedia>(size, sector_size)}, false);
  if (staging_size > 0) {
    machine.media.push_back(std::make_shared<SimulatedMedia>(staging_size, sector_size));
  }
  create_pool(machine, options);
  if (seed % 2 != 0) {
    const auto old = activate(machine);
    Model unused(machine.history);
    PoolWork work(*old, unused, seed);
    for (unsigned i = 0; i < 40; ++i) {
      work.remove(work.add_mblocks(4));
      work.settle();
    }
    work.add_mblocks(10);
    create_pool(machine, options);
  }
  return machine.media;
}

std::string fact_of(ObjectId id) {
  return fmt::format("{} {}", id.is_mlog() ? "mlog" : "mblock", id.to_string());
}

std::string fact_of(MediaClass media_class) {
  return fmt::format("class {}", to_string(media_class));
}

std::string value_of(const ConfigRecord& config) {
  return fmt::format("uid {} gid {} mode {:o} label {}", config.uid, config.gid, config.mode,
                     config.label);
}

std::string value_of(std::uint32_t zones, unsigned spare_percent) {
  return fmt::format("{} zones, {} % spare", zones, spare_percent);
}

std::unique_ptr<Pool> activate(Machine& machine, std::size_t devices,
                               Tunables::Maintenance maintenance) {
  ActivateOptions options;
  options.load_jobs = 1;
  options.tunables.maintenance = maintenance;
  options.tunables.maintenance.period = {};
  options.tunables.maintenance.usage_period = {};
  auto all = machine.devices();
  if (all.size() > devices) all.resize(devices);
  return Pool::activate(std::move(all), options);
}

PoolWork::PoolWork(Pool& pool, Model& model, std::uint64_t seed)
    : pool_(pool), model_(model), random_(seed) {}

ObjectRecord PoolWork::allocate(ObjectType type, std::uint64_t capacity, MediaClass media_class) {
  const ObjectRecord object = pool_.allocate(
      type, capacity,
      {.media_class = media_class, .policy = SpacePolicy::usable_then_spare, .near = std::nullopt});
  const std::string fact = fact_of(object.id);
  if (model_.used(fact, model_.now())) raise(EEXIST, fact, "was handed out before");
  model_.reserve(fact);
  return object;
}

void PoolWork::write_mblock(ObjectRecord& object) {
  const std::uint64_t pages = 1 + random_() % (pool_.capacity_of(object) / kPageSize);
  const auto content = make_record(object.id.value, pages * kPageSize);
  object.written_length = content.size();
  pool_.device(object.media_class).write(pool_.offset_of(object), content);
  model_.begin(fact_of(object.id), mblock_value(content.size(), object.media_class, content));
}

std::vector<ObjectId> PoolWork::add_mblocks(unsigned count, MediaClass media_class) {
  std::vector<ObjectRecord> objects;
  for (unsigned i = 0; i < count; ++i)
    objects.push_back(allocate(ObjectType::mblock, 0, media_class));
  for (ObjectRecord& object : objects)
    write_mblock(object);
  try {
    pool_.device(media_class).flush();
    pool_.commit(objects);
  } catch (const Error&) {
    // As a client does; it must not abort objects that may be committed on the media.
    for (const ObjectRecord& object : objects)
      pool_.abort(object);
    throw;
  }
  std::vector<ObjectId> ids;
  for (const ObjectRecord& object : objects) {
    model_.durable(fact_of(object.id));
    ids.push_back(object.id);
  }
  return ids;
}

void PoolWork::remove(const std::vector<ObjectId>& objects) {
  for (const ObjectId id : objects)
    model_.begin(fact_of(id), std::nullopt);
  pool_.remove(objects);
  for (const ObjectId id : objects)
    model_.durable(fact_of(id));
}

void PoolWork::remove_any() {
  const auto mblocks = user_objects(pool_, ObjectType::mblock);
  if (!mblocks.empty()) remove({mblocks[random_() % mblocks.size()].id});
}

void PoolWork::allocate_in_vain(bool give_up) {
  const ObjectRecord object = allocate(ObjectType::mblock, 0, MediaClass::capacity);
  pool_.device(object.media_class).write(pool_.offset_of(object), make_record(1, kPageSize));
  if (give_up) pool_.abort(object);
}

ObjectId PoolWork::add_mlog(std::uint64_t capacity) {
  const ObjectRecord object = allocate(ObjectType::mlog, capacity, MediaClass::capacity);
  const std::string fact = fact_of(object.id);
  model_.begin(fact, mlog_value(0, 0));
  pool_.commit(std::span(&object, 1));
  model_.durable(fact);
  return object.id;
}

void PoolWork::append_to_mlogs() {
  for (const ObjectRecord& object : user_objects(pool_, ObjectType::mlog)) {
    LogWork log(*this, object.id);
    if (log.room() < 2048) log.erase();
    for (std::uint64_t syncs = 1 + random_() % 2; syncs > 0; --syncs) {
      log.append(random_() % 600);
      log.append(random_() % 100);
      log.sync();
    }
  }
}

LogWork::LogWork(PoolWork& work, ObjectId id)
    : work_(work),
      id_(id),
      fact_(fact_of(id)),
      log_(Mlog::open(work.pool().mlog_location(work.pool().find(id).value()),
                      CompactionSemantics::off)) {
  MlogReader reader(*log_);
  std::vector<std::byte> record;
  for (; reader.next(record); ++records_)
    digest_ = extend(digest_, record);
}

void LogWork::begin_version(Moment begun) {
  work_.model().begin_at(begun, fact_, mlog_value(records_, digest_));
}

void LogWork::append(std::size_t length) {
  const auto record = make_record(records_, length);
  const Moment begun = work_.model().now();
  ++records_;
  digest_ = extend(digest_, record);
  begin_version(begun);
  log_->append(record);
}

void LogWork::sync() {
  log_->sync();
  work_.model().durable(fact_);
}

void LogWork::erase() {
  records_ = 0;
  digest_ = 0;
  begin_version(work_.model().now());
  const std::uint64_t generation = log_->generation() + 1;
  work_.pool().record_generation(id_, generation);
  work_.model().durable(fact_);
  log_->reset(generation);
}

bool all_online(const Pool& pool) {
  return std::ranges::all_of(pool.classes(), [&pool](MediaClass media_class) {
    return pool.class_info(media_class).online;
  });
}

std::string check_zones(Pool& pool) {
  struct Extent {
    MediaClass media_class;
    std::uint64_t first, end;
    ObjectId id;
  };
  std::vector<Extent> extents;
  std::map<MediaClass, std::uint64_t> used;
  for (const ObjectRecord& object : pool.objects()) {
    const auto [count, first] = object.layout;
    extents.push_back({object.media_class, first, first + count, object.id});
    used[object.media_class] += count;
  }
  std::ranges::sort(extents, {}, [](const Extent& extent) {
    return std::pair(extent.media_class, extent.first);
  });
  for (std::size_t i = 1; i < extents.size(); ++i) {
    const Extent& a = extents[i - 1];
    const Extent& b = extents[i];
    if (a.media_class == b.media_class && b.first < a.end) {
      return fmt::format("{} and {} overlap", a.id.to_string(), b.id.to_string());
    }
  }
  for (const auto& mdc : pool.mdcs())
    used[MediaClass::capacity] += 2 * (mdc.capacity / pool.zone_size(MediaClass::capacity));
  for (const MediaClass media_class : pool.classes()) {
    const auto info = pool.class_info(media_class);
    const std::uint64_t expected = used[media_class] + info.params.superblock_zones();
    if (info.space.used != expected) {
      return fmt::format("{} zones of {} in use, the owners have {}", info.space.used,
                         to_string(media_class), expected);
    }
  }
  return {};
}

Facts facts_of(Pool& pool, bool settled) {
  Facts facts;
  facts[kNameFact] = pool.name();
  facts[kConfigFact] = value_of(pool.config());
  for (const MediaClass media_class : pool.classes()) {
    const auto of_class = pool.class_info(media_class);
    facts[fact_of(media_class)] = value_of(of_class.params.zone_count, of_class.spare_percent);
  }
  for (const ObjectRecord& object : pool.objects())
    facts[fact_of(object.id)] = value_of(pool, object);
  if (settled) {
    if (const std::string wrong = check_zones(pool); !wrong.empty()) {
      raise(ENOTRECOVERABLE, "pool " + pool.name(), "{}", wrong);
    }
  }
  return facts;
}

Facts PoolSession::facts(bool settled) {
  return facts_of(*pool_, settled);
}

void PoolSession::work(Model& model, std::uint64_t seed) {
  PoolWork work(*pool_, model, seed);
  for (const MediaClass media_class : pool_->classes()) {
    const auto added = work.add_mblocks(2, media_class);
    work.remove({added[0]});
  }
  work.allocate_in_vain(true);
  work.remove_any();
  work.append_to_mlogs();
}

std::string PoolSession::clean_up() {
  std::vector<ObjectId> ids;
  for (const ObjectRecord& object : pool_->objects()) {
    if (!is_root_log(object.id)) ids.push_back(object.id);
  }
  pool_->remove(ids);
  const std::string zones = check_zones(*pool_);
  if (!zones.empty()) return "everything deleted: " + zones;
  if (pool_->object_count() != 2) return "everything deleted, but objects are left";
  return {};
}

}  // namespace mpool::test
