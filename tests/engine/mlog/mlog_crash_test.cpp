// Crashes and failures: synced records are present, records are complete and in order, and blocks
// behind the end of the log never reappear.
#include <cstring>
#include <optional>

#include <gtest/gtest.h>

#include "engine/mlog/mlog.h"
#include "tests/engine/mlog/log_support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kCrashCapacity = 8u << 20;
// Of logs whose image is copied for each of many crashes.
constexpr std::uint64_t kTornCapacity = 256u << 10;
constexpr std::uint64_t kLifeCapacity = 4u << 20;
constexpr std::size_t kDeviceSector = 512;

// The sectors of writes that no flush has made durable.
struct Sector {
  std::uint64_t offset;
  ConstByteSpan data;
};
std::vector<Sector> sectors_of(const std::vector<FakeDevice::Write>& writes, std::size_t size) {
  std::vector<Sector> sectors;
  for (const auto& write : writes) {
    for (std::size_t at = 0; at < write.data.size(); at += size) {
      sectors.push_back({write.offset + at, ConstByteSpan(write.data).subspan(at, size)});
    }
  }
  return sectors;
}

template <typename Survives>
Image torn(Image image, const std::vector<Sector>& sectors, Survives&& survives) {
  for (std::size_t i = 0; i < sectors.size(); ++i) {
    if (!survives(i)) continue;
    std::ranges::copy(sectors[i].data,
                      image.begin() + static_cast<std::ptrdiff_t>(sectors[i].offset));
  }
  return image;
}

class MlogCrash : public testing::TestWithParam<std::uint32_t> {
 protected:
  MlogLocation location(Device& device, std::uint64_t generation = 3) {
    return location_on(device, GetParam(), device.size() - kLogOffset, generation);
  }

  // `image` must open with at least the first `durable` of `records` and with no others; then it
  // must accept appends.
  void check(Image image, const Records& records, std::size_t durable) {
    FakeDevice device(std::move(image));
    Records found;
    {
      const auto log = open_plain(location(device));
      found = read_all(*log);
      ASSERT_EQ(log->record_count(), found.size());
      ASSERT_GE(found.size(), durable);
      ASSERT_LE(found.size(), records.size());
      ASSERT_TRUE(std::equal(found.begin(), found.end(), records.begin()));
      for (std::size_t length : {10, 600, 9000}) {
        found.push_back(make_record(900 + length, length));
        log->append(found.back());
        log->sync();
      }
    }
    ASSERT_EQ(read_all(*open_plain(location(device))), found);
  }
};

TEST_P(MlogCrash, EveryTornFlush) {
  std::mt19937_64 random(21);
  for (const std::vector<std::size_t>& last_flush :
       {std::vector<std::size_t>{5}, {100, 200, 300}, {6000, 1, 0, 3000}, {20000}}) {
    FakeDevice device(kLogOffset + kTornCapacity);
    const auto log = open_plain(location(device));
    Records records;
    for (std::size_t length : {30, 500, 5000, 20}) {
      records.push_back(make_record(records.size(), length));
      log->append(records.back());
      log->sync();
    }
    const std::size_t durable = records.size();
    const Image before = device.image();
    device.take_writes();
    for (std::size_t length : last_flush) {
      records.push_back(make_record(records.size(), length));
      log->append(records.back());
    }
    log->sync();
    const auto writes = device.take_writes();
    const auto sectors = sectors_of(writes, GetParam());
    for (std::size_t count = 0; count <= sectors.size(); ++count) {
      SCOPED_TRACE(fmt::format("{} of {} sectors", count, sectors.size()));
      check(torn(before, sectors, [&](std::size_t i) { return i < count; }), records, durable);
      check(torn(before, sectors, [&](std::size_t i) { return i >= count; }), records, durable);
      check(torn(before, sectors, [&](std::size_t) { return random() % 2 == 0; }), records,
            durable);
    }
  }
}

// Random appends, syncs, resets and re-opens of a log; each life ends with the loss of any subset
// of the unflushed data.
class Life {
 public:
  Life(std::uint32_t sector_size, std::uint64_t seed)
      : sector_size_(sector_size), random_(seed), media_(kLogOffset + kLifeCapacity) {
    for (std::size_t at = 0; at < media_.size(); at += sizeof(std::uint64_t)) {
      const std::uint64_t bytes = random_();
      std::memcpy(&media_[at], &bytes, sizeof(bytes));
    }
  }

  void run() {
    FakeDevice device(media_);
    device.discard_clears = false;
    device.before_flush = [&] {
      for (const auto& write : device.take_writes()) {
        std::memcpy(&media_[write.offset], write.data.data(), write.data.size());
      }
    };
    const auto log = open_plain(location_on(device, sector_size_, kLifeCapacity, generation_));
    all_ = 0;
    accept(read_all(*log));
    const std::size_t actions = 1 + random_() % 8;
    for (std::size_t i = 0; i < actions; ++i)
      act(*log);
    crash(device);
  }

 private:
  void accept(const Records& found) {
    ASSERT_GE(found.size(), durable_);
    ASSERT_LE(found.size(), records_.size());
    ASSERT_TRUE(std::equal(found.begin(), found.end(), records_.begin()));
    records_ = found;
    durable_ = found.size();
  }

  void act(Mlog& log) {
    const auto choice = random_() % 10;
    if (choice < 5) {
      const std::size_t limit = random_() % 10 == 0 ? 3u << 20 : 1u << (random_() % 15);
      const std::size_t length = random_() % limit;
      if (log.fits(length)) {
        records_.push_back(make_record(number_++, length));
        all_ = log.append(records_.back());
      } else {
        reset(log);
      }
    } else if (choice < 7) {
      log.sync();
      durable_ = records_.size();
    } else if (choice < 9) {
      write(log, choice == 8);
    } else if (random_() % 4 == 0) {
      reset(log);
    }
  }

  // The two steps of a sync, or only the first.
  void write(Mlog& log, bool flush) {
    const auto written = log.write(all_);
    if (!flush || !written) return;
    const std::size_t count = records_.size();
    written->device->flush();
    log.flushed(*written);
    durable_ = count;
  }

  void reset(Mlog& log) {
    log.reset(++generation_);
    records_.clear();
    durable_ = 0;
  }

  void crash(FakeDevice& device) {
    const auto writes = device.take_writes();
    const auto sectors = sectors_of(writes, sector_size_);
    const auto kind = random_() % 4;
    const std::size_t cut = random_() % (sectors.size() + 1);
    media_ = torn(std::move(media_), sectors, [&](std::size_t i) {
      switch (kind) {
        case 0:
          return i < cut;
        case 1:
          return i >= cut;
        case 2:
          return random_() % 8 == 0;
        default:
          return random_() % 8 != 0;
      }
    });
  }

  std::uint32_t sector_size_;
  std::mt19937_64 random_;
  Image media_;  // the content that survives a crash
  Records records_;
  std::size_t durable_ = 0;
  std::uint64_t number_ = 0;
  Mlog::Ticket all_ = 0;  // of the last append
  std::uint64_t generation_ = 1;
};

TEST_P(MlogCrash, ManyLivesOfALog) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Life life(GetParam(), seed);
    for (int i = 0; i < 25 && !HasFatalFailure(); ++i)
      life.run();
  }
}

// Large unflushed writes of which only the last survived: their ids must still be found.
TEST_P(MlogCrash, SurvivorsOfALostWriteAreInsideTheWindow) {
  FakeDevice device(kLogOffset + kCrashCapacity);
  Image durable = device.image();
  device.before_flush = [&] {
    durable = device.image();
    device.take_writes();
  };
  const auto log = open_plain(location(device));
  log->append(make_record(0, 100));
  log->sync();
  log->append(make_record(1, 5u << 20));
  log->append(make_record(2, 100000));
  const auto writes = device.take_writes();
  ASSERT_FALSE(writes.empty());
  const std::uint64_t durable_end = kPageSize;
  std::uint64_t flushed_end = durable_end;
  for (std::uint64_t at = 0; at < kCrashCapacity; at += kPageSize) {
    const auto* page = durable.data() + kLogOffset + at;
    if (std::any_of(page, page + kPageSize, [](std::byte b) { return b != std::byte{}; })) {
      flushed_end = at + kPageSize;
    }
  }
  for (const auto& write : writes) {
    EXPECT_LE(write.offset + write.data.size() - kLogOffset, flushed_end + Mlog::kFlushSetSize);
  }
}

TEST_P(MlogCrash, FailedFlushThenReopen) {
  for (const bool in_flush : {false, true}) {
    for (std::size_t survivors : {0, 1, 3, 6}) {
      SCOPED_TRACE(fmt::format("{} {}", in_flush ? "flush" : "write", survivors));
      FakeDevice device(kLogOffset + kCrashCapacity);
      const auto log = open_plain(location(device));
      Records records = {make_record(0, 100), make_record(1, 3000)};
      for (const Record& record : records)
        log->append(record);
      log->sync();
      bool fail = true;
      device.before_flush = [&] {
        if (in_flush && fail) raise(EIO, "fake", "no flush");
      };
      device.before_write = [&](const FakeDevice::Write& write) {
        if (in_flush || !fail) return;
        const std::size_t length = std::min(write.data.size(), survivors * kDeviceSector);
        device.put(write.offset, ConstByteSpan(write.data).first(length));
        raise(EIO, "fake", "no write");
      };
      records.push_back(make_record(2, 4000));
      const Mlog::Ticket ticket = log->append(records.back());
      EXPECT_EQ(error_of([&] { log->sync(ticket); }), EIO);
      EXPECT_EQ(error_of([&] { log->sync(ticket); }), EIO);
      EXPECT_EQ(error_of([&] { log->append(Record()); }), EIO);
      EXPECT_EQ(read_all(*log), records) << "reading goes on";
      check(device.image(), records, 2);
    }
  }
}

// Writing fails inside a record that is larger than the buffer.
TEST_P(MlogCrash, FailureInTheMiddleOfALargeRecord) {
  FakeDevice device(kLogOffset + kCrashCapacity);
  const auto log = open_plain(location(device));
  log->append(make_record(0, 100));
  log->sync();
  int writes = 0;
  device.before_write = [&](const FakeDevice::Write&) {
    if (++writes == 2) raise(EIO, "fake", "no write");
  };
  EXPECT_EQ(error_of([&] { log->append(make_record(1, 4u << 20)); }), EIO);
  EXPECT_EQ(log->record_count(), 1u);
  EXPECT_EQ(read_all(*log), Records{make_record(0, 100)});
  check(device.image(), {make_record(0, 100)}, 1);
}

TEST_P(MlogCrash, ErrorsOfReadingAreThrown) {
  class BadDevice : public FakeDevice {
   public:
    using FakeDevice::FakeDevice;
    bool bad = false;

   protected:
    void read_impl(std::uint64_t offset, ByteSpan into) override {
      if (bad) raise(EIO, name(), "no read");
      FakeDevice::read_impl(offset, into);
    }
  };
  BadDevice device(kLogOffset + kCrashCapacity);
  const auto log = open_plain(location(device));
  for (std::uint64_t number = 0; number < 100; ++number)
    log->append(make_record(number, 5000));
  log->sync();
  device.bad = true;
  MlogReader reader(*log);
  Record record;
  EXPECT_EQ(error_of([&] { reader.next(record); }), EIO);
  EXPECT_EQ(error_of([&] { open_plain(location(device)); }), EIO);
  device.bad = false;
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record, make_record(0, 5000));
}

// Any content of the media: an answer, and no more memory than the size of the log.
TEST_P(MlogCrash, MutatedImages) {
  FakeDevice device(kLogOffset + kCrashCapacity);
  {
    const auto log = Mlog::open(location(device), CompactionSemantics::on);
    log->append_compaction_start();
    for (std::uint64_t number = 0; number < 60; ++number) {
      log->append(make_record(number, number * number));
      if (number == 30) log->append_compaction_end();
      if (number % 5 == 0) log->sync();
    }
    log->sync();
  }
  const Image good = device.image();
  const std::uint64_t used = Mlog::open(location(device), CompactionSemantics::on)->used();
  std::mt19937_64 random(77);
  std::array<int, 3> outcomes{};
  for (int round = 0; round < 1500; ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    const std::size_t flips = 1 + random() % 4;
    std::vector<std::uint64_t> pages;
    for (std::size_t i = 0; i < flips; ++i) {
      // Mostly at the start of a block, where headers and descriptors are.
      std::uint64_t at = kLogOffset + random() % used;
      if (random() % 2 == 0) at = round_down(at, GetParam()) + random() % 64;
      const std::byte value = static_cast<std::byte>(random());
      device.put(at, {&value, 1});
      pages.push_back(round_down(at, kPageSize));
    }
    const auto semantics = random() % 2 == 0 ? CompactionSemantics::on : CompactionSemantics::off;
    const int code = error_of([&] {
      const auto log = Mlog::open(location(device), semantics);
      EXPECT_EQ(read_all(*log).size(), log->record_count());
    });
    EXPECT_TRUE(code == 0 || code == ENODATA || code == EMSGSIZE) << code;
    ++outcomes[code == 0 ? 0 : code == ENODATA ? 1 : 2];
    for (const std::uint64_t page : pages) {
      device.put(page, ConstByteSpan(good).subspan(page, kPageSize));
    }
  }
  EXPECT_GT(outcomes[0], 0);
  EXPECT_GT(outcomes[1], 0);
}

INSTANTIATE_TEST_SUITE_P(Sectors, MlogCrash, testing::Values(512u, 4096u));

}  // namespace
}  // namespace mpool::test
