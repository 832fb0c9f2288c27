// Reference pools are changed through the real file device and found again unchanged afterwards.
#include <random>

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/pool/discovery.h"
#include "tests/interop/compare.h"
#include "tests/interop/refpool.h"

namespace mpool::interop {
namespace {

std::vector<std::byte> pattern(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& b : bytes)
    b = static_cast<std::byte>(random());
  return bytes;
}

ObjectRecord write_mblock(Pool& pool, MediaClass media_class, std::uint64_t pages,
                          std::uint64_t seed) {
  ObjectRecord mblock = pool.allocate(ObjectType::mblock, 0, {.media_class = media_class});
  const auto content = pattern(pages * kPageSize, seed);
  pool.device(media_class).write(pool.offset_of(mblock), content);
  pool.device(media_class).flush();
  mblock.written_length = content.size();
  return mblock;
}

void append_records(Mlog& mlog, unsigned count, std::uint64_t seed) {
  for (unsigned i = 0; i < count; ++i)
    mlog.append(pattern(97 * i, seed + i));
  mlog.sync();
}

// Mlogs that belong to no MDC: those that open without compaction semantics and have content.
std::vector<ObjectRecord> plain_mlogs(const Pool& pool, const nlohmann::json& expected) {
  std::vector<ObjectRecord> mlogs;
  for (const auto& object : expected.at("objects")) {
    if (object.at("type") != "mlog" || object.at("open_plain") != "OK" ||
        object.at("blocks") == 0) {
      continue;
    }
    const ObjectId id{std::stoull(object.at("objid").get<std::string>(), nullptr, 16)};
    if (const auto found = pool.find(id)) mlogs.push_back(*found);
  }
  return mlogs;
}

struct Changed {
  std::map<ObjectId, std::string> content;
  std::vector<ObjectRecord> objects;
  Uuid uuid;
};

void create_and_delete(Pool& pool) {
  std::vector<ObjectRecord> mblocks;
  for (const MediaClass media_class : {MediaClass::capacity, MediaClass::staging}) {
    if (!pool.has_class(media_class)) continue;
    for (unsigned i = 0; i < 4; ++i)
      mblocks.push_back(write_mblock(pool, media_class, 3 * i + 1, i));
  }
  pool.commit(mblocks);
  // Deleted: one of the new ones and one of the old.
  std::vector<ObjectId> marked = {mblocks.front().id};
  for (const ObjectRecord& object : pool.objects()) {
    if (object.id.is_mblock() && object.id < mblocks.front().id) {
      marked.push_back(object.id);
      break;
    }
  }
  pool.remove(marked);
  // Neither committed nor aborted: removed by the next activation.
  pool.allocate(ObjectType::mblock, 0, {});
  ObjectRecord aborted = pool.allocate(ObjectType::mblock, 0, {});
  pool.abort(aborted);
}

void change_mlogs(Pool& pool, const nlohmann::json& expected) {
  const std::vector<ObjectRecord> old = plain_mlogs(pool, expected);
  for (std::size_t i = 0; i < old.size(); ++i) {
    const auto mlog = Mlog::open(pool.mlog_location(old[i]), CompactionSemantics::off);
    if (i % 2 == 1) {
      pool.record_generation(old[i].id, old[i].generation + 1);
      mlog->reset(old[i].generation + 1);
    }
    if (mlog->fits(1 << 16)) append_records(*mlog, 20, i);
  }
  const ObjectRecord added = pool.allocate(ObjectType::mlog, 1 << 20, {});
  pool.commit(std::span(&added, 1));
  append_records(*Mlog::open(pool.mlog_location(added), CompactionSemantics::off), 30, 99);
  const auto root = pool.open_root_mdc();
  root->sync(root->append(pattern(300, 7)));
}

std::vector<std::vector<std::byte>> records_of(const Mdc& mdc) {
  std::vector<std::vector<std::byte>> records;
  std::vector<std::byte> record;
  for (MlogReader reader = mdc.reader(); reader.next(record);)
    records.push_back(record);
  return records;
}

// The root MDC moves to larger logs, as for a growing tree. The small pools may lack adjacent free
// zones for that.
void grow_root_mdc(Pool& pool) {
  const auto root = pool.open_root_mdc();
  const auto records = records_of(*root);
  const std::uint64_t wanted = 2 * root->capacity();
  constexpr std::uint64_t kRoomForSure = 200u << 20;  // bytes
  const std::uint64_t size = pool.class_info(MediaClass::capacity).params.device_size;
  for (unsigned half = 0; half < 2; ++half) {
    const Mdc::Stats stats = root->stats();
    const auto successor = pool.allocate_successor(stats.ids[1 - stats.active], wanted);
    if (!successor && size < kRoomForSure) return;
    ASSERT_TRUE(successor);
    root->replace_inactive(pool.mlog_location(*successor), [&](std::uint64_t generation) {
      ObjectRecord record = *successor;
      record.generation = generation;
      pool.succeed(record);
    });
    root->compact([&](const Mdc::Append& append) {
      for (const auto& record : records)
        append(record);
    });
  }
  EXPECT_GE(root->capacity(), wanted);
  EXPECT_EQ(root->inactive_capacity(), root->capacity());
  EXPECT_EQ(records_of(*root), records);
}

class Change : public testing::TestWithParam<std::string> {};

TEST_P(Change, IsFoundAgain) {
  const RefPool reference(GetParam());
  // Where the first implementation fails: the content before the damage.
  const auto& manifest = reference.manifest();
  const nlohmann::json found =
      reference.expected().contains("pool")      ? reference.expected().at("pool")
      : manifest.contains("live_before_the_end") ? manifest.at("live_before_the_end")
                                                 : nlohmann::json();
  if (found.is_null() || GetParam() == "f27-sb0-mdc0uuid-flipped" ||
      GetParam() == "f19-driveadd-no-mcconfig") {
    EXPECT_THROW(Pool::activate(open_pool_devices(reference.images(), OpenMode::activate)), Error);
    return;
  }
  const ActivateOptions options{.mdc_count = reference.mdc_count()};
  Changed before;
  {
    const auto pool =
        Pool::activate(open_pool_devices(reference.images(), OpenMode::activate), options);
    create_and_delete(*pool);
    change_mlogs(*pool, found);
    grow_root_mdc(*pool);
    before = {digests(*pool), pool->objects(), pool->uuid()};
  }
  for (unsigned round = 0; round < 2; ++round) {
    SCOPED_TRACE(round);
    const auto pool =
        Pool::activate(open_pool_devices(reference.images(), OpenMode::activate), options);
    EXPECT_EQ(pool->uuid(), before.uuid);
    EXPECT_EQ(pool->objects(), before.objects);
    EXPECT_EQ(digests(*pool), before.content);
    // Ids are never handed out twice.
    const ObjectRecord fresh = pool->allocate(ObjectType::mblock, 0, {});
    for (const ObjectRecord& object : before.objects)
      EXPECT_NE(object.id, fresh.id);
  }
}

INSTANTIATE_TEST_SUITE_P(RefPools, Change, testing::ValuesIn(refpool_names()),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name) {
                             if (c == '-') c = '_';
                           }
                           return name;
                         });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Change);

}  // namespace
}  // namespace mpool::interop
