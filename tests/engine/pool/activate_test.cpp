// Activations that are refused, and that they write nothing.
#include <cerrno>

#include "engine/format/superblock.h"
#include "engine/pool/discovery.h"
#include "tests/engine/pool/pool_support.h"
#include "tests/support/captured_log.h"

namespace mpool::test {
namespace {

using Medias = std::vector<std::shared_ptr<Media>>;

Medias two_classes(const std::string& name = "p") {
  const Medias media = {std::make_shared<Media>(16 * kMiB, 512),
                        std::make_shared<Media>(8 * kMiB, 4096)};
  MemoryDevice capacity("c", media[0]);
  MemoryDevice staging("s", media[1]);
  CreateOptions options = small_options();
  options.name = name;
  Pool::create(capacity, &staging, options);
  return media;
}

int activation_error(const Medias& media, const ActivateOptions& options = {}) {
  return error_of([&] { activate(media, options); });
}

Superblock superblock_of(const std::shared_ptr<Media>& media) {
  MemoryDevice device("d", media);
  return *read_superblocks(device).chosen;
}

void write_copy(Media& media, std::size_t copy, const Superblock& superblock) {
  AlignedBuffer block(kSuperblockSize);
  encode_superblock(superblock, block.span());
  media.write(kSuperblockOffsets[copy], block.span());
}

// Changes bytes of a copy as it lies on the media.
void flip(Media& media, std::uint64_t at) {
  AlignedBuffer page(kPageSize);
  media.read(round_down(at, kPageSize), page.span());
  page.data()[at % kPageSize] ^= std::byte{0xff};
  media.write(round_down(at, kPageSize), page.span());
}

// Changes an MDC of a pool that is not active.
void change_mdc(const std::shared_ptr<Media>& media, unsigned slot,
                const std::function<void(Mdc&)>& change) {
  std::array<Mdc::Half, 2> halves;
  Superblock superblock = superblock_of(media);
  MemoryDevice device("d", media);
  const auto location = [&](const Layout& layout, const Uuid& uuid, std::uint64_t generation) {
    return MlogLocation{.device = &device,
                        .offset = layout.first_zone * superblock.device.zone_size(),
                        .capacity = layout.zone_count * superblock.device.zone_size(),
                        .sector_size = superblock.device.sector_size(),
                        .uuid = uuid,
                        .generation = generation,
                        .name = "test"};
  };
  std::map<ObjectId, ObjectRecord> mlogs;
  {
    const auto pool = activate({media});
    pool->read_mdc(0, [&](ConstByteSpan bytes) {
      const auto decoded = decode_record(bytes);
      if (const auto* object = std::get_if<ObjectRecord>(&*decoded)) mlogs[object->id] = *object;
      if (const auto* erase = std::get_if<EraseRecord>(&*decoded)) {
        mlogs[erase->id].generation = erase->generation;
      }
    });
  }
  for (unsigned i = 0; i < 2; ++i) {
    const auto& mdc0 = superblock.mdc0->halves[i];
    const ObjectRecord& mlog = mlogs[mdc_log_id(slot, i)];
    halves[i].id = mdc_log_id(slot, i);
    halves[i].location = slot == 0 ? location(mdc0.layout, mdc0.uuid, mdc0.generation)
                                   : location(mlog.layout, mlog.uuid, mlog.generation);
  }
  // Only MDC0's own generations are recorded: no other MDC is compacted here.
  const auto mdc = Mdc::open("test", halves, [&](ObjectId half, std::uint64_t generation) {
    ASSERT_EQ(slot, 0u);
    superblock.mdc0->halves[half == mdc_log_id(0, 0) ? 0 : 1].generation = generation;
    for (const std::size_t copy : {0, 1})
      write_copy(*media, copy, superblock);
  });
  change(*mdc);
}

void append_to_mdc(const std::shared_ptr<Media>& media, unsigned slot,
                   const MetadataRecord& record) {
  change_mdc(media, slot, [&](Mdc& mdc) { mdc.sync(mdc.append(encode_record(record).span())); });
}

// Puts a version record before all others.
void set_version(const std::shared_ptr<Media>& media, const VersionRecord& version) {
  change_mdc(media, 0, [&](Mdc& mdc) {
    std::vector<std::vector<std::byte>> records;
    MlogReader reader = mdc.reader();
    for (std::vector<std::byte> record; reader.next(record);)
      records.push_back(record);
    mdc.compact([&](const Mdc::Append& append) {
      append(encode_record(version).span());
      for (const auto& record : records)
        append(record);
    });
  });
}

TEST(Activate, NoDeviceOrNoPool) {
  EXPECT_EQ(activation_error({}), EINVAL);
  EXPECT_EQ(activation_error({std::make_shared<Media>(kMiB, 512)}), EBADMSG);
  EXPECT_EQ(activation_error({std::make_shared<Media>(4096, 512)}), EBADMSG);
}

TEST(Activate, DevicesThatDoNotBelongTogether) {
  const Medias a = two_classes("a");
  const Medias b = two_classes("b");
  EXPECT_EQ(activation_error({a[0], b[1]}), EINVAL);
  EXPECT_EQ(activation_error({a[0], a[0]}), EINVAL);
  EXPECT_EQ(activation_error({a[0], a[1], a[1]}), EINVAL);
  EXPECT_EQ(activation_error({a[1]}), ENODEV);
  EXPECT_EQ(activation_error({a[0]}), ENODEV);
  EXPECT_EQ(activation_error({a[0]}, {.force = true}), 0);
  EXPECT_EQ(activation_error({a[1], a[0]}), 0);
}

TEST(Activate, WithoutStagingWhenForced) {
  const Medias media = two_classes();
  ObjectRecord staged;
  {
    const auto pool = activate(media);
    staged = add_mblock(*pool, kPageSize, MediaClass::staging);
  }
  {
    const auto pool = activate({media[0]}, {.force = true});
    EXPECT_FALSE(pool->has_class(MediaClass::staging));
    EXPECT_EQ(pool->find(staged.id), staged);
    EXPECT_EQ(error_of([&] { pool->offset_of(staged); }), ENODEV);
    add_mblock(*pool);
  }
  EXPECT_EQ(activate(media)->find(staged.id), staged);
}

TEST(Activate, DeviceSmallerThanRecorded) {
  const auto media = create(small_options());
  auto shrunk = std::make_shared<Media>(15 * kMiB, 512);
  AlignedBuffer buffer(15 * kMiB);
  media->read(0, buffer.span());
  shrunk->write(0, buffer.span());
  EXPECT_EQ(activation_error({shrunk}), EINVAL);
}

TEST(Activate, SuperblockAndMdc0Disagree) {
  const auto media = create(small_options());
  Superblock superblock = superblock_of(media);
  superblock.device.zone_count -= 1;
  for (const std::size_t copy : {0, 1})
    write_copy(*media, copy, superblock);
  EXPECT_EQ(activation_error({media}), EINVAL);
}

TEST(Activate, UsesTheGoodCopyAndRepairsTheOther) {
  for (const std::uint64_t copy : kSuperblockOffsets) {
    for (const std::uint64_t at : {0, 10, 45, 80, 100, 121}) {
      SCOPED_TRACE(copy + at);
      CreateOptions options = small_options();
      options.zone_size = 4096;
      options.mdc0_capacity = 4096;
      options.mdc_capacity = 4096;
      const auto media = create(options);
      flip(*media, copy + at);
      {
        const auto pool = activate({media});
        // MDC0 is compacted, which writes the superblocks.
        const auto before = pool->mdcs()[0].mdc.generations;
        for (unsigned i = 0; pool->mdcs()[0].mdc.generations == before && i < 100000; ++i) {
          remove_object(*pool, add_mblock(*pool).id);
        }
      }
      MemoryDevice device("d", media);
      const SuperblockPair pair = read_superblocks(device);
      EXPECT_TRUE(pair.copies[0] && pair.copies[1]);
      EXPECT_FALSE(pair.needs_repair);
      EXPECT_EQ(activation_error({media}), 0);
    }
  }
}

TEST(Activate, MessagesGoToTheLoggerOfThePool) {
  const CapturedLog log_of_good;
  const CapturedLog log_of_bad;
  const auto open = [](const std::shared_ptr<Media>& media, const CapturedLog& log) {
    return activate({media}, {.logger = log.logger()});
  };
  const auto good = create(small_options());
  const auto bad = create(small_options());
  flip(*bad, kSuperblockOffsets[1]);
  const auto pool_of_bad = open(bad, log_of_bad);
  const auto pool_of_good = open(good, log_of_good);
  EXPECT_EQ(log_of_bad.lines_with("superblock 1 is bad"), 1u);
  EXPECT_EQ(log_of_good.lines_with(""), 0u);
  pool_of_good->log().info("of the good one");
  EXPECT_EQ(log_of_good.lines_with("good"), 1u);
  EXPECT_EQ(log_of_bad.lines_with("good"), 0u);
}

TEST(Activate, BothCopiesBad) {
  const auto media = create(small_options());
  flip(*media, 0);
  flip(*media, 8192 + 80);
  EXPECT_EQ(activation_error({media}), EBADMSG);
}

// Without the checksum of mpoolfs the right copy of MDC0's location is unknown.
TEST(Activate, RefusesWhenThePlaceOfMdc0IsInDoubt) {
  const auto media = create(small_options());
  for (const std::uint64_t copy : kSuperblockOffsets) {
    AlignedBuffer block(kSuperblockSize);
    media->read(copy, block.span());
    store_le<std::uint32_t>(block.span(), 124, 0);
    media->write(copy, block.span());
  }
  EXPECT_EQ(activation_error({media}), 0);
  flip(*media, 136);
  auto device = std::make_unique<MemoryDevice>("d", media);
  unsigned writes = 0;
  device->before_write([&](std::uint64_t, ConstByteSpan) { ++writes; });
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::move(device));
  EXPECT_EQ(error_of([&] { Pool::activate(std::move(devices)); }), EBADMSG);
  EXPECT_EQ(writes, 0u);
}

TEST(Activate, Mdc0PlaceOutOfRangeOrElsewhere) {
  const auto media = create(small_options());
  const Superblock good = superblock_of(media);
  const auto refused = [&](auto change) {
    Superblock bad = good;
    change(*bad.mdc0);
    for (const std::size_t copy : {0, 1})
      write_copy(*media, copy, bad);
    return activation_error({media});
  };
  EXPECT_EQ(refused([](auto& mdc0) { mdc0.halves[0].layout.first_zone = 0; }), ENOTRECOVERABLE);
  EXPECT_EQ(refused([](auto& mdc0) { mdc0.halves[1].layout.first_zone = UINT64_MAX; }),
            ENOTRECOVERABLE);
  EXPECT_EQ(refused([](auto& mdc0) { mdc0.halves[1].layout.zone_count = UINT32_MAX; }),
            ENOTRECOVERABLE);
  EXPECT_EQ(refused([](auto& mdc0) { mdc0.halves[1].layout = mdc0.halves[0].layout; }),
            ENOTRECOVERABLE);
  EXPECT_EQ(refused([](auto& mdc0) { mdc0.halves[0].device_uuid = Uuid::random(); }),
            ENOTRECOVERABLE);
  EXPECT_EQ(refused([](auto& mdc0) { mdc0.halves[0].uuid = Uuid::random(); }), ENXIO);
  EXPECT_EQ(refused([](auto&) {}), 0);
}

TEST(Activate, Versions) {
  const auto media = create(small_options());
  const auto with_version = [&](const VersionRecord& version) {
    const auto copy = std::make_shared<Media>(*media);
    set_version(copy, version);
    return activation_error({copy});
  };
  EXPECT_EQ(with_version({{1, 0, 0, 0}}), 0);
  EXPECT_EQ(with_version({{0, 9, 0, 0}}), 0);
  EXPECT_EQ(with_version({{1, 0, 0, 1}}), ENOTSUP);
  EXPECT_EQ(with_version({{1, 1, 0, 0}}), ENOTSUP);
  EXPECT_EQ(with_version({{2, 0, 0, 0}}), ENOTSUP);
  append_to_mdc(media, 0, VersionRecord{{1, 0, 0, 0}});
  EXPECT_EQ(activation_error({media}), ENOTRECOVERABLE) << "not the first record";
}

class Corrupt : public testing::Test {
 protected:
  Corrupt() : media_(create(small_options())) {
    const auto pool = activate({media_});
    for (unsigned i = 0; i < 4; ++i)
      objects_.push_back(add_mblock(*pool));
  }
  int with(unsigned slot, const MetadataRecord& record) {
    auto copy = std::make_shared<Media>(*media_);
    append_to_mdc(copy, slot, record);
    return activation_error({copy});
  }
  ObjectRecord object(std::uint64_t uniquifier, std::uint8_t slot) const {
    ObjectRecord record = objects_[0];
    record.id = ObjectId::make(uniquifier, ObjectType::mblock, slot);
    record.layout = {.zone_count = 1, .first_zone = 200};
    return record;
  }
  std::shared_ptr<Media> media_;
  std::vector<ObjectRecord> objects_;
};

TEST_F(Corrupt, RecordsAreRefused) {
  const ObjectRecord existing = objects_[0];
  const unsigned slot = existing.id.slot();
  EXPECT_EQ(with(1, object(300, 1)), 0);
  EXPECT_EQ(with(1, object(300, 2)), ENOTRECOVERABLE) << "another slot's";
  EXPECT_EQ(with(slot, existing), ENOTRECOVERABLE) << "a duplicate";
  EXPECT_EQ(with(1, DeleteRecord{ObjectId::make(77, ObjectType::mblock, 1)}), ENOTRECOVERABLE);
  EXPECT_EQ(with(1, DeleteRecord{ObjectId::make(300, ObjectType::mblock, 2)}), ENOTRECOVERABLE);
  EXPECT_EQ(with(1, EraseRecord{ObjectId::make(77, ObjectType::mlog, 1), 4}), ENOTRECOVERABLE);
  EXPECT_EQ(with(slot, EraseRecord{existing.id, 4}), ENOTRECOVERABLE) << "not a mlog";
  EXPECT_EQ(with(1, CheckpointRecord{ObjectId::make(512, ObjectType::mblock, 2)}), ENOTRECOVERABLE);
  EXPECT_EQ(with(1, SpareRecord{MediaClass::capacity, 3}), ENOTRECOVERABLE);
  EXPECT_EQ(with(0, CheckpointRecord{ObjectId::make(512, ObjectType::mblock, 0)}), ENOTRECOVERABLE);
  EXPECT_EQ(with(0, object(4, 0)), ENOTRECOVERABLE) << "no mlog of an MDC";

  ObjectRecord update = existing;
  update.update = true;
  update.written_length = 1;
  EXPECT_EQ(with(slot, update), 0);
  ObjectRecord moved = update;
  moved.layout.first_zone = 200;
  EXPECT_EQ(with(slot, moved), ENOTRECOVERABLE) << "an mblock stays in its zone";
  update.id = ObjectId::make(77, ObjectType::mblock, static_cast<std::uint8_t>(slot));
  EXPECT_EQ(with(slot, update), ENOTRECOVERABLE);

  ObjectRecord bad = object(300, 1);
  bad.layout = {.zone_count = 0, .first_zone = 200};
  EXPECT_EQ(with(1, bad), ENOTRECOVERABLE);
  bad.layout = {.zone_count = 2, .first_zone = 255};
  EXPECT_EQ(with(1, bad), ENOTRECOVERABLE);
  bad.layout = {.zone_count = UINT32_MAX, .first_zone = UINT64_MAX};
  EXPECT_EQ(with(1, bad), ENOTRECOVERABLE);
  bad = object(300, 1);
  bad.written_length = 65537;
  EXPECT_EQ(with(1, bad), ENOTRECOVERABLE);
  bad = object(300, 1);
  bad.media_class = MediaClass::staging;
  EXPECT_EQ(with(1, bad), ENOTRECOVERABLE);
}

TEST_F(Corrupt, OverlapNamesBothObjects) {
  ObjectRecord bad = object(300, 1);
  bad.layout = objects_[2].layout;
  append_to_mdc(media_, 1, bad);
  try {
    activate({media_});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOTRECOVERABLE);
    EXPECT_NE(error.detail().find(bad.id.to_string()), std::string::npos) << error.what();
    EXPECT_NE(error.detail().find(objects_[2].id.to_string()), std::string::npos) << error.what();
  }
}

TEST_F(Corrupt, MlogOfAnIncompletePairInTheMiddle) {
  ObjectRecord lone = object(0, 0);
  lone.id = mdc_log_id(5, 0);
  lone.uuid = Uuid::random();
  EXPECT_EQ(with(0, lone), ENOTRECOVERABLE);
  lone.id = mdc_log_id(3, 0);
  EXPECT_EQ(with(0, lone), 0) << "deleted: its creation was interrupted";
}

TEST(Activate, BadMdcCountOnlyMattersForAnUnfinishedPool) {
  EXPECT_EQ(activation_error({create(small_options())}, {.mdc_count = 300}), 0);
}

TEST(Activate, ManyObjects) {
  CreateOptions options;
  options.name = "many";
  options.zone_size = 4096;
  options.mdc_count = 8;
  options.mdc_capacity = kMiB;
  const auto media = create(options, 512 * kMiB);
  {
    const auto pool = activate({media});
    for (unsigned i = 0; i < 50; ++i) {
      std::vector<ObjectRecord> objects;
      for (unsigned j = 0; j < 1000; ++j)
        objects.push_back(pool->allocate(ObjectType::mblock, 0, {}));
      pool->commit(objects);
    }
  }
  for (const unsigned jobs : {0u, 1u, 8u}) {
    EXPECT_EQ(activate({media}, {.load_jobs = jobs})->objects().size(), 50002u);
  }
}

}  // namespace
}  // namespace mpool::test
