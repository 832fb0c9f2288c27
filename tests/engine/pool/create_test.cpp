#include <cerrno>

#include "engine/pool/discovery.h"
#include "tests/engine/pool/pool_support.h"

namespace mpool::test {
namespace {

int create_error(const CreateOptions& options, std::uint64_t size = 64 * kMiB) {
  return error_of([&] { create(options, size); });
}

TEST(Create, DefaultsOnASmallDevice) {
  CreateOptions options;
  options.name = "small";
  const auto media = create(options, 64 * kMiB);
  const auto pool = activate({media});
  EXPECT_EQ(pool->name(), "small");
  EXPECT_FALSE(pool->uuid().is_nil());
  EXPECT_EQ(pool->zone_size(MediaClass::capacity), kMiB);
  EXPECT_EQ(pool->mdcs().size(), 1u + 4u);
  ASSERT_EQ(pool->objects().size(), 2u);
  EXPECT_EQ(pool->objects()[0].id, root_log_id(0));
  EXPECT_EQ(pool->objects()[1].id, root_log_id(1));
  EXPECT_EQ(pool->capacity_of(pool->objects()[0]), 8 * kMiB);
  // 1 superblock zone, MDC0, four MDCs and the root MDC.
  EXPECT_EQ(pool->class_info(MediaClass::capacity).space.used, 1u + 2 + 8 + 16);
  EXPECT_FALSE(pool->has_class(MediaClass::staging));
  EXPECT_EQ(error_of([&] { pool->class_info(MediaClass::staging); }), ENODEV);
  EXPECT_EQ(error_of([&] { pool->device(MediaClass::staging); }), ENODEV);
}

TEST(Create, RecordsTheConfiguration) {
  CreateOptions options = small_options();
  options.uid = 12;
  options.gid = 34;
  options.mode = 0640;
  options.label = std::string(ConfigRecord::kMaxLabelLength, 'l');
  options.spare_percent = 30;
  const auto pool = activate({create(options)});
  const ConfigRecord config = pool->config();
  EXPECT_EQ(config.uid, 12u);
  EXPECT_EQ(config.gid, 34u);
  EXPECT_EQ(config.mode, 0640u);
  EXPECT_EQ(config.label, options.label);
  EXPECT_EQ(config.root_log_1, root_log_id(0));
  EXPECT_EQ(config.root_log_2, root_log_id(1));
  EXPECT_EQ(config.mdc_capacity, 128u * 1024);
  EXPECT_EQ(pool->class_info(MediaClass::capacity).spare_percent, 30u);
}

using Geometry = std::tuple<std::uint64_t, std::uint32_t, bool>;
class CreateGeometry : public testing::TestWithParam<Geometry> {};

TEST_P(CreateGeometry, ActivatesWithRoomForObjects) {
  const auto [zone_size, sector_size, two_classes] = GetParam();
  std::vector<std::shared_ptr<Media>> media = {std::make_shared<Media>(256 * kMiB, sector_size)};
  if (two_classes) media.push_back(std::make_shared<Media>(40 * kMiB, 512));
  CreateOptions options;
  options.name = "geometry";
  options.zone_size = zone_size;
  options.mdc_count = 3;
  {
    MemoryDevice capacity("c", media[0]);
    std::unique_ptr<MemoryDevice> staging;
    if (two_classes) staging = std::make_unique<MemoryDevice>("s", media[1]);
    Pool::create(capacity, staging.get(), options);
  }
  std::vector<ObjectRecord> before;
  {
    const auto pool = activate(media);
    EXPECT_EQ(pool->zone_size(MediaClass::capacity), zone_size);
    EXPECT_EQ(pool->class_info(MediaClass::capacity).params.sector_size(), sector_size);
    EXPECT_EQ(pool->mdcs().size(), 4u);
    add_mblock(*pool);
    if (two_classes) add_mblock(*pool, kPageSize, MediaClass::staging);
    const auto root = pool->open_root_mdc();
    root->sync(root->append(as_bytes("hello", 5)));
    before = pool->objects();
    EXPECT_EQ(before.size(), two_classes ? 4u : 3u);
  }
  std::reverse(media.begin(), media.end());
  EXPECT_EQ(activate(media)->objects(), before);
}

INSTANTIATE_TEST_SUITE_P(All, CreateGeometry,
                         testing::Combine(testing::Values(4096, 64 * 1024, kMiB, 8 * kMiB),
                                          testing::Values(512u, 4096u), testing::Bool()));

TEST(Create, RefusesBadOptions) {
  const auto refused = [](auto change) {
    CreateOptions options = small_options();
    change(options);
    return create_error(options);
  };
  for (const char* name : {"", "-a", ".a", "a b", "a/b", "ä", "12345678901234567890123456789012"}) {
    EXPECT_EQ(refused([&](CreateOptions& o) { o.name = name; }), EINVAL) << name;
  }
  EXPECT_EQ(refused([](CreateOptions& o) { o.name = "1234567890123456789012345678901"; }), 0);
  for (const std::uint64_t zone_size : {0ull, 2048ull, 5000ull, 3ull << 20, 2ull << 30}) {
    EXPECT_EQ(refused([&](CreateOptions& o) { o.zone_size = zone_size; }), EINVAL) << zone_size;
  }
  EXPECT_EQ(refused([](CreateOptions& o) { o.mdc_count = 0; }), EINVAL);
  EXPECT_EQ(refused([](CreateOptions& o) { o.mdc_count = 256; }), EINVAL);
  EXPECT_EQ(refused([](CreateOptions& o) { o.mdc_count = 255; }), 0);
  EXPECT_EQ(refused([](CreateOptions& o) { o.spare_percent = 101; }), EINVAL);
  EXPECT_EQ(refused([](CreateOptions& o) { o.spare_percent = 100; }), 0);
  EXPECT_EQ(refused([](CreateOptions& o) { o.label = std::string(64, 'x'); }), EINVAL);
  EXPECT_EQ(refused([](CreateOptions& o) { o.label = std::string("a\0b", 3); }), EINVAL);
  EXPECT_EQ(refused([](CreateOptions& o) { o.mode = 0100644; }), EINVAL);

  MemoryDevice device("d", std::make_shared<Media>(64 * kMiB, 512));
  EXPECT_EQ(error_of([&] { Pool::create(device, &device, small_options()); }), EINVAL);
}

TEST(Create, TooSmallWritesNothingAndSaysHowLargeItMustBe) {
  CreateOptions options;
  options.name = "p";
  for (const std::uint64_t size : {0ull, 4096ull, 1ull << 20, 10ull << 20}) {
    MemoryDevice device("d", std::make_shared<Media>(size, 512));
    try {
      Pool::create(device, nullptr, options);
      ADD_FAILURE() << "created on " << size;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ENOSPC) << error.what();
      EXPECT_NE(error.detail().find("needs at least"), std::string::npos) << error.what();
    }
    EXPECT_EQ(device.counters().writes, 0u);
  }
  options.mdc_capacity = 1ull << 40;
  EXPECT_EQ(create_error(options), ENOSPC);
  options.mdc_capacity = UINT64_MAX;
  EXPECT_EQ(create_error(options), ENOSPC);
}

TEST(Create, ReplacesAnOlderPool) {
  CreateOptions options = small_options();
  const auto media = create(options);
  const Uuid first = activate({media})->uuid();
  options.name = "q";
  MemoryDevice device("d", media);
  Pool::create(device, nullptr, options);
  const auto pool = activate({media});
  EXPECT_EQ(pool->name(), "q");
  EXPECT_NE(pool->uuid(), first);
}

// After each write of create() there is either no pool or a complete one.
TEST(Create, CrashAtEveryWrite) {
  const CreateOptions options = small_options();
  for (const bool old_pool : {false, true}) {
    auto media = old_pool ? create(options) : std::make_shared<Media>(16 * kMiB, 512);
    std::vector<std::shared_ptr<Media>> states;
    MemoryDevice device("d", media);
    device.after_write([&] { states.push_back(std::make_shared<Media>(*media)); });
    Pool::create(device, nullptr, options);
    ASSERT_GT(states.size(), 10u);
    unsigned pools = 0;
    for (std::size_t i = 0; i < states.size(); ++i) {
      SCOPED_TRACE(i);
      MemoryDevice peek("d", states[i]);
      if (!read_superblocks(peek).chosen) continue;
      if (old_pool && i == 0) continue;  // only the first copy of the old pool is gone
      const auto pool = activate({states[i]});
      EXPECT_EQ(pool->mdcs().size(), 3u);
      EXPECT_EQ(pool->objects().size(), 2u);
      EXPECT_EQ(pool->config().label, options.label);
      add_mblock(*pool);
      ++pools;
    }
    EXPECT_EQ(pools, 2u) << "the superblocks come last";
  }
}

TEST(Create, WriteFailureLeavesNoPool) {
  for (unsigned fail_at = 0; fail_at < 40; ++fail_at) {
    SCOPED_TRACE(fail_at);
    auto media = std::make_shared<Media>(16 * kMiB, 512);
    MemoryDevice device("d", media);
    unsigned writes = 0;
    device.before_write([&](std::uint64_t, ConstByteSpan) {
      if (writes++ == fail_at) throw Error(EIO, "d", "made to fail");
    });
    const int code = error_of([&] { Pool::create(device, nullptr, small_options()); });
    if (code == 0) return;  // fewer writes than that
    EXPECT_EQ(code, EIO);
    MemoryDevice peek("d", media);
    if (read_superblocks(peek).chosen) {
      EXPECT_NO_THROW(activate({media}));
    }
  }
}

}  // namespace
}  // namespace mpool::test
