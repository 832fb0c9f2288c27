// Changes of an active pool itself: their effect, their refusals, and the result of a crash or a
// failure at any of their writes.
#include <cerrno>
#include <functional>
#include <thread>

#include "engine/io/simulated_crash.h"
#include "engine/pool/discovery.h"
#include "tests/engine/pool/pool_support.h"

namespace mpool::test {
namespace {

CreateOptions options_of_a_tiny_pool() {
  CreateOptions options;
  options.name = "before";
  options.zone_size = 4096;
  options.mdc_count = 2;
  options.mdc0_capacity = 8 * 1024;  // so that MDC0 is compacted from time to time
  options.mdc_capacity = 8 * 1024;
  options.root_capacity = 8 * 1024;
  return options;
}

constexpr std::uint64_t kCapacitySize = 2 * kMiB;
constexpr std::uint64_t kStagingSize = kMiB;

std::unique_ptr<MemoryDevice> device_on(const std::shared_ptr<Media>& media) {
  return std::make_unique<MemoryDevice>("device", media);
}

// A pool of one or two classes with some objects on each.
MediaSet make_pool(std::size_t classes) {
  MediaSet media = {std::make_shared<Media>(kCapacitySize, 512)};
  if (classes == 2) media.push_back(std::make_shared<Media>(kStagingSize, 4096));
  const auto capacity = device_on(media[0]);
  const auto staging = classes == 2 ? device_on(media[1]) : nullptr;
  Pool::create(*capacity, staging.get(), options_of_a_tiny_pool());
  const auto pool = activate(media);
  for (const MediaClass media_class : pool->classes()) {
    for (unsigned i = 0; i < 3; ++i)
      add_mblock(*pool, kPageSize, media_class);
  }
  return media;
}

SuperblockPair superblocks_on(const std::shared_ptr<Media>& media) {
  return read_superblocks(*device_on(media));
}

// Every copy is valid, has the name, and has the same device parameters as the other one.
void expect_name_on_all_copies(const MediaSet& medias, const std::string& name) {
  for (const auto& media : medias) {
    const SuperblockPair pair = superblocks_on(media);
    for (const auto& copy : pair.copies) {
      ASSERT_TRUE(copy);
      EXPECT_EQ(copy->superblock.pool_name, name);
      EXPECT_EQ(copy->superblock.device, pair.chosen->device);
    }
  }
}

// Makes MDC0 rewrite its records and the superblocks.
void compact_mdc0(Pool& pool) {
  const auto before = pool.mdcs()[0].mdc.generations;
  for (unsigned i = 0; pool.mdcs()[0].mdc.generations == before; ++i) {
    ASSERT_LT(i, 1000u) << "MDC0 is never compacted";
    pool.configure({.uid = i});
  }
}

// --- effects ---

TEST(Rename, IsFoundInEveryCopyAndKept) {
  const MediaSet media = make_pool(2);
  const std::string longest(31, 'x');
  {
    const auto pool = activate(media);
    for (const std::string& name : {longest, std::string("a.b-c_9")}) {
      pool->rename(name);
      EXPECT_EQ(pool->name(), name);
      expect_name_on_all_copies(media, name);
    }
    pool->rename(longest);
    compact_mdc0(*pool);
  }
  expect_name_on_all_copies(media, longest);
  EXPECT_EQ(activate(media)->name(), longest);
}

TEST(Rename, RefusesBadNames) {
  const MediaSet media = make_pool(1);
  const auto pool = activate(media);
  for (const std::string& name : {std::string(), std::string(32, 'x'), std::string("a/b"),
                                  std::string("-a"), std::string(".a"), std::string("a b")}) {
    EXPECT_EQ(error_of([&] { pool->rename(name); }), EINVAL) << name;
  }
  EXPECT_EQ(pool->name(), "before");
  expect_name_on_all_copies(media, "before");
}

TEST(Rename, ReachesAMissingDeviceLater) {
  const MediaSet media = make_pool(2);
  activate({media[0]}, {.force = true})->rename("after");
  EXPECT_EQ(superblocks_on(media[1]).chosen->pool_name, "before");
  EXPECT_EQ(activate(media)->name(), "after");
  expect_name_on_all_copies(media, "after");
}

TEST(AddStaging, GivesThePoolASecondClass) {
  MediaSet media = make_pool(1);
  media.push_back(std::make_shared<Media>(kStagingSize, 4096));
  std::vector<ObjectRecord> objects;
  {
    const auto pool = activate({media[0]});
    EXPECT_EQ(pool->classes().size(), 1u);
    pool->add_staging(device_on(media[1]), 8192);
    EXPECT_EQ(pool->class_info(MediaClass::staging).params.zone_count, kStagingSize / 8192);
    EXPECT_EQ(pool->zone_size(MediaClass::staging), 8192u);
    add_mblock(*pool, kPageSize, MediaClass::staging);
    objects = pool->objects();
    EXPECT_EQ(error_of([&] { pool->add_staging(device_on(media[1])); }), EEXIST);
  }
  expect_name_on_all_copies(media, "before");
  EXPECT_EQ(error_of([&] { activate({media[0]}); }), ENODEV);
  {
    const auto pool = activate({media[0]}, {.force = true});
    EXPECT_EQ(error_of([&] { pool->add_staging(device_on(media[1])); }), EEXIST);
  }
  const auto pool = activate(media);
  EXPECT_EQ(pool->objects(), objects);
  EXPECT_EQ(pool->class_info(MediaClass::staging).space.used, 3u);  // with the superblocks'
  compact_mdc0(*pool);
}

TEST(AddStaging, RefusesWhatCannotBeAdded) {
  const MediaSet media = make_pool(1);
  const auto pool = activate(media);
  const auto add = [&](std::uint64_t size, std::optional<std::uint64_t> zone_size) {
    return error_of(
        [&] { pool->add_staging(device_on(std::make_shared<Media>(size, 512)), zone_size); });
  };
  EXPECT_EQ(add(kMiB, 1000), EINVAL);
  EXPECT_EQ(add(kMiB, 2ull << 30), EINVAL);
  EXPECT_EQ(add(16384, 4096), ENOSPC);
  EXPECT_EQ(add(kMiB, kMiB), ENOSPC);
  EXPECT_FALSE(pool->has_class(MediaClass::staging));
  EXPECT_EQ(add(20480, 4096), 0);
}

// A device with complete superblocks that MDC0 does not know, as an interrupted addition by another
// program leaves it: refused, and accepted by adding it again.
TEST(AddStaging, AgainAfterAnotherProgramWasInterrupted) {
  MediaSet media = make_pool(1);
  media.push_back(std::make_shared<Media>(kStagingSize, 512));
  {
    const auto before = std::make_shared<Media>(*media[0]);
    activate({before})->add_staging(device_on(media[1]), 4096);
  }
  EXPECT_EQ(error_of([&] { activate(media); }), ENXIO);
  activate({media[0]})->add_staging(device_on(media[1]), 8192);
  EXPECT_EQ(activate(media)->classes().size(), 2u);
}

TEST(Grow, TakesTheRoomOfBothClassesAtOnce) {
  const MediaSet media = make_pool(2);
  std::vector<ObjectRecord> objects;
  {
    const auto pool = activate(media);
    EXPECT_FALSE(pool->grow(MediaClass::capacity)) << "it did not grow";
    for (std::size_t i = 0; i < media.size(); ++i) {
      const MediaClass media_class = i == 0 ? MediaClass::capacity : MediaClass::staging;
      const std::uint64_t size = media[i]->size();
      media[i]->resize(size + 512);
      EXPECT_FALSE(pool->grow(media_class)) << "less than a zone";
      media[i]->resize(2 * size);
      const SpaceUsage before = pool->class_info(media_class).space;
      EXPECT_TRUE(pool->grow(media_class));
      EXPECT_FALSE(pool->grow(media_class));
      const Pool::ClassInfo info = pool->class_info(media_class);
      EXPECT_EQ(info.space.total, 2 * before.total);
      EXPECT_EQ(info.space.used, before.used);
      EXPECT_EQ(info.params.device_size, 2 * size);
      const ObjectRecord object =
          pool->allocate(ObjectType::mblock, 0, {.media_class = media_class, .near = before.total});
      EXPECT_GE(object.layout.first_zone, before.total);
      pool->device(media_class).write(pool->offset_of(object), AlignedBuffer(kPageSize).span());
      pool->commit(std::span(&object, 1));
    }
    objects = pool->objects();
    compact_mdc0(*pool);
  }
  const auto pool = activate(media);
  EXPECT_EQ(pool->objects(), objects);
  EXPECT_EQ(pool->class_info(MediaClass::staging).params.device_size, 2 * kStagingSize);
  EXPECT_EQ(pool->class_info(MediaClass::capacity).space.total, 2 * kCapacitySize / 4096);
  const auto superblock = *superblocks_on(media[0]).chosen;
  EXPECT_EQ(superblock.mdc0->device, superblock.device);
}

TEST(Grow, RefusesADeviceThatBecameSmaller) {
  const MediaSet media = make_pool(1);
  const auto pool = activate(media);
  media[0]->resize(kCapacitySize / 2);
  EXPECT_EQ(error_of([&] { pool->grow(MediaClass::capacity); }), EINVAL);
  EXPECT_EQ(error_of([&] { pool->grow(MediaClass::staging); }), ENODEV);
  media[0]->resize(16384ull << 30);  // more zones of 4 KiB than 32 bits can number
  EXPECT_EQ(error_of([&] { pool->grow(MediaClass::capacity); }), EINVAL);
}

// Not done by mpoolfs, but possible: the superblock is updated first.
TEST(Grow, IsFinishedWhateverWasWrittenFirst) {
  const MediaSet media = make_pool(1);
  Superblock superblock = *superblocks_on(media[0]).chosen;
  media[0]->resize(2 * kCapacitySize);
  superblock.device.zone_count *= 2;
  superblock.device.device_size *= 2;
  AlignedBuffer block(kSuperblockSize);
  encode_superblock(superblock, block.span());
  for (const std::uint64_t offset : kSuperblockOffsets)
    media[0]->write(offset, block.span());
  for (unsigned round = 0; round < 2; ++round) {
    const auto pool = activate(media);
    EXPECT_EQ(pool->class_info(MediaClass::capacity).space.total, 2 * kCapacitySize / 4096);
    add_mblock(*pool);
    compact_mdc0(*pool);
  }
  media[0]->resize(2 * kCapacitySize - 4096);
  EXPECT_EQ(error_of([&] { activate(media); }), EINVAL);
}

TEST(Spares, AreSetPerClassAndKept) {
  const MediaSet media = make_pool(2);
  const auto percent = [](const Pool& pool, MediaClass media_class) {
    return pool.class_info(media_class).spare_percent;
  };
  {
    const auto pool = activate(media);
    pool->set_spare_percent(MediaClass::staging, 100);
    EXPECT_EQ(error_of([&] { add_mblock(*pool, kPageSize, MediaClass::staging); }), ENOSPC);
    pool->set_spare_percent(MediaClass::staging, 25);
    add_mblock(*pool, kPageSize, MediaClass::staging);
    EXPECT_EQ(error_of([&] { pool->set_spare_percent(MediaClass::capacity, 101); }), EINVAL);
  }
  for (unsigned round = 0; round < 2; ++round) {
    const auto pool = activate(media);
    EXPECT_EQ(percent(*pool, MediaClass::staging), 25u);
    EXPECT_EQ(percent(*pool, MediaClass::capacity), 5u);
    compact_mdc0(*pool);
  }
  const auto pool = activate({media[0]}, {.force = true});
  EXPECT_EQ(error_of([&] { pool->set_spare_percent(MediaClass::staging, 1); }), ENODEV);
}

TEST(Configure, ChangesWhatIsGivenAndNothingElse) {
  const MediaSet media = make_pool(1);
  ConfigRecord expected = activate(media)->config();
  const Uuid type = Uuid::random();
  {
    const auto pool = activate(media);
    pool->configure({.uid = 7, .label = "mine"});
    pool->configure({.gid = 8,
                     .mode = 01750,
                     .user_type = type,
                     .max_readahead_pages = 64,
                     .max_map_shift = 40});
    pool->configure({});
  }
  expected.uid = 7;
  expected.gid = 8;
  expected.mode = 01750;
  expected.label = "mine";
  expected.user_type = type;
  expected.max_readahead_pages = 64;
  expected.max_map_shift = 40;
  EXPECT_EQ(activate(media)->config(), expected);
  const auto pool = activate(media);
  EXPECT_EQ(error_of([&] { pool->configure({.uid = 1, .mode = 010000}); }), EINVAL);
  EXPECT_EQ(error_of([&] { pool->configure({.uid = 1, .label = std::string(64, 'x')}); }), EINVAL);
  EXPECT_EQ(error_of([&] { pool->configure({.uid = 1, .max_map_shift = 11}); }), EINVAL);
  EXPECT_EQ(error_of([&] { pool->configure({.uid = 1, .max_map_shift = 64}); }), EINVAL);
  EXPECT_EQ(pool->config(), expected);
}

TEST(Changes, WhileObjectsComeAndGo) {
  MediaSet media = make_pool(1);
  const auto pool = activate(media);
  media.push_back(std::make_shared<Media>(kStagingSize, 512));
  std::atomic<bool> stop = false;
  std::vector<std::jthread> workers;
  for (unsigned i = 0; i < 3; ++i) {
    workers.emplace_back([&] {
      while (!stop) {
        for (const MediaClass media_class : pool->classes())
          remove_object(*pool, add_mblock(*pool, kPageSize, media_class).id);
        EXPECT_FALSE(pool->name().empty());
      }
    });
  }
  for (unsigned i = 1; i <= 20; ++i) {
    pool->rename(fmt::format("name{}", i));
    pool->configure({.uid = i});
    pool->set_spare_percent(MediaClass::capacity, i);
    media[0]->resize(media[0]->size() + 16 * 4096);
    EXPECT_TRUE(pool->grow(MediaClass::capacity));
    if (i == 10) pool->add_staging(device_on(media[1]), 4096);
  }
  stop = true;
  workers.clear();
  const auto objects = pool->objects();
  EXPECT_EQ(objects.size(), 5u);
  EXPECT_EQ(pool->name(), "name20");
}

// --- crashes and failures ---

// A change of a pool, and whether it was made.
struct Change {
  std::string name;
  std::size_t classes = 1;                                    // of the pool before it
  std::function<void(MediaSet&)> prepare = [](MediaSet&) {};  // after making the pool
  // `fresh`: a new device that is being watched, too.
  std::function<void(Pool&, std::unique_ptr<Device> fresh)> make;
  std::function<bool(const Pool&)> made;
};

std::vector<Change> all_changes() {
  std::vector<Change> changes;
  changes.push_back({.name = "rename",
                     .classes = 2,
                     .make = [](Pool& pool, auto) { pool.rename("after"); },
                     .made = [](const Pool& pool) { return pool.name() == "after"; }});
  changes.push_back(
      {.name = "add",
       .make = [](Pool& pool,
                  std::unique_ptr<Device> fresh) { pool.add_staging(std::move(fresh), 4096); },
       .made = [](const Pool& pool) { return pool.has_class(MediaClass::staging); }});
  changes.push_back({.name = "grow capacity",
                     .prepare = [](MediaSet& media) { media[0]->resize(2 * kCapacitySize); },
                     .make = [](Pool& pool, auto) { EXPECT_TRUE(pool.grow(MediaClass::capacity)); },
                     .made =
                         [](const Pool& pool) {
                           return pool.class_info(MediaClass::capacity).params.device_size >
                                  kCapacitySize;
                         }});
  changes.push_back({.name = "grow staging",
                     .classes = 2,
                     .prepare = [](MediaSet& media) { media[1]->resize(2 * kStagingSize); },
                     .make = [](Pool& pool, auto) { EXPECT_TRUE(pool.grow(MediaClass::staging)); },
                     .made =
                         [](const Pool& pool) {
                           return pool.class_info(MediaClass::staging).params.device_size >
                                  kStagingSize;
                         }});
  changes.push_back(
      {.name = "spare",
       .make = [](Pool& pool, auto) { pool.set_spare_percent(MediaClass::capacity, 9); },
       .made =
           [](const Pool& pool) {
             return pool.class_info(MediaClass::capacity).spare_percent == 9;
           }});
  changes.push_back({.name = "configure, often",
                     .make =
                         [](Pool& pool, auto) {
                           pool.configure({.label = "after"});
                           compact_mdc0(pool);
                         },
                     .made = [](const Pool& pool) { return pool.config().label == "after"; }});
  return changes;
}

// The media whose superblocks name the pool, found by its UUID.
MediaSet found_of(const MediaSet& medias, const Uuid& uuid) {
  MediaSet found;
  for (const auto& media : medias) {
    const SuperblockPair pair = superblocks_on(media);
    if (pair.chosen && pair.chosen->pool_uuid == uuid) found.push_back(media);
  }
  return found;
}

// The pool on the media is intact: it has those objects, and can be used, also after another
// activation. Returns whether the change was made.
bool expect_whole(const Change& change, const MediaSet& medias, const Uuid& uuid,
                  std::vector<ObjectRecord> objects) {
  bool made = false;
  for (unsigned round = 0; round < 2; ++round) {
    const MediaSet found = found_of(medias, uuid);
    {
      const auto pool = activate(found);
      EXPECT_EQ(pool->objects(), objects);
      EXPECT_TRUE(round == 0 || change.made(*pool) == made);
      made = change.made(*pool);
      for (const MediaClass media_class : pool->classes())
        add_mblock(*pool, kPageSize, media_class);
      objects = pool->objects();
    }
    expect_name_on_all_copies(found, made && change.name == "rename" ? "after" : "before");
  }
  return made;
}

// The change on watched devices: `before` and `after` see each write.
void run(const Change& change, const MediaSet& media, const MemoryDevice::WriteHook& before,
         const std::function<void()>& after) {
  std::vector<std::unique_ptr<Device>> devices;
  std::unique_ptr<Device> fresh;
  for (std::size_t i = 0; i < media.size(); ++i) {
    auto device = device_on(media[i]);
    device->before_write(before);
    device->after_write(after);
    if (i < change.classes) {
      devices.push_back(std::move(device));
    } else {
      fresh = std::move(device);
    }
  }
  const auto pool = Pool::activate(std::move(devices));
  change.make(*pool, std::move(fresh));
}

// The media before a change, and their content.
struct Start {
  MediaSet media;
  Uuid uuid;
  std::vector<ObjectRecord> objects;
};

Start start_of(const Change& change) {
  Start start{.media = make_pool(change.classes), .uuid = {}, .objects = {}};
  {
    const auto pool = activate(start.media);
    start.uuid = pool->uuid();
    start.objects = pool->objects();
  }
  change.prepare(start.media);
  if (change.classes == 1) start.media.push_back(std::make_shared<Media>(kStagingSize, 512));
  return start;
}

TEST(Changes, CrashAfterEveryWrite) {
  for (const Change& change : all_changes()) {
    SCOPED_TRACE(change.name);
    const auto [media, uuid, objects] = start_of(change);
    std::vector<MediaSet> states = {copy_of(media)};
    run(change, media, nullptr, [&, &media = media] { states.push_back(copy_of(media)); });
    bool made = false;
    for (std::size_t i = 0; i < states.size(); ++i) {
      SCOPED_TRACE(i);
      const bool was_made = made;
      made = expect_whole(change, states[i], uuid, objects);
      EXPECT_TRUE(made || !was_made) << "undone after it was made";
      EXPECT_FALSE(made && i == 0);
    }
    EXPECT_TRUE(made);
  }
}

TEST(Changes, FailureOfEveryWrite) {
  for (const Change& change : all_changes()) {
    SCOPED_TRACE(change.name);
    bool completed = false;
    for (unsigned fail_at = 0; !completed && fail_at < 1000; ++fail_at) {
      SCOPED_TRACE(fail_at);
      const auto [media, uuid, objects] = start_of(change);
      unsigned writes = 0;
      const auto fail = [&](std::uint64_t, ConstByteSpan) {
        if (writes++ == fail_at) throw Error(EIO, "device", "made to fail");
      };
      const int code = error_of([&] { run(change, media, fail, nullptr); });
      completed = writes <= fail_at;
      EXPECT_EQ(code, completed ? 0 : EIO);
      EXPECT_TRUE(expect_whole(change, media, uuid, objects) || !completed);
    }
    EXPECT_TRUE(completed);
  }
}

}  // namespace
}  // namespace mpool::test
