// The store against a std::map, and what recovery finds after an interruption.
#include <cerrno>
#include <map>
#include <memory>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "tests/apps/calls.h"
#include "tests/apps/kv_manifest.h"
#include "tests/apps/kv_store.h"
#include "tests/apps/kv_table.h"
#include "tests/apps/small_store.h"
#include "tests/apps/test_pool.h"

namespace apps {
namespace {

class KvStore : public testing::Test {
 protected:
  void open() { store_ = std::make_unique<Store>(pool_.name(), id_, options_); }
  void close() { store_.reset(); }
  Store& store() { return *store_; }
  void put(const std::string& key, const std::string& value) {
    store().put(key, value, Store::Sync::now);
  }
  // The pool has the objects of the store and those that it had before, and no others.
  void expect_no_orphans() { EXPECT_EQ(pool_.count_objects(), others_ + store().objects().size()); }

  const TestPool pool_;
  const StoreOptions options_ = small_store();
  const std::uint32_t others_ = pool_.count_objects();
  const StoreId id_ = Store::create(pool_.name(), options_);
  std::unique_ptr<Store> store_;
};

using Model = std::map<std::string, std::string>;

Store::Pairs part_of(const Model& model, const std::string& from, std::size_t limit) {
  Store::Pairs pairs;
  for (auto at = model.lower_bound(from); at != model.end() && pairs.size() < limit; ++at)
    pairs.emplace_back(*at);
  return pairs;
}

TEST_F(KvStore, HasWhatWasPut) {
  open();
  EXPECT_EQ(store().get("a"), std::nullopt);
  put("a", "1");
  put("b", "");
  EXPECT_EQ(store().get("a"), "1");
  EXPECT_EQ(store().get("b"), "");
  put("a", "2");
  store().remove("b", Store::Sync::now);
  store().remove("c", Store::Sync::now);
  const Store::Pairs expected = {{"a", "2"}};
  EXPECT_EQ(store().scan("", 10), expected);
  store().flush();
  EXPECT_EQ(store().get("b"), std::nullopt);
  close();
  open();
  EXPECT_EQ(store().scan("", 10), expected);
  EXPECT_EQ(store().stats().recovered_changes, 0u);
  try {
    put("d", std::string(options_.table_bytes, 'x'));
    ADD_FAILURE() << "an entry that no table can have";
  } catch (const CallError& error) {
    EXPECT_EQ(error.code(), EFBIG);
  }
  put("d", "possible");
}

TEST_F(KvStore, DoesAsAMap) {
  std::mt19937_64 random(test_seed());
  Model model;
  open();
  const auto any_key = [&] { return "key" + std::to_string(random() % 200); };
  std::uint64_t compactions = 0;
  for (unsigned i = 0; i < rounds(600); ++i) {
    const auto kind = random() % 100;
    const std::string key = any_key();
    if (kind < 60) {
      const std::string value(random() % 300, static_cast<char>('a' + random() % 26));
      store().put(key, value, random() % 50 == 0 ? Store::Sync::now : Store::Sync::later);
      model[key] = value;
    } else if (kind < 75) {
      store().remove(key, Store::Sync::later);
      model.erase(key);
    } else if (kind < 90) {
      const auto found = model.find(key);
      ASSERT_EQ(store().get(key),
                found == model.end() ? std::nullopt : std::optional(found->second));
    } else if (kind < 97) {
      const std::size_t limit = random() % 30;
      ASSERT_EQ(store().scan(key, limit), part_of(model, key, limit));
    } else if (kind == 97) {
      store().flush();
    } else if (kind == 98) {
      store().compact();
    } else {
      compactions += store().stats().manifest_compactions;
      close();
      open();
      EXPECT_EQ(store().stats().removed_objects, 0u);
    }
  }
  EXPECT_EQ(store().scan("", 1000), part_of(model, "", 1000));
  EXPECT_GT(compactions, 0u);
  store().flush();
  store().compact();
  EXPECT_EQ(store().stats().flushed_tables, 0u);
  EXPECT_GT(store().stats().merged_tables, 1u);
  EXPECT_EQ(store().stats().unowned, 0u);
  expect_no_orphans();
  close();
  Store::destroy(pool_.name(), id_, options_);
  EXPECT_EQ(pool_.count_objects(), others_);
}

TEST_F(KvStore, KeepsDeletionsOverOlderTables) {
  open();
  put("a", "1");
  put("b", "1");
  store().flush();
  store().compact();
  store().remove("a", Store::Sync::now);
  store().flush();
  EXPECT_EQ(store().stats().flushed_tables, 1u);
  EXPECT_EQ(store().get("a"), std::nullopt);
  const Store::Pairs expected = {{"b", "1"}};
  EXPECT_EQ(store().scan("", 9), expected);
  store().compact();
  EXPECT_EQ(store().scan("", 9), expected);
  store().remove("b", Store::Sync::now);
  store().flush();
  store().compact();
  EXPECT_EQ(store().stats().merged_tables, 0u);
  close();
  open();
  EXPECT_EQ(store().scan("", 9), Store::Pairs());
}

// Committed, and the manifest says only that it may be.
TEST_F(KvStore, RemovesTheTablesOfAnInterruptedFlush) {
  open();
  put("a", "1");
  close();
  std::uint64_t committed = 0;
  std::uint64_t uncommitted = 0;
  {
    const Pool pool(pool_.name());
    Manifest manifest(pool, id_.manifest, options_.manifest_limit);
    TableBuilder builder(pool, options_.block_bytes);
    TableBuilder never(pool, options_.block_bytes);
    builder.add({.key = "a", .value = "of a flush that did not end"});
    builder.finish(0, 7);
    committed = builder.id();
    uncommitted = never.id();
    manifest.apply(
        {.unowned = {{committed, ObjectKind::mblock}, {uncommitted, ObjectKind::mblock}}},
        Manifest::Sync::now);
    builder.commit();
    EXPECT_EQ(mpool_mblock_find(pool.get(), committed, nullptr), 0);
  }
  open();
  EXPECT_EQ(store().get("a"), "1");
  EXPECT_EQ(store().stats().removed_objects, 2u);
  EXPECT_EQ(store().stats().unowned, 0u);
  expect_no_orphans();
  const Pool pool(pool_.name());
  for (const std::uint64_t id : {committed, uncommitted})
    EXPECT_EQ(mpool_errno(mpool_mblock_find(pool.get(), id, nullptr)), ENOENT);
}

// The manifest has the new tables, and the old ones are not deleted.
TEST_F(KvStore, RemovesTheTablesThatACompactionReplaced) {
  open();
  put("a", "1");
  store().flush();
  put("b", "2");
  store().flush();
  close();
  {
    const Pool pool(pool_.name());
    Manifest manifest(pool, id_.manifest, options_.manifest_limit);
    TableBuilder builder(pool, options_.block_bytes);
    builder.add({.key = "a", .value = "1"});
    builder.add({.key = "b", .value = "2"});
    Edit edit{.added = {builder.finish(1, 2)}};
    for (const auto& [id, table] : manifest.state().tables)
      edit.unowned[id] = ObjectKind::mblock;
    ASSERT_EQ(edit.unowned.size(), 2u);
    builder.commit();
    manifest.apply(edit, Manifest::Sync::now);
  }
  open();
  EXPECT_EQ(store().stats().removed_objects, 2u);
  EXPECT_EQ(store().stats().flushed_tables, 0u);
  EXPECT_EQ(store().stats().merged_tables, 1u);
  const Store::Pairs expected = {{"a", "1"}, {"b", "2"}};
  EXPECT_EQ(store().scan("", 9), expected);
  expect_no_orphans();
}

// The changes of the log that a table has already are passed over.
TEST_F(KvStore, DoesNotReplayWhatWasFlushed) {
  open();
  put("a", "old");
  put("a", "new");
  close();
  {
    const Pool pool(pool_.name());
    Manifest manifest(pool, id_.manifest, options_.manifest_limit);
    TableBuilder builder(pool, options_.block_bytes);
    builder.add({.key = "a", .value = "new"});
    Edit edit{.added = {builder.finish(0, 2)}, .flushed = 2};
    builder.commit();
    manifest.apply(edit, Manifest::Sync::now);
  }
  open();
  EXPECT_EQ(store().stats().recovered_changes, 0u);
  EXPECT_EQ(store().get("a"), "new");
  store().remove("a", Store::Sync::now);
  close();
  open();
  EXPECT_EQ(store().stats().recovered_changes, 1u);
  EXPECT_EQ(store().get("a"), std::nullopt);
}

// A store never takes the block of another table, or a damaged one, for its own.
TEST_F(KvStore, RefusesAnotherTable) {
  const Pool pool(pool_.name());
  TableBuilder builder(pool, options_.block_bytes);
  builder.add({.key = "a", .value = "1"});
  const TableInfo info = builder.finish(0, 1);
  builder.commit();
  EXPECT_TRUE(Table(pool, info).find("a"));
  // An mblock with the same content, and another id.
  const Pages pages(Pages::kPage);
  iovec part{.iov_base = pages.data(), .iov_len = pages.size()};
  check(mpool_mblock_read(pool.get(), info.id, &part, 1, 0), "mpool_mblock_read");
  TableInfo copy = info;
  check(mpool_mblock_alloc(pool.get(), MP_MED_CAPACITY, false, &copy.id, nullptr), "alloc");
  check(mpool_mblock_write(pool.get(), copy.id, &part, 1), "mpool_mblock_write");
  check(mpool_mblock_commit(pool.get(), copy.id), "mpool_mblock_commit");
  try {
    const Table table(pool, copy);
    ADD_FAILURE() << "took the blocks of another table";
  } catch (const CallError& error) {
    EXPECT_EQ(error.code(), ENODATA);
  }
}

}  // namespace
}  // namespace apps
