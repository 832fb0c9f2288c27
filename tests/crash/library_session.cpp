#include "tests/crash/library_session.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <random>
#include <set>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>

#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "tests/support/library_pools.h"

namespace mpool::test {
namespace {

// Runs a part of the store, whose errors become those of the engine.
template <typename Body>
auto of_store(const Body& body) {
  try {
    return body();
  } catch (const apps::CallError& error) {
    throw Error(error.code(), "store", error.what());
  }
}

constexpr const char* kStoreFact = "store";
constexpr std::uint64_t kManifestZones = 3;  // no other log has as many

apps::StoreOptions store_options() {
  apps::StoreOptions options;
  options.memtable_bytes = 3000;
  options.table_bytes = 10000;
  options.block_bytes = 700;
  options.wal_bytes = 2 * StoreSession::kZone;
  options.manifest_bytes = kManifestZones * StoreSession::kZone;
  options.manifest_limit = 10000;
  options.max_flushed_tables = 2;
  return options;
}

bool is_root(ObjectId id) {
  return id == root_log_id(0) || id == root_log_id(1);
}

// ENOENT unless the pool has a store.
apps::StoreId find_store(const Pool& pool) {
  std::vector<std::uint64_t> logs;
  for (const ObjectRecord& object : pool.objects()) {
    if (object.id.is_mlog() && !is_root(object.id) && object.layout.zone_count == kManifestZones) {
      logs.push_back(object.id.value);
    }
  }
  if (logs.size() != 2) raise(ENOENT, "store", "{} logs of its manifest", logs.size());
  return {.manifest = {logs[0], logs[1]}};
}

using Content = std::map<std::string, std::string>;

std::string value_of(const Content& content) {
  std::string all;
  for (const auto& [key, value] : content)
    all += fmt::format("{}={};", key, value);
  return fmt::format("{} keys checksum {:08x}", content.size(),
                     crc32c(as_bytes(all.data(), all.size())));
}

Content content_of(const apps::Store& store) {
  Content content;
  for (auto& [key, value] : of_store([&] { return store.scan("", 10'000); })) {
    if (of_store([&] { return store.get(key); }) != value) {
      raise(ENOTRECOVERABLE, key, "a scan and a get differ");
    }
    content.emplace(key, value);
  }
  return content;
}

}  // namespace

void check_call(mpool_err_t error, const char* call) {
  if (error == 0) return;
  std::array<char, 200> text;
  throw Error(mpool_errno(error), call, mpool_strinfo(error, text.data(), text.size()));
}

const char* to_string(Way way) {
  return way == Way::engine ? "engine" : "mount";
}

LibraryPool::LibraryPool(Machine& machine, Way way) {
  if (way == Way::mount) mounted_.emplace(activate(machine));
  LibraryPools::instance().supply(kLibraryPool, [this, &machine]() -> LibraryPools::Opened {
    if (!mounted_) return LibraryPools::in_process(activate(machine));
    return {.backend = mounted_->open(), .pool = &mounted_->pool()};
  });
  open();
}

void LibraryPool::open() {
  check_call(mpool_open(kLibraryPool, O_RDWR, &handle_, nullptr), "mpool_open");
  pool_ = &LibraryPools::instance().opened(kLibraryPool);
}

void LibraryPool::begin_again() {
  check_call(mpool_close(std::exchange(handle_, nullptr)), "mpool_close");
  open();
}

LibraryPool::~LibraryPool() {
  (void)mpool_close(handle_);
}

// --- the session ---

void StoreSession::create_store(Machine& machine, Way way) {
  const LibraryPool pool(machine, way);
  of_store([] { return apps::Store::create(kLibraryPool, store_options()); });
}

StoreSession::StoreSession(Machine& machine, Way way)
    : pool_(std::make_unique<LibraryPool>(machine, way)) {
  open_store();
}

StoreSession::~StoreSession() {
  store_.reset();
}

void StoreSession::open_store() {
  store_.reset();
  const apps::StoreId id = find_store(pool_->pool());
  store_ =
      of_store([&] { return std::make_unique<apps::Store>(kLibraryPool, id, store_options()); });
}

Facts StoreSession::facts(bool settled) {
  Facts facts;
  if (store_ == nullptr) open_store();
  facts[kStoreFact] = value_of(content_of(*store_));
  if (!settled) return facts;
  std::set<std::uint64_t> expected;
  for (const std::uint64_t id : store_->objects())
    expected.insert(id);
  for (const ObjectRecord& object : pool_->pool().objects()) {
    if (is_root(object.id) || expected.erase(object.id.value) != 0) continue;
    raise(ENOTRECOVERABLE, object.id.to_string(), "an object that the store does not know");
  }
  if (!expected.empty()) raise(ENOTRECOVERABLE, "store", "{} objects are lost", expected.size());
  if (const std::string wrong = check_zones(pool_->pool()); !wrong.empty()) {
    raise(ENOTRECOVERABLE, "pool", "{}", wrong);
  }
  return facts;
}

// The changes of one store, one after the other, each a version of its whole content.
class StoreSession::Work {
 public:
  Work(StoreSession& session, Model& model, std::uint64_t seed)
      : session_(session), model_(model), random_(seed), content_(content_of(store())) {}

  void change() {
    const std::string key = fmt::format("key{}", random_() % 40);
    const auto sync = chance(4) ? apps::Store::Sync::now : apps::Store::Sync::later;
    const bool deletes = chance(4);
    const std::string value(random_() % 400, static_cast<char>('a' + random_() % 26));
    if (deletes) {
      content_.erase(key);
    } else {
      content_.insert_or_assign(key, value);
    }
    model_.begin(kStoreFact, value_of(content_));
    of_store([&] { deletes ? store().remove(key, sync) : store().put(key, value, sync); });
    if (sync == apps::Store::Sync::now) durable();
    settle();
  }
  void sync() {
    of_store([&] { store().sync(); });
    durable();
  }
  void flush() {
    of_store([&] { store().flush(); });
    durable();
  }
  void compact() {
    of_store([&] { store().compact(); });
    settle();
  }
  void reopen() {
    sync();  // a close does not say when it fails
    session_.open_store();
  }
  bool chance(unsigned of) { return random_() % of == 0; }

 private:
  apps::Store& store() const { return *session_.store_; }
  void durable() { model_.durable(kStoreFact); }
  void settle() { session_.pool_->pool().wait_for_discards(std::chrono::seconds(10)); }

  StoreSession& session_;
  Model& model_;
  std::mt19937_64 random_;
  Content content_;
};

void StoreSession::change(Model& model, std::uint64_t seed, unsigned changes, Reopens reopens) {
  Work work(*this, model, seed);
  for (unsigned i = 0; i < changes; ++i) {
    work.change();
    if (work.chance(20)) work.sync();
    if (work.chance(15)) work.flush();
    if (work.chance(20)) work.compact();
    if (reopens == Reopens::yes && work.chance(20)) work.reopen();
  }
  work.sync();
}

void StoreSession::work(Model& model, std::uint64_t seed) {
  if (store_ == nullptr || store_->failed()) open_store();
  Work work(*this, model, seed);
  for (unsigned i = 0; i < 6; ++i)
    work.change();
  work.flush();
  work.change();
  work.sync();
  work.compact();
}

std::string StoreSession::clean_up() {
  const apps::StoreId id = find_store(pool_->pool());
  store_.reset();
  of_store([&] { apps::Store::destroy(kLibraryPool, id, store_options()); });
  if (pool_->pool().object_count() != 2) return "the store is destroyed, but objects are left";
  return check_zones(pool_->pool());
}

}  // namespace mpool::test
