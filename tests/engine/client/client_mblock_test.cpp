// Mblocks by their ids.
#include <algorithm>
#include <array>
#include <limits>

#include "tests/engine/client/client_support.h"

namespace mpool::test {
namespace {

constexpr std::size_t kZonePages = kClientZone / kClientPage;

TEST(ClientMblock, LivesFromItsAllocationToItsDeletion) {
  TestClient client;
  const std::uint32_t used = client.used_zones();
  const ClientPool::Mblock made =
      client->allocate_mblock(MediaClass::capacity, SpacePolicy::usable_only);
  EXPECT_TRUE(made.id.is_mblock());
  EXPECT_EQ(made.media_class, MediaClass::capacity);
  EXPECT_EQ(made.capacity, kClientZone);
  EXPECT_EQ(made.written_length, 0u);
  EXPECT_FALSE(made.committed);
  EXPECT_EQ(client.used_zones(), used + 1);

  const AlignedBuffer data = client_pages(5, 1);
  const std::array<ConstByteSpan, 2> parts = {data.span(0, kClientPage),
                                              data.span(kClientPage, 2 * kClientPage)};
  client->write_mblock(made.id, parts);
  EXPECT_EQ(client->mblock(made.id).written_length, 3 * kClientPage);
  write_pages(*client, made.id, data.span(3 * kClientPage, 2 * kClientPage));
  AlignedBuffer found(kClientPage);
  EXPECT_EQ(error_of([&] { read_pages(*client, made.id, 0, found.span()); }), ENOENT);
  EXPECT_EQ(error_of([&] { client->remove(made.id); }), ENOENT);

  client->commit(made.id);
  const ClientPool::Mblock committed = client->mblock(made.id);
  EXPECT_TRUE(committed.committed);
  EXPECT_EQ(committed.capacity, kClientZone);
  EXPECT_EQ(committed.written_length, 5 * kClientPage);
  EXPECT_TRUE(has_content(*client, made.id, 5, 1));
  EXPECT_EQ(error_of([&] { write_pages(*client, made.id, data.span()); }), ENOENT);
  EXPECT_EQ(error_of([&] { client->commit(made.id); }), ENOENT);
  EXPECT_EQ(error_of([&] { client->abort(made.id); }), ENOENT);

  client->remove(made.id);
  EXPECT_EQ(error_of([&] { client->mblock(made.id); }), ENOENT);
  EXPECT_EQ(error_of([&] { read_pages(*client, made.id, 0, found.span()); }), ENOENT);
  EXPECT_EQ(error_of([&] { client->remove(made.id); }), ENOENT);
  EXPECT_EQ(client.used_zones(), used);
}

TEST(ClientMblock, RefusesIdsOfOtherObjects) {
  TestClient client;
  const AlignedBuffer data = client_pages(1, 1);
  AlignedBuffer found(kClientPage);
  const ObjectId log = committed_log(*client);
  const ObjectId unknown = ObjectId::make(1u << 20, ObjectType::mblock, 1);
  for (const auto& [id, code] : {std::pair{log, EINVAL},
                                 {unknown, ENOENT},
                                 {ObjectId{}, EINVAL},
                                 {ObjectId{~0ull}, EINVAL}}) {
    EXPECT_EQ(error_of([&] { client->mblock(id); }), code);
    EXPECT_EQ(error_of([&] { write_pages(*client, id, data.span()); }), code);
    EXPECT_EQ(error_of([&] { client->commit(id, ObjectType::mblock); }), code);
    EXPECT_EQ(error_of([&] { client->abort(id, ObjectType::mblock); }), code);
    EXPECT_EQ(error_of([&] { client->remove(id, ObjectType::mblock); }), code);
    EXPECT_EQ(error_of([&] { read_pages(*client, id, 0, found.span()); }), code);
  }
  EXPECT_TRUE(client->log(log).committed);
}

TEST(ClientMblock, WritesOnlyWholePagesOfAlignedMemory) {
  TestClient client;
  const ObjectId id = new_mblock(*client);
  AlignedBuffer data = client_pages(kZonePages + 1, 1);
  const auto refused = [&](std::vector<ConstByteSpan> parts) {
    EXPECT_EQ(error_of([&] { client->write_mblock(id, parts); }), EINVAL);
    EXPECT_EQ(client->mblock(id).written_length, 0u);
  };
  refused({});
  refused({data.span(0, 0)});
  refused({ConstByteSpan(static_cast<const std::byte*>(nullptr), kClientPage)});
  refused({data.span(0, 100)});
  refused({data.span(512, kClientPage)});
  refused({data.span(0, kClientPage), data.span(kClientPage, 0)});
  refused({data.span(0, kClientPage), data.span(0, kClientPage + 512)});
  refused({data.span()});  // a page more than the capacity
  write_pages(*client, id, data.span(0, kClientPage));
  // One page more than the rest.
  EXPECT_EQ(error_of([&] { write_pages(*client, id, data.span(0, kClientZone)); }), EINVAL);
  write_pages(*client, id, data.span(kClientPage, kClientZone - kClientPage));
  EXPECT_EQ(error_of([&] { write_pages(*client, id, data.span(0, kClientPage)); }), EINVAL);
  client->commit(id);
  EXPECT_TRUE(has_content(*client, id, kZonePages, 1));
}

TEST(ClientMblock, RefusesTransfersAboveTheGreatestSum) {
  TestClient client;
  const ObjectId id = new_mblock(*client);
  const AlignedBuffer data(ClientPool::kMaxTransfer / 2 + kClientPage);
  const std::vector<ConstByteSpan> parts(2, data.span());
  EXPECT_EQ(error_of([&] { client->write_mblock(id, parts); }, "a transfer"), EINVAL);
  // Sums that exceed 64 bits.
  const std::vector<ConstByteSpan> endless(
      3, {data.data(), std::numeric_limits<std::size_t>::max() & ~(kClientPage - 1)});
  EXPECT_EQ(error_of([&] { client->write_mblock(id, endless); }, "a transfer"), EINVAL);
}

TEST(ClientMblock, ReadsOnlyInsideTheWrittenLength) {
  TestClient client;
  const ObjectId id = committed_mblock(*client, 4, 2);
  AlignedBuffer found(5 * kClientPage);
  const AlignedBuffer data = client_pages(4, 2);
  const std::array<ByteSpan, 2> parts = {found.span(kClientPage, kClientPage),
                                         found.span(3 * kClientPage, 2 * kClientPage)};
  client->read_mblock(id, kClientPage, parts);
  EXPECT_EQ(std::memcmp(found.data() + kClientPage, data.data() + kClientPage, kClientPage), 0);
  EXPECT_EQ(
      std::memcmp(found.data() + 3 * kClientPage, data.data() + 2 * kClientPage, 2 * kClientPage),
      0);
  const auto refused = [&](std::uint64_t offset, ByteSpan memory) {
    EXPECT_EQ(error_of([&] { read_pages(*client, id, offset, memory); }), EINVAL) << offset;
  };
  refused(0, found.span());
  refused(kClientPage, found.span(0, 4 * kClientPage));
  refused(4 * kClientPage, found.span(0, kClientPage));
  refused(5 * kClientPage, found.span(0, kClientPage));
  refused(512, found.span(0, kClientPage));
  refused(std::numeric_limits<std::uint64_t>::max() - kClientPage + 1, found.span(0, kClientPage));
  refused(0, found.span(0, 0));
  refused(0, found.span(0, 512));
  refused(0, found.span(512, kClientPage));
  client->remove(id);
}

TEST(ClientMblock, MayHoldNothing) {
  TestClient client;
  const ObjectId id = committed_mblock(*client, 0, 0);
  EXPECT_TRUE(client->mblock(id).committed);
  AlignedBuffer found(kClientPage);
  EXPECT_EQ(error_of([&] { read_pages(*client, id, 0, found.span()); }), EINVAL);
  client.lose_power();
  EXPECT_TRUE(client->mblock(id).committed);
}

TEST(ClientMblock, AbortGivesTheZoneBack) {
  TestClient client;
  const std::uint32_t used = client.used_zones();
  const ObjectId id = new_mblock(*client);
  write_pages(*client, id, client_pages(1, 1).span());
  client->abort(id);
  EXPECT_EQ(client.used_zones(), used);
  EXPECT_EQ(error_of([&] { client->mblock(id); }), ENOENT);
  EXPECT_EQ(error_of([&] { client->abort(id); }), ENOENT);
  EXPECT_EQ(error_of([&] { client->commit(id); }), ENOENT);
  EXPECT_EQ(error_of([&] { write_pages(*client, id, client_pages(1, 1).span()); }), ENOENT);
}

TEST(ClientMblock, IdsAreNeverUsedAgain) {
  TestClient client;
  std::vector<ObjectId> ids;
  for (unsigned i = 0; i < 600; ++i) {
    const ObjectId id = new_mblock(*client);
    EXPECT_TRUE(std::ranges::find(ids, id) == ids.end());
    ids.push_back(id);
    if (i % 2 == 0) {
      client->abort(id);
    } else {
      client->commit(id);
      client->remove(id);
    }
    if (i % 100 == 99) client.restart();
  }
}

TEST(ClientMblock, TakesZonesOfItsClassUntilThereAreNone) {
  TestClient single;
  EXPECT_EQ(error_of([&] { new_mblock(*single, MediaClass::staging); }), ENOENT);
  TestClient client(TestClient::Classes::both, 64);
  const std::uint32_t capacity = client.used_zones();
  std::vector<ObjectId> ids;
  EXPECT_EQ(error_of([&] {
              for (;;)
                ids.push_back(new_mblock(*client, MediaClass::staging));
            }),
            ENOSPC);
  EXPECT_GT(ids.size(), 50u);
  EXPECT_EQ(client.used_zones(), capacity);
  EXPECT_EQ(client->mblock(ids.back()).media_class, MediaClass::staging);
  client->abort(ids.back());
  EXPECT_NE(new_mblock(*client, MediaClass::staging), ids.back());
}

TEST(ClientMblock, SparesAreTakenFirstWhereTheyMay) {
  TestClient client;
  client.pool().set_spare_percent(MediaClass::capacity, 50);
  std::vector<ObjectId> ids;
  const auto fill = [&](SpacePolicy policy) {
    ids.clear();
    EXPECT_EQ(error_of([&] {
                for (;;)
                  ids.push_back(client->allocate_mblock(MediaClass::capacity, policy).id);
              }),
              ENOSPC);
    return ids.size();
  };
  const std::size_t usable = fill(SpacePolicy::usable_only);
  for (const ObjectId id : ids)
    client->abort(id);
  const std::size_t all = fill(SpacePolicy::spare_then_usable);
  EXPECT_GE(all, usable + 100);
}

TEST(ClientMblock, CannotBeDeletedWhilePinned) {
  TestClient client;
  const ObjectId id = committed_mblock(*client, 2, 3);
  client.pool().pin(id);
  EXPECT_EQ(error_of([&] { client->remove(id); }), EBUSY);
  EXPECT_TRUE(has_content(*client, id, 2, 3));
  client.pool().unpin(id);
  client->remove(id);
}

TEST(ClientMblock, OnlyCommittedOnesSurvive) {
  TestClient client;
  const ObjectId kept = committed_mblock(*client, 3, 4);
  const std::uint32_t used = client.used_zones();
  const ObjectId lost = new_mblock(*client);
  write_pages(*client, lost, client_pages(2, 5).span());
  client.restart();
  EXPECT_TRUE(has_content(*client, kept, 3, 4));
  EXPECT_EQ(error_of([&] { client->mblock(lost); }), ENOENT);
  EXPECT_EQ(client.used_zones(), used);
  client.lose_power();
  EXPECT_TRUE(has_content(*client, kept, 3, 4));
  client->remove(kept);
  client.lose_power();
  EXPECT_EQ(error_of([&] { client->mblock(kept); }), ENOENT);
}

}  // namespace
}  // namespace mpool::test
