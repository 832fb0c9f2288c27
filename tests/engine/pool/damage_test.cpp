// One damaged block or page of a metadata log: activation refuses and writes nothing; with the
// block restored everything is present; over an overlay the readable part is shown.
#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>

#include "engine/format/log_block.h"
#include "engine/io/overlay_device.h"
#include "engine/pool/discovery.h"
#include "tests/engine/pool/pool_support.h"

namespace mpool::test {
namespace {

using Bytes = std::vector<std::byte>;

// The whole content of a pool.
struct Content {
  std::vector<ObjectId> objects;
  std::vector<Bytes> root;
  bool operator==(const Content&) const = default;
};

Content content_of(Pool& pool) {
  Content content;
  for (const ObjectRecord& object : pool.objects())
    content.objects.push_back(object.id);
  const auto root = pool.open_root_mdc();
  MlogReader reader = root->reader();
  for (Bytes record; reader.next(record);)
    content.root.push_back(record);
  return content;
}

// The location of the active half of an MDC.
struct LogPlace {
  std::string name;
  std::uint64_t offset = 0;  // bytes
  std::uint32_t blocks = 0;
  // The first block of the last flush set: from there on damage may look like a torn flush.
  std::uint32_t last_set = 0;
};

class PoolDamage : public testing::TestWithParam<std::uint32_t> {
 protected:
  PoolDamage() : media_(create(small_options(), 16 * kMiB, GetParam())) {
    for (unsigned life = 0; life < 4; ++life) {
      const auto pool = activate({media_});
      for (unsigned i = 0; i < 24; ++i)
        add_mblock(*pool);
      Pool::Settings settings;
      for (unsigned i = 0; i < 4; ++i) {
        settings.uid = 10 * life + i;
        pool->configure(settings);
      }
      const auto root = pool->open_root_mdc();
      for (unsigned i = 0; i < 12; ++i) {
        const Bytes record(180 + i, std::byte{static_cast<unsigned char>(life)});
        root->sync(root->append(record));
      }
    }
    const auto pool = activate({media_});
    content_ = content_of(*pool);
    find_logs(*pool);
  }

  void find_logs(Pool& pool) {
    MemoryDevice device("d", media_);
    const Superblock superblock = *read_superblocks(device).chosen;
    const std::uint64_t zone = superblock.device.zone_size();
    const auto mdcs = pool.mdcs();
    std::map<ObjectId, std::uint64_t> offsets;
    pool.read_mdc(0, [&](ConstByteSpan bytes) {
      const auto record = decode_record(bytes);
      if (const auto* mlog = std::get_if<ObjectRecord>(&*record)) {
        offsets[mlog->id] = mlog->layout.first_zone * zone;
      }
    });
    for (unsigned i = 0; i < 2; ++i)
      offsets[mdc_log_id(0, i)] = superblock.mdc0->halves[i].layout.first_zone * zone;
    for (const auto& mdc : mdcs) {
      add_log(fmt::format("MDC{}", mdc.slot), offsets[mdc.mdc.ids[mdc.mdc.active]],
              pool.mdc_states()[mdc.slot].end.blocks);
    }
    const auto root = pool.open_root_mdc();
    add_log("root MDC", pool.offset_of(*pool.find(root_log_id(root->stats().active))),
            root->state().end.blocks);
  }
  void add_log(const std::string& name, std::uint64_t offset, std::uint32_t blocks) {
    LogPlace log{.name = name, .offset = offset, .blocks = blocks};
    for (std::uint32_t index = 0; index < blocks; ++index) {
      const std::uint64_t at = offset + std::uint64_t{index} * GetParam();
      const auto header = LogBlockHeader::load(read(at, GetParam()));
      ASSERT_TRUE(header);
      if (header->previous_flush_set != header->flush_set) log.last_set = index;
    }
    ASSERT_GT(log.last_set, 1u) << name;
    logs_.push_back(log);
  }

  Bytes read(std::uint64_t offset, std::size_t length) const {
    AlignedBuffer page(kPageSize);
    media_->read(round_down(offset, kPageSize), page.span());
    const ConstByteSpan bytes = page.span(offset % kPageSize, length);
    return {bytes.begin(), bytes.end()};
  }
  void write(std::uint64_t offset, ConstByteSpan bytes) const {
    AlignedBuffer page(kPageSize);
    media_->read(round_down(offset, kPageSize), page.span());
    std::ranges::copy(bytes, page.data() + offset % kPageSize);
    media_->write(round_down(offset, kPageSize), page.span());
  }

  // Activates and opens the root MDC; returns the error, whose message has `name` and the location.
  // Nothing may be written.
  int open_damaged(const LogPlace& log, std::uint64_t at) {
    auto device = std::make_unique<MemoryDevice>("dev", media_);
    unsigned writes = 0;
    device->before_write([&](std::uint64_t, ConstByteSpan) { ++writes; });
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(device));
    try {
      const auto pool = Pool::activate(std::move(devices));
      content_of(*pool);
      return 0;
    } catch (const Error& error) {
      EXPECT_EQ(writes, 0u) << error.what();
      const std::string what = error.what();
      EXPECT_NE(what.find("log block "), std::string::npos) << what;
      EXPECT_NE(what.find(fmt::format("byte {} of dev", at)), std::string::npos) << what;
      EXPECT_NE(what.find("nothing was written"), std::string::npos) << what;
      EXPECT_NE(what.find(log.name), std::string::npos) << what;
      return error.code();
    }
  }

  std::unique_ptr<Pool> activate_overlay() const {
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(
        std::make_unique<OverlayDevice>(std::make_unique<MemoryDevice>("dev", media_)));
    ActivateOptions options;
    options.on_damage = OnDamage::report;
    return Pool::activate(std::move(devices), options);
  }

  // The readable content must be a part of the original content.
  void expect_readable() const {
    const auto pool = activate_overlay();
    EXPECT_LE(pool->objects().size(), content_.objects.size());
    int error = 0;
    if (pool->find(root_log_id(0))) {
      const Content found = content_of(*pool);
      EXPECT_LE(found.root.size(), content_.root.size());
      EXPECT_TRUE(std::ranges::includes(content_.objects, found.objects));
    } else {
      error = error_of([&] { pool->open_root_mdc(); });
      EXPECT_EQ(error, ENOENT);
    }
    EXPECT_FALSE(pool->damage().empty());
  }
  void expect_whole() const {
    const auto pool = activate({media_});
    EXPECT_EQ(content_of(*pool), content_);
    EXPECT_TRUE(pool->damage().empty());
  }

  std::shared_ptr<Media> media_;
  Content content_;
  std::vector<LogPlace> logs_;
};

TEST_P(PoolDamage, OneBlock) {
  const auto damages = {
      +[](Bytes& block) { block[0] ^= std::byte{1}; },   // version
      +[](Bytes& block) { block[9] ^= std::byte{64}; },  // magic
      +[](Bytes& block) { block[25] ^= std::byte{1}; },  // previous id
      +[](Bytes& block) { block[33] ^= std::byte{1}; },  // generation
      +[](Bytes& block) { std::ranges::fill(block, std::byte{}); },
  };
  for (const LogPlace& log : logs_) {
    for (std::uint32_t index = 0; index < log.last_set; ++index) {
      for (const auto& damage : damages) {
        SCOPED_TRACE(fmt::format("{} block {}", log.name, index));
        const std::uint64_t at = log.offset + std::uint64_t{index} * GetParam();
        const Bytes good = read(at, GetParam());
        Bytes bad = good;
        damage(bad);
        write(at, bad);
        EXPECT_EQ(open_damaged(log, at), ENOTRECOVERABLE);
        expect_readable();
        write(at, good);
      }
    }
  }
  expect_whole();
}

TEST_P(PoolDamage, OnePage) {
  for (const LogPlace& log : logs_) {
    const std::uint32_t per_page = static_cast<std::uint32_t>(kPageSize) / GetParam();
    for (std::uint32_t index = 0; index + per_page <= log.last_set; index += per_page) {
      SCOPED_TRACE(fmt::format("{} block {}", log.name, index));
      const std::uint64_t at = log.offset + std::uint64_t{index} * GetParam();
      const Bytes good = read(at, kPageSize);
      write(at, Bytes(kPageSize));
      EXPECT_EQ(open_damaged(log, at), ENOTRECOVERABLE);
      expect_readable();
      write(at, good);
    }
  }
  expect_whole();
}

// The first block of every MDC that has only one.
TEST(PoolDamageOfNew, TheOnlyBlock) {
  for (const std::uint32_t sector : {512u, 4096u}) {
    const auto media = create(small_options(), 16 * kMiB, sector);
    {
      const auto pool = activate({media});
      pool->open_root_mdc();
    }
    std::vector<std::uint64_t> first_blocks;
    AlignedBuffer page(kPageSize);
    for (std::uint64_t at = 64 * 1024; at < media->size(); at += 64 * 1024) {
      media->read(at, page.span());
      const auto header = LogBlockHeader::load(page.span());
      if (header && header->previous_flush_set == 0) first_blocks.push_back(at);
    }
    ASSERT_EQ(first_blocks.size(), 4u) << "MDC0 to MDC2 and the root MDC";
    for (const std::uint64_t at : first_blocks) {
      for (const bool zero : {true, false}) {
        media->read(at, page.span());
        const Media good = *media;
        if (zero) {
          std::ranges::fill(page.span(), std::byte{});
        } else {
          page.data()[7] ^= std::byte{1};
        }
        media->write(at, page.span());
        const int error = error_of([&] { activate({media})->open_root_mdc(); });
        // An MDC0 without any record may be a pool whose creation never finished.
        EXPECT_TRUE(error == ENOTRECOVERABLE || error == ENXIO) << error << " at " << at;
        AlignedBuffer whole(kPageSize);
        good.read(at, whole.span());
        media->write(at, whole.span());
        for (std::uint64_t other = 0; other < media->size(); other += kPageSize)
          ASSERT_EQ(media->page(other) == nullptr, good.page(other) == nullptr) << other;
      }
    }
    EXPECT_EQ(error_of([&] { activate({media})->open_root_mdc(); }), 0);
  }
}

TEST(PoolDamageOfNew, WhatIsFoundIsFlushedFirst) {
  const auto media = create(small_options());
  const auto history = std::make_shared<SimulatedHistory>();
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::make_unique<SimulatedDevice>(
      "d", media, SimulatedDevice::Options{.history = history, .faults = nullptr}));
  const auto pool = Pool::activate(std::move(devices));
  const auto operations = history->operations();
  ASSERT_FALSE(operations.empty());
  EXPECT_EQ(operations.front().kind, SimulatedOperation::Kind::flush);
}

TEST(PoolDamageOfNew, ReportsOnlyOverDevicesThatKeepNothing) {
  ActivateOptions options;
  options.on_damage = OnDamage::report;
  EXPECT_EQ(error_of([&] { activate({create(small_options())}, options); }), EINVAL);
}

INSTANTIATE_TEST_SUITE_P(Sectors, PoolDamage, testing::Values(512u, 4096u));

}  // namespace
}  // namespace mpool::test
