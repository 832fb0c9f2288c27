// The journal without a tree: states that a tree passes too quickly for a test.
#include "engine/tree/journal.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <latch>
#include <optional>
#include <span>
#include <unordered_set>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/tree/records.h"
#include "engine/tree/replay.h"
#include "engine/tree/tree.h"
#include "tests/engine/pool/pool_support.h"

namespace mpool::test {
namespace {

using namespace std::chrono_literals;
using names::Journal;

// The objects that a mount finds without a name in the MDC.
std::unordered_set<ObjectId> orphaned_objects(const Mdc& mdc) {
  names::Tree tree;
  names::Replay replay(tree, [](std::uint64_t, const Error& why) { ADD_FAILURE() << why.what(); });
  MlogReader reader = mdc.reader();
  std::vector<std::byte> bytes;
  while (reader.next(bytes))
    replay.take(names::decode(bytes).value());
  replay.apply_last_batch(replay.pending());
  return replay.orphaned();
}

// The owner of a journal that has nothing of its own but what the test gives it.
Journal::Owner owner_with(
    std::function<void(const std::vector<ObjectRecord>&)> committed,
    std::function<std::vector<std::vector<std::byte>>()> snapshot = [] {
      return std::vector<std::vector<std::byte>>();
    }) {
  return {.snapshot = std::move(snapshot),
          .committed = std::move(committed),
          .next_inode = [] { return kRootInode + 1; },
          .footprint = [] { return 0; },
          .write_logs = [] {},
          .make_logs_durable = [](std::span<Device* const>) {},
          .catch_up = {},
          .log_size_left_out = {},
          .written = [](Journal::Ticket) {}};
}

// The held objects must then be deleted, but are not yet: a compaction in between must include
// their records; otherwise a crash after it would leave the objects forever.
TEST(Journal, AHoldEndsBeforeOrAfterTheSnapshotOfACompaction) {
  const auto pool = activate({create(small_options())});
  const auto mdc = pool->open_root_mdc();
  names::RootLog log(*pool, *mdc);
  const ObjectId object = add_mblock(*pool).id;
  {
    References references(*pool, References::Deletes::held);
    std::optional<Journal> journal;
    std::future<void> end;
    const auto snapshot = [&]() -> std::vector<std::vector<std::byte>> {
      std::latch begun(1);
      end = std::async(std::launch::async, [&] {
        begun.count_down();
        journal->set_deletes(References::Deletes::at_once);
      });
      begun.wait();
      EXPECT_EQ(end.wait_for(100ms), std::future_status::timeout) << "did not wait";
      return {names::encode({0, names::OwnerRecord{}})};
    };
    references.release({&object, 1});
    journal.emplace(references, log, Journal::Options{.interval = 1h, .first_batch = 1},
                    owner_with({}, snapshot));
    constexpr std::size_t kRecordSize = 16u << 10;
    while (journal->has_room(kRecordSize, names::RoomFor::names)) {
      journal->add({.record = std::vector<std::byte>(kRecordSize)});
    }
    ASSERT_FALSE(end.valid());
    journal->make_room(kRecordSize, names::RoomFor::names);
    ASSERT_TRUE(end.valid());
    end.get();
  }
  EXPECT_TRUE(orphaned_objects(*mdc).contains(object));
  EXPECT_FALSE(pool->find(object));
}

// A batch whose objects find no room fails all waiting callers, and is retried. Deletions, which
// may make the room, are accepted meanwhile.
TEST(Journal, WhatFindsNoRoomIsTriedAgain) {
  const auto pool = activate({create(small_options())});
  const auto mdc = pool->open_root_mdc();
  names::RootLog log(*pool, *mdc);
  const ObjectRecord mlog = pool->allocate(ObjectType::mlog, 0, {});
  std::atomic<bool> full = true;
  References references(*pool, References::Deletes::at_once);
  Journal journal(references, log, Journal::Options{.interval = 1h, .first_batch = 1},
                  owner_with([&](const std::vector<ObjectRecord>&) {
                    if (full) raise(ENOSPC, "test", "no room");
                  }));
  const std::vector<std::byte> record(100);
  const auto first = journal.add({.record = record, .mlog = mlog});
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(error_of([&] { journal.wait(first); }), ENOSPC);
  EXPECT_FALSE(journal.has_room(10, names::RoomFor::content));
  EXPECT_EQ(error_of([&] { journal.make_room(10, names::RoomFor::root_names); }), ENOSPC);
  journal.make_room(10, names::RoomFor::release);
  EXPECT_TRUE(journal.has_room(10, names::RoomFor::release));
  const auto second = journal.add({.record = record});
  EXPECT_EQ(error_of([&] { journal.wait(second); }), ENOSPC);
  EXPECT_EQ(journal.written(), 0u);
  full = false;
  journal.make_room(10, names::RoomFor::names);
  journal.wait(second);
  EXPECT_EQ(journal.written(), second);
  EXPECT_TRUE(pool->find(mlog.id));
  journal.wait(journal.add({.record = record}));
}

// At its end the journal retries once more, and then reports the lost changes.
TEST(Journal, EndsWhileABatchFindsNoRoom) {
  const auto pool = activate({create(small_options())});
  const auto mdc = pool->open_root_mdc();
  names::RootLog log(*pool, *mdc);
  int tried = 0;
  {
    References references(*pool, References::Deletes::at_once);
    Journal journal(references, log, Journal::Options{.interval = 1h, .first_batch = 1},
                    owner_with([&](const std::vector<ObjectRecord>&) {
                      ++tried;
                      raise(ENOSPC, "test", "no room");
                    }));
    const ObjectRecord mlog = pool->allocate(ObjectType::mlog, 0, {});
    const auto ticket = journal.add({.record = std::vector<std::byte>(100), .mlog = mlog});
    EXPECT_EQ(error_of([&] { journal.wait(ticket); }), ENOSPC);
  }
  EXPECT_GE(tried, 2);
}

}  // namespace
}  // namespace mpool::test
