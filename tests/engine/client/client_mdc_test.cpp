// Pairs of mlogs as programs use and compact them.
#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/engine/client/client_support.h"

namespace mpool::test {
namespace {

using Ids = std::array<ObjectId, 2>;

void compact_to(ClientMdc& mdc, std::initializer_list<const char*> records) {
  mdc.start_compaction();
  for (const char* record : records)
    append_text(mdc, record);
  mdc.end_compaction();
}

// Every function that a failed compaction forbids.
void expect_unusable(ClientMdc& mdc) {
  std::vector<std::byte> into(100);
  EXPECT_TRUE(mdc.failed());
  EXPECT_EQ(error_of([&] { append_text(mdc, "x"); }), EINVAL);
  EXPECT_EQ(error_of([&] { mdc.sync(); }), EINVAL);
  EXPECT_EQ(error_of([&] { mdc.used(); }), EINVAL);
  EXPECT_EQ(error_of([&] { mdc.start_compaction(); }), EINVAL);
  EXPECT_EQ(error_of([&] { mdc.end_compaction(); }), EINVAL);
  EXPECT_EQ(error_of([&] { mdc.read(into); }), EINVAL);
  EXPECT_EQ(error_of([&] { mdc.rewind(); }), EINVAL);
  EXPECT_EQ(error_of([&] { mdc.pair().first_record_is([](ConstByteSpan) { return true; }); }),
            EINVAL);
}

TEST(ClientMdc, KeepsItsRecords) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  {
    const OpenMdc mdc(*client, ids);
    EXPECT_EQ(all_text(*mdc), "");
    append_text(*mdc, "a");
    append_text(*mdc, "b", true);
    EXPECT_EQ(all_text(*mdc), "a b");
    EXPECT_GT(mdc->used(), 0u);
    append_text(*mdc, "c");
  }
  client.lose_power();
  const OpenMdc mdc(*client, ids);
  EXPECT_EQ(all_text(*mdc), "a b c") << "its close made it durable";
}

TEST(ClientMdc, SyncMakesAllBeforeItDurable) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  auto mdc = client->open_mdc(ids[0], ids[1]);
  append_text(*mdc, "a");
  mdc->sync();
  append_text(*mdc, "b");
  append_text(*mdc, "c", true);
  append_text(*mdc, "lost");
  mdc.reset();
  client.lose_power();
  const OpenMdc again(*client, ids);
  EXPECT_EQ(all_text(*again), "a b c");
}

TEST(ClientMdc, IsAPairOfCommittedLogs) {
  TestClient client;
  const ObjectId log = committed_log(*client);
  const ObjectId mblock = committed_mblock(*client, 1, 1);
  const ObjectId unknown = ObjectId::make(1u << 20, ObjectType::mlog, 1);
  const ObjectId uncommitted =
      client->allocate_log(MediaClass::capacity, 0, SpacePolicy::usable_only).id;
  EXPECT_EQ(error_of([&] { client->open_mdc(log, log); }), EINVAL);
  for (const auto& [id, code] :
       {std::pair{mblock, EINVAL}, {unknown, ENOENT}, {uncommitted, EINVAL}}) {
    EXPECT_EQ(error_of([&] { client->open_mdc(log, id); }), code);
    EXPECT_EQ(error_of([&] { client->open_mdc(id, log); }), code);
  }
  client->remove(log);  // a failed open leaves nothing open
}

TEST(ClientMdc, SeveralOpensShareOneMdc) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  const ObjectId other = committed_log(*client);
  {
    const OpenMdc first(*client, ids);
    const OpenMdc second(*client, {ids[1], ids[0]});
    EXPECT_EQ(&first->pair(), &second->pair());
    append_text(*first, "a");
    append_text(*second, "b");
    EXPECT_EQ(read_text(*first), "a");
    EXPECT_EQ(read_text(*second), "b") << "one position";
    EXPECT_EQ(error_of([&] { client->open_mdc(ids[0], other); }), EBUSY);
    for (const ObjectId id : ids) {
      EXPECT_EQ(error_of([&] { client->open_log(id, {}); }), EBUSY);
      EXPECT_EQ(error_of([&] { client->remove(id); }), EBUSY);
    }
  }
  {
    const OpenLog log(*client, ids[0], {.semantics = CompactionSemantics::on});
    EXPECT_EQ(error_of([&] { client->open_mdc(ids[0], ids[1]); }), EBUSY);
    EXPECT_EQ(error_of([&] { client->open_mdc(ids[1], ids[0]); }), EBUSY);
  }
  client->remove(ids[0]);
  EXPECT_EQ(error_of([&] { client->open_mdc(ids[0], ids[1]); }), ENOENT);
}

TEST(ClientMdc, ACompactionReplacesTheContent) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  auto mdc = client->open_mdc(ids[0], ids[1]);
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 50; ++i)
      append_text(*mdc, std::string(400, 'o'));
    const std::uint64_t used = mdc->used();
    mdc->start_compaction();
    EXPECT_LT(mdc->used(), used) << "of the new log";
    EXPECT_EQ(read_text(*mdc), "") << "the position is the start of the new log";
    append_text(*mdc, "a");
    append_text(*mdc, "b", round % 2 == 0);
    EXPECT_EQ(all_text(*mdc), "a b");
    mdc->end_compaction();
    EXPECT_EQ(all_text(*mdc), "a b");
    append_text(*mdc, "c", true);
    EXPECT_EQ(all_text(*mdc), "a b c");
  }
  mdc.reset();
  client.lose_power();
  const OpenMdc again(*client, ids);
  EXPECT_EQ(all_text(*again), "a b c");
}

TEST(ClientMdc, TheEndOfACompactionIsDurable) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  auto mdc = client->open_mdc(ids[0], ids[1]);
  append_text(*mdc, "old");
  compact_to(*mdc, {"new"});
  mdc.reset();
  client.lose_power();
  const OpenMdc again(*client, ids);
  EXPECT_EQ(all_text(*again), "new");
}

TEST(ClientMdc, ACompactionWithoutItsEndLeavesTheOldContent) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  for (const bool power_fails : {true, false}) {
    auto mdc = client->open_mdc(ids[0], ids[1]);
    if (power_fails) append_text(*mdc, "old");  // not synced: the start of the compaction does it
    mdc->start_compaction();
    append_text(*mdc, "new", true);
    mdc.reset();
    if (power_fails) {
      client.lose_power();
    } else {
      client.restart();
    }
    const OpenMdc again(*client, ids);
    EXPECT_EQ(all_text(*again), "old");
    compact_to(*again, {"old"});
  }
}

TEST(ClientMdc, ACloseInACompactionLeavesTheOldContent) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  {
    const OpenMdc mdc(*client, ids);
    append_text(*mdc, "old");
    mdc->start_compaction();
    append_text(*mdc, "new");
  }
  const OpenMdc mdc(*client, ids);
  EXPECT_EQ(all_text(*mdc), "old");
  append_text(*mdc, "more", true);
  compact_to(*mdc, {"compacted"});
  EXPECT_EQ(all_text(*mdc), "compacted");
}

TEST(ClientMdc, AnInterruptedFirstOpenIsFinishedInAnyOrder) {
  for (std::uint64_t number = 1; number <= 3; ++number) {
    TestClient client;
    const Ids ids = committed_pair(*client);
    client.faults().arm({.target = SimulatedFaults::Target::write, .number = number});
    EXPECT_EQ(error_of([&] { client->open_mdc(ids[0], ids[1]); }), EIO) << number;
    client.restart();
    const OpenMdc mdc(*client, {ids[1], ids[0]});
    EXPECT_EQ(all_text(*mdc), "");
    append_text(*mdc, "a", true);
  }
}

// Every function that the compaction of another open forbids meanwhile.
void expect_busy(ClientMdc& mdc) {
  std::vector<std::byte> into(100);
  EXPECT_FALSE(mdc.failed());
  EXPECT_EQ(error_of([&] { append_text(mdc, "x"); }), EBUSY);
  EXPECT_EQ(error_of([&] { append_text(mdc, "x", true); }), EBUSY);
  EXPECT_EQ(error_of([&] { mdc.sync(); }), EBUSY);
  EXPECT_EQ(error_of([&] { mdc.used(); }), EBUSY);
  EXPECT_EQ(error_of([&] { mdc.start_compaction(); }), EBUSY);
  EXPECT_EQ(error_of([&] { mdc.end_compaction(); }), EBUSY);
  EXPECT_EQ(error_of([&] { mdc.read(into); }), EBUSY);
  EXPECT_EQ(error_of([&] { mdc.rewind(); }), EBUSY);
}

// What another open appends to the half of a compaction that never ends could not stay.
TEST(ClientMdc, ACompactionIsThatOfOneOpen) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  auto other = client->open_mdc(ids[0], ids[1]);
  {
    const auto mdc = client->open_mdc(ids[0], ids[1]);
    append_text(*mdc, "old");
    mdc->start_compaction();
    expect_busy(*other);
    { const OpenMdc third(*client, ids); }  // has begun none: its close ends none
    append_text(*mdc, "new", true);
    mdc->end_compaction();
    EXPECT_EQ(all_text(*other), "new");
    mdc->start_compaction();
    append_text(*mdc, "newest", true);
    client->close_mdc(mdc);
  }
  expect_unusable(*other);
  {
    const OpenMdc again(*client, ids);  // while the other is not closed
    EXPECT_NE(&again->pair(), &other->pair());
    EXPECT_EQ(all_text(*again), "new");
    append_text(*again, "more", true);
    client->close_mdc(other);
    other.reset();
    EXPECT_EQ(all_text(*again), "new more");
  }
  client.lose_power();
  const OpenMdc mdc(*client, ids);
  EXPECT_EQ(all_text(*mdc), "new more");
}

// A record of a thread whose append is under way when another open begins a compaction: it is in
// the old content, or the append says that it is in none.
TEST(ClientMdc, AnAppendDuringTheBeginOfACompactionIsNotLost) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  auto mdc = client->open_mdc(ids[0], ids[1]);
  auto other = client->open_mdc(ids[0], ids[1]);
  append_text(*other, "first");
  int code = 0;
  std::thread thread;
  std::atomic_flag begun;
  auto& device = dynamic_cast<SimulatedDevice&>(client.pool().device(MediaClass::capacity));
  device.before_write([&](std::uint64_t, ConstByteSpan) {
    if (begun.test_and_set()) return;
    thread = std::thread([&] { code = error_of([&] { append_text(*other, "second", true); }); });
  });
  mdc->start_compaction();
  thread.join();
  device.before_write(nullptr);
  EXPECT_EQ(code, EBUSY);
  mdc.reset();
  other.reset();
  client.restart();
  const OpenMdc again(*client, ids);
  EXPECT_EQ(all_text(*again), "first");
}

TEST(ClientMdc, AFullOneIsCompactedAndTakesMore) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  const OpenMdc mdc(*client, ids);
  const std::string record(3000, 'r');
  for (int round = 0; round < 3; ++round) {
    unsigned count = 0;
    while (error_of([&] { append_text(*mdc, record); }) == 0)
      ++count;
    EXPECT_GT(count, 15u);
    EXPECT_EQ(error_of([&] { append_text(*mdc, record, true); }), EFBIG);
    EXPECT_FALSE(mdc->failed());
    compact_to(*mdc, {"kept"});
    append_text(*mdc, record, true);
    EXPECT_EQ(all_text(*mdc), "kept " + record);
  }
}

TEST(ClientMdc, StepsOfACompactionInTheWrongOrderEndItsUse) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  {
    const OpenMdc mdc(*client, ids);
    append_text(*mdc, "a");
    EXPECT_EQ(error_of([&] { mdc->end_compaction(); }), EINVAL);
  }
  {
    const OpenMdc mdc(*client, ids);
    append_text(*mdc, "b", true);
    mdc->start_compaction();
    append_text(*mdc, "c");
    EXPECT_EQ(error_of([&] { mdc->start_compaction(); }), EINVAL);
    expect_unusable(*mdc);
  }
  const OpenMdc mdc(*client, ids);
  EXPECT_NE(all_text(*mdc).find('b'), std::string::npos);
}

TEST(ClientMdc, AFailedCompactionEndsItsUse) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  {
    const OpenMdc mdc(*client, ids);
    append_text(*mdc, "old", true);
    client.faults().arm({.target = SimulatedFaults::Target::write});
    EXPECT_EQ(error_of([&] { mdc->start_compaction(); }), EIO);
    expect_unusable(*mdc);
    EXPECT_EQ(error_of([&] { client->remove(ids[0]); }), EBUSY) << "until it is closed";
  }
  client.restart();
  {
    const OpenMdc mdc(*client, ids);
    EXPECT_EQ(all_text(*mdc), "old");
    mdc->start_compaction();
    append_text(*mdc, "new");
    client.faults().arm({.target = SimulatedFaults::Target::flush});
    EXPECT_EQ(error_of([&] { mdc->end_compaction(); }), EIO);
    expect_unusable(*mdc);
    EXPECT_EQ(error_of([&] { client->open_mdc(ids[0], ids[1]); }), EIO)
        << "a new open finds a device that is offline";
  }
  client.restart();
  const OpenMdc mdc(*client, ids);
  EXPECT_EQ(all_text(*mdc), "old");
}

TEST(ClientMdc, ACompactionThatDoesNotFitFails) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  {
    const OpenMdc mdc(*client, ids);
    append_text(*mdc, "old", true);
    mdc->start_compaction();
    // Records without content fill the last bytes, so that the end marker has no room.
    for (const std::size_t length : {20'000u, 3000u, 400u, 20u, 1u}) {
      while (error_of([&] { append_text(*mdc, std::string(length, 'n')); }) == 0) {
      }
    }
    while (error_of([&] { append_text(*mdc, ""); }) == 0) {
    }
    EXPECT_EQ(error_of([&] { mdc->end_compaction(); }), EFBIG);
    expect_unusable(*mdc);
  }
  const OpenMdc mdc(*client, ids);
  EXPECT_EQ(all_text(*mdc), "old") << "in the same activation";
  compact_to(*mdc, {"new"});
  EXPECT_EQ(all_text(*mdc), "new");
}

TEST(ClientMdc, TellsWhatItsFirstRecordIs) {
  TestClient client;
  const OpenMdc mdc(*client, committed_pair(*client));
  const auto is_owner = [](ConstByteSpan record) {
    return std::ranges::equal(record, bytes_of("owner"));
  };
  const ClientPair& pair = mdc->pair();
  EXPECT_FALSE(pair.first_record_is(is_owner));
  append_text(*mdc, "owner");
  append_text(*mdc, "other");
  EXPECT_TRUE(pair.first_record_is(is_owner));
  EXPECT_EQ(read_text(*mdc), "owner") << "the position stays";
  EXPECT_TRUE(pair.first_record_is(is_owner));
  compact_to(*mdc, {"other", "owner"});
  EXPECT_FALSE(pair.first_record_is(is_owner));
}

TEST(ClientMdc, APairWhoseActiveLogCannotBeToldIsRefused) {
  TestClient client;
  const Ids unfinished = committed_pair(*client);
  for (unsigned i = 0; i < 2; ++i) {
    if (i == 1) client.pool().record_generation(unfinished[i], 5);
    const auto log = Mlog::open(client.pool().mlog_location(*client.pool().find(unfinished[i])),
                                CompactionSemantics::on);
    log->append_compaction_start();
    log->append(bytes_of("r"));
    log->sync();
  }
  EXPECT_EQ(error_of([&] { client->open_mdc(unfinished[0], unfinished[1]); }), EINVAL);
  const Ids equal = committed_pair(*client);
  for (const ObjectId id : equal)
    OpenLog(*client, id)->erase(5);
  EXPECT_EQ(error_of([&] { client->open_mdc(equal[0], equal[1]); }), EINVAL);
  // Nothing is open, and the pool is as before.
  for (const Ids& ids : {unfinished, equal}) {
    for (const ObjectId id : ids)
      client->remove(id);
  }
}

TEST(ClientMdc, APairOfPlainLogsIsDamaged) {
  TestClient client;
  const Ids ids = committed_pair(*client);
  {
    const OpenLog log(*client, ids[0]);
    append_text(*log, "plain");
  }
  EXPECT_EQ(error_of([&] { client->open_mdc(ids[0], ids[1]); }), ENODATA);
  const OpenLog log(*client, ids[0]);
  EXPECT_EQ(all_text(*log), "plain") << "nothing was written";
}

}  // namespace
}  // namespace mpool::test
