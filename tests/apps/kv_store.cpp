#include "tests/apps/kv_store.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "tests/apps/kv_manifest.h"
#include "tests/apps/kv_memtable.h"
#include "tests/apps/kv_table.h"
#include "tests/apps/kv_wal.h"

namespace apps {
namespace {

using Tables = std::vector<std::shared_ptr<const Table>>;

// The tables of one moment.
struct Version {
  Tables flushed;  // the newest first
  Tables merged;   // in the order of their keys, which do not overlap
  void sort() {
    std::ranges::stable_sort(flushed, std::ranges::greater(),
                             [](const auto& table) { return table->info().last_sequence; });
    std::ranges::sort(merged, {}, [](const auto& table) { return table->info().first_key; });
  }
};

Tables all_of(const Version& version) {
  Tables tables = version.flushed;
  tables.insert(tables.end(), version.merged.begin(), version.merged.end());
  return tables;
}

}  // namespace

// Lock order: compaction_mutex_, mutex_, unowned_mutex_.
class Store::Impl {
 public:
  Impl(const std::string& pool, const StoreId& id, const StoreOptions& options)
      : pool_(pool),
        options_(options),
        id_(id),
        manifest_(pool_, id.manifest, options.manifest_limit) {
    recover();
  }
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void change(const std::string& key, const Value& value, Store::Sync sync);
  void sync() {
    guarded([&] { wal_->sync(); });
  }
  std::optional<std::string> get(const std::string& key) const;
  Pairs scan(const std::string& from, std::size_t limit) const;
  void flush();
  void compact();
  bool failed() const { return failed_; }
  Stats stats() const;
  std::vector<std::uint64_t> objects() const;
  Manifest::State final_state() const { return manifest_.state(); }

 private:
  enum class Deletions { kept, dropped };

  void recover();
  std::uint64_t make_log();
  // Runs a change: none after one that failed.
  template <typename Body>
  void guarded(const Body& body) {
    if (failed_) throw CallError(ESHUTDOWN, "an earlier change of the store failed");
    try {
      body();
    } catch (...) {
      failed_ = true;
      throw;
    }
  }
  void flush_locked();
  void merge_locked();
  // Writes the entries into committed tables, which the manifest has as unowned.
  Tables write_tables(Source& source, std::uint32_t level, std::uint64_t last_sequence,
                      Deletions deletions);
  std::shared_ptr<const Version> version() const;
  void retire(const Tables& tables);
  // Deletes what is not used any more, as far as nothing reads it.
  void delete_unowned();

  Pool pool_;
  const StoreOptions options_;
  const StoreId id_;
  Manifest manifest_;
  std::unique_ptr<Wal> wal_;
  std::atomic<bool> failed_ = false;
  Stats opened_;  // what recovery did

  std::mutex compaction_mutex_;      // held during a compaction
  mutable std::shared_mutex mutex_;  // guards the next ones, and the order of appends
  Memtable memtable_;
  std::uint64_t next_sequence_ = 1;
  std::shared_ptr<const Version> version_ = std::make_shared<Version>();

  std::mutex unowned_mutex_;  // guards the next ones
  Tables retired_;            // not in version_ any more, perhaps in one that a reader has
  std::map<std::uint64_t, ObjectKind> unowned_;
};

Store::Impl::~Impl() {
  try {
    if (!failed_) {
      version_.reset();
      delete_unowned();
    }
  } catch (const CallError&) {
    // The next recovery deletes them.
  }
}

// --- recovery ---

void Store::Impl::recover() {
  const Manifest::State state = manifest_.state();
  unowned_ = state.unowned;
  const std::size_t before = unowned_.size();
  delete_unowned();
  opened_.removed_objects = before - unowned_.size();
  auto tables = std::make_shared<Version>();
  for (const auto& [id, info] : state.tables) {
    auto table = std::make_shared<const Table>(pool_, info);
    (info.level == 0 ? tables->flushed : tables->merged).push_back(std::move(table));
  }
  tables->sort();
  version_ = std::move(tables);
  wal_ = std::make_unique<Wal>(pool_, state.wal != 0 ? state.wal : make_log());
  next_sequence_ = state.flushed + 1;
  wal_->replay([&](const Change& change) {
    if (change.sequence <= state.flushed) return;  // the log was not erased after the flush
    memtable_.apply(change);
    next_sequence_ = change.sequence + 1;
    ++opened_.recovered_changes;
  });
}

std::uint64_t Store::Impl::make_log() {
  const std::uint64_t id = Wal::allocate(pool_, options_.wal_bytes);
  manifest_.apply({.unowned = {{id, ObjectKind::mlog}}}, Manifest::Sync::now);
  Wal::commit(pool_, id);
  manifest_.apply({.wal = id}, Manifest::Sync::now);
  return id;
}

// --- changes ---

void Store::Impl::change(const std::string& key, const Value& value, Store::Sync sync) {
  const std::size_t size = key.size() + (value ? value->size() : 0) + 64;
  if (size > std::min(options_.table_bytes, options_.wal_bytes) / 4) {
    throw CallError(EFBIG, "an entry of " + std::to_string(size) + " bytes");
  }
  bool merge = false;
  guarded([&] {
    {
      const std::lock_guard lock(mutex_);
      const Change change{.sequence = next_sequence_++, .key = key, .value = value};
      if (!wal_->append(change)) {
        flush_locked();
        if (!wal_->append(change)) throw CallError(EFBIG, "the log is too small");
      }
      memtable_.apply(change);
      if (memtable_.bytes() > options_.memtable_bytes) flush_locked();
      merge = version_->flushed.size() > options_.max_flushed_tables;
    }
    if (sync == Store::Sync::now) wal_->sync();
  });
  if (!merge) return;
  const std::unique_lock compaction(compaction_mutex_, std::try_to_lock);
  if (compaction) guarded([&] { merge_locked(); });
}

void Store::Impl::flush() {
  guarded([&] {
    const std::lock_guard lock(mutex_);
    flush_locked();
  });
}

void Store::Impl::compact() {
  guarded([&] {
    const std::lock_guard lock(compaction_mutex_);
    merge_locked();
  });
}

void Store::Impl::flush_locked() {
  if (memtable_.empty()) return;
  const std::uint64_t last = memtable_.last_sequence();
  const auto source = memtable_.from("");
  const Tables tables = write_tables(*source, 0, last, Deletions::kept);
  Edit edit{.flushed = last};
  auto next = std::make_shared<Version>(*version_);
  for (const auto& table : tables) {
    edit.added.push_back(table->info());
    next->flushed.push_back(table);
  }
  next->sort();
  manifest_.apply(edit, Manifest::Sync::now);
  version_ = std::move(next);
  memtable_ = {};
  wal_->erase();
}

void Store::Impl::merge_locked() {
  auto before = version();
  if (!before->flushed.empty()) {
    // Older ones are merged, too: nothing that a deletion could uncover stays below.
    const Tables inputs = all_of(*before);
    std::vector<std::unique_ptr<Source>> sources;
    std::uint64_t last = 0;
    for (const auto& table : inputs) {
      sources.push_back(table->from(""));
      last = std::max(last, table->info().last_sequence);
    }
    Merge merge(std::move(sources));
    const Tables outputs = write_tables(merge, 1, last, Deletions::dropped);
    Edit edit;
    for (const auto& table : outputs)
      edit.added.push_back(table->info());
    for (const auto& table : inputs)
      edit.unowned[table->info().id] = ObjectKind::mblock;
    manifest_.apply(edit, Manifest::Sync::now);
    const std::lock_guard lock(mutex_);
    auto next = std::make_shared<Version>();
    for (const auto& table : version_->flushed) {
      if (!edit.unowned.contains(table->info().id)) next->flushed.push_back(table);
    }
    next->merged = outputs;
    version_ = std::move(next);
    retire(inputs);
  }
  before.reset();
  delete_unowned();
}

Tables Store::Impl::write_tables(Source& source, std::uint32_t level, std::uint64_t last_sequence,
                                 Deletions deletions) {
  std::vector<std::unique_ptr<TableBuilder>> builders;
  std::vector<TableInfo> infos;
  const auto finish = [&] {
    if (!builders.empty()) infos.push_back(builders.back()->finish(level, last_sequence));
  };
  for (; source.valid(); source.next()) {
    const Entry& entry = source.entry();
    if (deletions == Deletions::dropped && !entry.value) continue;
    if (builders.empty() || builders.back()->size_with(entry) > options_.table_bytes) {
      finish();
      builders.push_back(std::make_unique<TableBuilder>(pool_, options_.block_bytes));
    }
    builders.back()->add(entry);
  }
  finish();
  Edit edit;
  for (const auto& builder : builders)
    edit.unowned[builder->id()] = ObjectKind::mblock;
  if (!builders.empty()) manifest_.apply(edit, Manifest::Sync::now);
  Tables tables;
  for (std::size_t i = 0; i < builders.size(); ++i) {
    builders[i]->commit();
    tables.push_back(std::make_shared<const Table>(pool_, infos[i]));
  }
  return tables;
}

void Store::Impl::retire(const Tables& tables) {
  const std::lock_guard lock(unowned_mutex_);
  retired_.insert(retired_.end(), tables.begin(), tables.end());
}

void Store::Impl::delete_unowned() {
  const std::lock_guard lock(unowned_mutex_);
  std::erase_if(retired_, [&](const auto& table) {
    if (table.use_count() != 1) return false;
    unowned_[table->info().id] = ObjectKind::mblock;
    return true;
  });
  Edit edit;
  for (const auto& [id, kind] : unowned_) {
    const mpool_err_t error = kind == ObjectKind::mblock ? mpool_mblock_delete(pool_.get(), id)
                                                         : mpool_mlog_delete(pool_.get(), id);
    // A process that was killed has them for a moment longer.
    if (mpool_errno(error) == EBUSY) continue;
    // It was never committed, or is deleted already.
    if (mpool_errno(error) != ENOENT) check(error, "delete");
    edit.forgotten.push_back(id);
  }
  if (edit.forgotten.empty()) return;
  manifest_.apply(edit, Manifest::Sync::later);
  for (const std::uint64_t id : edit.forgotten)
    unowned_.erase(id);
}

// --- reading ---

std::shared_ptr<const Version> Store::Impl::version() const {
  const std::shared_lock lock(mutex_);
  return version_;
}

std::optional<std::string> Store::Impl::get(const std::string& key) const {
  std::shared_ptr<const Version> tables;
  {
    const std::shared_lock lock(mutex_);
    if (const Value* const value = memtable_.find(key)) return *value;
    tables = version_;
  }
  for (const auto& table : tables->flushed) {
    if (const auto entry = table->find(key)) return entry->value;
  }
  const auto after = std::ranges::upper_bound(
      tables->merged, key, {}, [](const auto& table) { return table->info().first_key; });
  if (after == tables->merged.begin()) return std::nullopt;
  const auto entry = (*std::prev(after))->find(key);
  return entry ? entry->value : std::nullopt;
}

Store::Pairs Store::Impl::scan(const std::string& from, std::size_t limit) const {
  std::vector<std::unique_ptr<Source>> sources;
  std::shared_ptr<const Version> tables;
  {
    const std::shared_lock lock(mutex_);
    sources.push_back(memtable_.from(from));
    tables = version_;
  }
  for (const auto& table : all_of(*tables))
    sources.push_back(table->from(from));
  Pairs pairs;
  for (Merge merge(std::move(sources)); merge.valid() && pairs.size() < limit; merge.next()) {
    if (merge.entry().value) pairs.emplace_back(merge.entry().key, *merge.entry().value);
  }
  return pairs;
}

Store::Stats Store::Impl::stats() const {
  const auto tables = version();
  Stats stats = opened_;
  stats.flushed_tables = tables->flushed.size();
  stats.merged_tables = tables->merged.size();
  stats.unowned = manifest_.state().unowned.size();
  stats.manifest_compactions = manifest_.compactions();
  return stats;
}

std::vector<std::uint64_t> Store::Impl::objects() const {
  const Manifest::State state = manifest_.state();
  std::vector<std::uint64_t> ids(id_.manifest.begin(), id_.manifest.end());
  ids.push_back(state.wal);
  for (const auto& [id, table] : state.tables)
    ids.push_back(id);
  for (const auto& [id, kind] : state.unowned)
    ids.push_back(id);
  return ids;
}

// --- the store ---

StoreId Store::create(const std::string& pool, const StoreOptions& options) {
  const Pool open(pool);
  return {.manifest = Manifest::create(open, options.manifest_bytes)};
}

void Store::destroy(const std::string& pool, const StoreId& id, const StoreOptions& options) {
  const Pool open(pool);
  Manifest::State state;
  {
    const Store store(pool, id, options);
    state = store.impl_->final_state();
  }
  for (const auto& [table, info] : state.tables)
    check(mpool_mblock_delete(open.get(), table), "mpool_mblock_delete");
  check(mpool_mlog_delete(open.get(), state.wal), "mpool_mlog_delete");
  Manifest::destroy(open, id.manifest);
}

Store::Store(const std::string& pool, const StoreId& id, const StoreOptions& options)
    : impl_(std::make_unique<Impl>(pool, id, options)) {}

Store::~Store() = default;

void Store::put(const std::string& key, const std::string& value, Sync sync) {
  impl_->change(key, value, sync);
}

void Store::remove(const std::string& key, Sync sync) {
  impl_->change(key, std::nullopt, sync);
}

void Store::sync() {
  impl_->sync();
}

std::optional<std::string> Store::get(const std::string& key) const {
  return impl_->get(key);
}

Store::Pairs Store::scan(const std::string& from, std::size_t limit) const {
  return impl_->scan(from, limit);
}

void Store::flush() {
  impl_->flush();
}

void Store::compact() {
  impl_->compact();
}

bool Store::failed() const {
  return impl_->failed();
}

Store::Stats Store::stats() const {
  return impl_->stats();
}

std::vector<std::uint64_t> Store::objects() const {
  return impl_->objects();
}

}  // namespace apps
