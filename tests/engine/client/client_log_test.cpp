// Mlogs by their ids, and what an open one does.
#include <algorithm>
#include <limits>

#include "tests/engine/client/client_support.h"

namespace mpool::test {
namespace {

constexpr ClientLog::Options kCompactable{.semantics = CompactionSemantics::on};

TEST(ClientLog, LivesFromItsAllocationToItsDeletion) {
  TestClient client;
  const std::uint32_t used = client.used_zones();
  const ClientPool::Log made =
      client->allocate_log(MediaClass::capacity, 2 * kClientZone + 1, SpacePolicy::usable_only);
  EXPECT_TRUE(made.id.is_mlog());
  EXPECT_EQ(made.media_class, MediaClass::capacity);
  EXPECT_EQ(made.capacity, 3 * kClientZone);
  EXPECT_FALSE(made.committed);
  EXPECT_NE(made.uuid, Uuid{});
  EXPECT_EQ(client.used_zones(), used + 3);
  EXPECT_EQ(error_of([&] { client->open_log(made.id, {}); }), EINVAL) << "not committed";
  EXPECT_EQ(error_of([&] { client->remove(made.id); }), ENOENT);
  client->commit(made.id);
  EXPECT_TRUE(client->log(made.id).committed);
  EXPECT_EQ(client->log(made.id).uuid, made.uuid);
  EXPECT_EQ(error_of([&] { client->commit(made.id); }), ENOENT);
  EXPECT_EQ(error_of([&] { client->abort(made.id); }), ENOENT);
  {
    const OpenLog log(*client, made.id);
    EXPECT_EQ(all_text(*log), "");
    EXPECT_EQ(error_of([&] { client->remove(made.id); }), EBUSY);
    append_text(*log, "a");
  }
  client->remove(made.id);
  EXPECT_EQ(error_of([&] { client->log(made.id); }), ENOENT);
  EXPECT_EQ(error_of([&] { client->open_log(made.id, {}); }), ENOENT);
  EXPECT_EQ(client.used_zones(), used);
}

TEST(ClientLog, AbortGivesTheZonesBack) {
  TestClient client;
  const std::uint32_t used = client.used_zones();
  const ObjectId id = client->allocate_log(MediaClass::capacity, 0, SpacePolicy::usable_only).id;
  EXPECT_EQ(client->log(id).capacity, kClientZone) << "0: one zone";
  client->abort(id);
  EXPECT_EQ(error_of([&] { client->log(id); }), ENOENT);
  EXPECT_EQ(error_of([&] { client->abort(id); }), ENOENT);
  EXPECT_EQ(client.used_zones(), used);
}

TEST(ClientLog, RefusesIdsAndClassesOfOthers) {
  TestClient client;
  const auto allocate = [&](MediaClass of, std::uint64_t capacity) {
    client->allocate_log(of, capacity, SpacePolicy::usable_only);
  };
  EXPECT_EQ(error_of([&] { allocate(MediaClass::staging, 1); }), ENOENT);
  EXPECT_EQ(error_of([&] { allocate(MediaClass::capacity, 1000 * kClientZone); }), ENOSPC);
  const ObjectId mblock = committed_mblock(*client, 1, 1);
  const ObjectId unknown = ObjectId::make(1u << 20, ObjectType::mlog, 1);
  for (const auto& [id, code] : {std::pair{mblock, EINVAL}, {unknown, ENOENT}}) {
    EXPECT_EQ(error_of([&] { client->log(id); }), code);
    EXPECT_EQ(error_of([&] { client->commit(id, ObjectType::mlog); }), code);
    EXPECT_EQ(error_of([&] { client->abort(id, ObjectType::mlog); }), code);
    EXPECT_EQ(error_of([&] { client->remove(id, ObjectType::mlog); }), code);
    EXPECT_EQ(error_of([&] { client->open_log(id, {}); }), code);
  }
}

TEST(ClientLog, ReadsRecordsInTheOrderOfTheirAppends) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  const OpenLog log(*client, id);
  const std::vector<ConstByteSpan> parts = {bytes_of("on"), bytes_of(""), bytes_of("e")};
  log->append(parts, false);
  append_text(*log, "two", true);
  EXPECT_EQ(read_text(*log), "one");
  EXPECT_EQ(read_text(*log), "two");
  EXPECT_EQ(read_text(*log), "");
  append_text(*log, "three");
  EXPECT_EQ(read_text(*log), "three") << "appended after the reader reached the end";
  log->rewind();
  EXPECT_EQ(read_text(*log), "one");
  log->append({}, false);
  append_text(*log, "four");
  EXPECT_EQ(all_text(*log), "one two three") << "a record of 0 bytes reads as the end";
  EXPECT_EQ(read_text(*log), "four");
}

TEST(ClientLog, ARecordMayBeLargeAndOfManyParts) {
  TestClient client(TestClient::Classes::capacity_only, 4096);
  const ObjectId id = committed_log(*client, 8u << 20);
  std::vector<std::byte> bytes(5'000'003);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i * 11 + (i >> 13));
  std::vector<ConstByteSpan> parts;
  for (std::size_t at = 0, length = 1; at < bytes.size(); at += length, length = at % 3000 + 1) {
    parts.push_back(std::span(bytes).subspan(at, std::min(length, bytes.size() - at)));
  }
  {
    const OpenLog log(*client, id);
    append_text(*log, "first");
    log->append(parts, true);
    append_text(*log, "last", true);
  }
  client.lose_power();
  const OpenLog log(*client, id);
  EXPECT_EQ(read_text(*log), "first");
  std::vector<std::byte> found(bytes.size());
  const SharedReader::Result result = log->read(found);
  EXPECT_EQ(result.error, 0);
  EXPECT_EQ(result.length, bytes.size());
  EXPECT_TRUE(found == bytes);
  EXPECT_EQ(read_text(*log), "last");
}

TEST(ClientLog, ARecordTooLongForTheMemoryStays) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  const OpenLog log(*client, id);
  const std::string text(3000, 'x');  // in several blocks
  append_text(*log, "a");
  append_text(*log, text);
  append_text(*log, "b");
  EXPECT_EQ(read_text(*log), "a");
  std::vector<std::byte> small(2999);
  for (int i = 0; i < 2; ++i) {
    const SharedReader::Result result = log->read(small);
    EXPECT_EQ(result.error, EOVERFLOW);
    EXPECT_EQ(result.length, text.size());
  }
  EXPECT_EQ(log->read({}).error, EOVERFLOW);
  EXPECT_EQ(read_text(*log), text);
  EXPECT_EQ(read_text(*log), "b");
}

TEST(ClientLog, NothingBehindTheRecordIsWritten) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  const OpenLog log(*client, id);
  append_text(*log, std::string(700, 'x'));
  append_text(*log, "y");
  std::vector<std::byte> memory(4096, std::byte{0x55});
  EXPECT_EQ(log->read(memory).length, 700u);
  EXPECT_TRUE(std::all_of(memory.begin() + 700, memory.end(),
                          [](std::byte byte) { return byte == std::byte{0x55}; }));
}

TEST(ClientLog, PassesOverARecordOfTheGivenLength) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  const OpenLog log(*client, id);
  for (const char* text : {"four", "seventy", "one"})
    append_text(*log, text);
  std::vector<std::byte> into(100);
  const auto skip = [&](std::size_t length, ByteSpan memory, int error, std::size_t found) {
    const SharedReader::Result result = log->skip_and_read(length, memory);
    EXPECT_EQ(result.error, error);
    EXPECT_EQ(result.length, found);
  };
  skip(4, into, 0, 7);
  EXPECT_EQ(std::memcmp(into.data(), "seventy", 7), 0);
  skip(3, into, 0, 0);  // there is no record behind
  skip(3, into, ERANGE, 0);
  log->rewind();
  skip(3, into, EOVERFLOW, 4);  // stays
  skip(4, {}, 0, 4);            // passes over it, and reads nothing
  skip(8, into, ERANGE, 7);     // is behind it
  EXPECT_EQ(read_text(*log), "one");
  log->rewind();
  // The record behind is too long: the position is before it.
  skip(4, std::span(into).first(6), EOVERFLOW, 7);
  EXPECT_EQ(read_text(*log), "seventy");
}

TEST(ClientLog, AFullOneTakesNothingMore) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  const OpenLog log(*client, id);
  const std::string record(5000, 'r');
  unsigned count = 0;
  while (error_of([&] { append_text(*log, record); }) == 0)
    ++count;
  EXPECT_GT(count, 10u);
  EXPECT_EQ(error_of([&] { append_text(*log, record, true); }), EFBIG);
  EXPECT_LE(log->used(), kClientZone);
  log->sync();
  for (unsigned i = 0; i < count; ++i)
    EXPECT_EQ(read_text(*log), record);
  EXPECT_EQ(read_text(*log), "");
  log->erase(0);
  append_text(*log, record, true);
  EXPECT_EQ(read_text(*log), record);
}

TEST(ClientLog, EraseEmptiesItAndRaisesItsGeneration) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  {
    const OpenLog log(*client, id);
    const std::uint64_t first = log->generation();
    EXPECT_EQ(client->log(id).generation, first);
    append_text(*log, "a", true);
    EXPECT_GT(log->used(), 0u);
    log->erase(0);
    EXPECT_EQ(log->generation(), first + 1);
    EXPECT_EQ(client->log(id).generation, first + 1);
    EXPECT_LE(log->used(), 4096u) << "at most one block";
    EXPECT_EQ(read_text(*log), "");
    append_text(*log, "b", true);
    EXPECT_EQ(read_text(*log), "b") << "the position is the start";
    log->erase(first + 1);  // not above the present one
    EXPECT_EQ(log->generation(), first + 2);
    log->erase(1000);
    EXPECT_EQ(log->generation(), 1000u);
    append_text(*log, "c");
  }
  client.lose_power();
  {
    const OpenLog log(*client, id);
    EXPECT_EQ(log->generation(), 1000u);
    EXPECT_EQ(all_text(*log), "c") << "its close made it durable";
    log->erase(std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(error_of([&] { log->erase(0); }), EOVERFLOW);
  }
}

TEST(ClientLog, EraseIsDurable) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  auto first = client->open_log(id, {});
  append_text(*first, "a", true);
  first->erase(7);
  append_text(*first, "lost");
  first.reset();
  client.lose_power();
  const OpenLog log(*client, id);
  EXPECT_EQ(log->generation(), 7u);
  EXPECT_EQ(all_text(*log), "");
}

TEST(ClientLog, SyncMakesAllBeforeItDurable) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  auto log = client->open_log(id, {});
  append_text(*log, "a");
  append_text(*log, "b");
  log->sync();
  append_text(*log, "c");
  append_text(*log, "d", true);
  append_text(*log, "lost");
  log.reset();
  client.lose_power();
  const OpenLog again(*client, id);
  EXPECT_EQ(all_text(*again), "a b c d");
}

TEST(ClientLog, ItsUseDoesNotGoDownByReopening) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  std::uint64_t used = 0;
  for (unsigned i = 0; i < 40; ++i) {
    const OpenLog log(*client, id);
    EXPECT_GE(log->used(), used);
    append_text(*log, std::string(i * 37 % 900 + 1, 'x'), i % 3 == 0);
    used = log->used();
    EXPECT_LE(used, kClientZone);
  }
}

TEST(ClientLog, SeveralOpensShareOneLog) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  auto first = client->open_log(id, {});
  const auto second = client->open_log(id, {});
  EXPECT_EQ(first, second);
  append_text(*first, "a");
  append_text(*first, "b");
  EXPECT_EQ(read_text(*second), "a");
  EXPECT_EQ(read_text(*first), "b") << "one position";
  EXPECT_EQ(error_of([&] { client->open_log(id, kCompactable); }), EINVAL);
  EXPECT_EQ(error_of([&] { client->open_log(id, {.serialised_by_caller = true}); }), EINVAL);
  client->close_log(std::exchange(first, nullptr));
  EXPECT_EQ(error_of([&] { client->remove(id); }), EBUSY) << "open once";
  append_text(*second, "c");
  client->close_log(second);
}

TEST(ClientLog, FlagsHoldAsLongAsItIsOpen) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  const ClientLog::Options serialised{.serialised_by_caller = true};
  {
    const OpenLog log(*client, id, serialised);
    const OpenLog again(*client, id, serialised);
    const OpenLog without(*client, id);  // only flags that the first open lacks are refused
    EXPECT_EQ(&*without, &*log);
    EXPECT_EQ(error_of([&] { client->open_log(id, kCompactable); }), EINVAL);
  }
  const OpenLog log(*client, id);
  EXPECT_EQ(error_of([&] { client->open_log(id, serialised); }), EINVAL);
}

TEST(ClientLog, CompactionSemanticsWantAStartMarker) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  {
    const OpenLog log(*client, id, kCompactable);
    EXPECT_EQ(error_of([&] { append_text(*log, "a"); }), EINVAL);
    EXPECT_EQ(all_text(*log), "");
  }
  {
    const OpenLog log(*client, id);
    append_text(*log, "a", true);
  }
  EXPECT_EQ(error_of([&] { client->open_log(id, kCompactable); }), ENODATA);
  // The failed open left nothing open.
  client->remove(id);
}

TEST(ClientLog, AnUnfinishedCompactionIsSaid) {
  TestClient client;
  const ObjectId id = committed_log(*client);
  {
    const auto log =
        Mlog::open(client.pool().mlog_location(*client.pool().find(id)), CompactionSemantics::on);
    log->append_compaction_start();
    log->sync();
  }
  EXPECT_EQ(error_of([&] { client->open_log(id, kCompactable); }), EMSGSIZE);
  EXPECT_EQ(error_of([&] { client->open_log(id, {}); }), ENODATA) << "markers are damage";
}

}  // namespace
}  // namespace mpool::test
