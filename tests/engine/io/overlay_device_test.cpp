#include "engine/io/overlay_device.h"

#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/io/support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

TEST(OverlayDevice, InMemoryHasTheSizesAskedFor) {
  const OverlayDevice device("memory", 8 * kMiB, 4096);
  EXPECT_EQ(device.name(), "memory");
  EXPECT_EQ(device.properties().size, 8 * kMiB);
  EXPECT_EQ(device.properties().logical_sector_size, 4096u);
  EXPECT_EQ(device.properties().physical_sector_size, 4096u);
  EXPECT_FALSE(device.properties().read_only);
}

TEST(OverlayDevice, InMemoryReadsZerosThenWhatWasWritten) {
  OverlayDevice device("memory", 8 * kMiB);
  AlignedBuffer read(4 * kPageSize);
  std::memset(read.data(), 0xee, read.size());
  device.read(0, read.span());
  EXPECT_TRUE(all_zero(read.span()));
  // Across the boundary of two chunks.
  const auto data = page_pattern(4, 1);
  const std::uint64_t offset = kMiB - 2 * kPageSize;
  device.write(offset, data.span());
  device.flush();
  device.read(offset, read.span());
  EXPECT_TRUE(same(read.span(), data.span()));
  device.discard(offset + kPageSize, 2 * kPageSize);
  device.read(offset, read.span());
  EXPECT_TRUE(same(read.span(0, kPageSize), data.span(0, kPageSize)));
  EXPECT_TRUE(all_zero(read.span(kPageSize, 2 * kPageSize)));
  EXPECT_TRUE(same(read.span(3 * kPageSize, kPageSize), data.span(3 * kPageSize, kPageSize)));
}

TEST(OverlayDevice, CoversItsBaseWithoutChangingIt) {
  auto base_owner = std::make_unique<OverlayDevice>("base", 4 * kMiB);
  OverlayDevice& base = *base_owner;
  const auto below = page_pattern(1024, 2);
  base.write(0, below.span());
  const auto writes = base.counters().writes;

  OverlayDevice device(std::move(base_owner));
  EXPECT_EQ(device.name(), "base");
  EXPECT_EQ(device.properties().size, 4 * kMiB);
  const auto above = page_pattern(2, 3);
  device.write(3 * kPageSize, above.span());
  device.discard(0, kPageSize);
  device.discard(kMiB, 2 * kMiB);
  device.flush();

  AlignedBuffer read(below.size());
  device.read(0, read.span());
  AlignedBuffer expected(below.size());
  std::memcpy(expected.data(), below.data(), below.size());
  std::memset(expected.data(), 0, kPageSize);
  std::memcpy(expected.data() + 3 * kPageSize, above.data(), above.size());
  std::memset(expected.data() + kMiB, 0, 2 * kMiB);
  EXPECT_TRUE(same(read.span(), expected.span()));

  EXPECT_EQ(base.counters().writes, writes);
  EXPECT_EQ(base.counters().discards, 0u);
  base.read(0, read.span());
  EXPECT_TRUE(same(read.span(), below.span()));
}

TEST(OverlayDevice, FollowsAModelUnderRandomOperations) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  constexpr std::size_t kPages = 700;
  const auto below = page_pattern(kPages, 4);
  auto base = std::make_unique<OverlayDevice>("base", kPages * kPageSize);
  base->write(0, below.span());
  std::vector<std::byte> model(below.data(), below.data() + below.size());
  OverlayDevice device(std::move(base));
  AlignedBuffer read(kPages * kPageSize);
  for (unsigned step = 0; step < 300; ++step) {
    const std::size_t first = random() % kPages;
    const std::size_t pages = 1 + random() % (random() % 4 == 0 ? kPages - first : 3);
    const std::size_t count = std::min(pages, kPages - first);
    std::byte* at = model.data() + first * kPageSize;
    if (random() % 2 == 0) {
      const auto data = page_pattern(count, step);
      device.write(first * kPageSize, data.span());
      std::memcpy(at, data.data(), data.size());
    } else {
      device.discard(first * kPageSize, count * kPageSize);
      std::memset(at, 0, count * kPageSize);
    }
    device.read(first * kPageSize, read.span(0, count * kPageSize));
    ASSERT_TRUE(same(read.span(0, count * kPageSize), {at, count * kPageSize})) << "step " << step;
  }
  device.read(0, read.span());
  EXPECT_TRUE(same(read.span(), model));
}

TEST(OverlayDevice, ServesManyThreads) {
  OverlayDevice device("memory", 64 * kMiB);
  constexpr unsigned kThreads = 4;
  std::vector<int> wrong(kThreads, 0);
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      AlignedBuffer read(8 * kPageSize);
      for (std::uint64_t round = 0; round < 200; ++round) {
        const std::uint64_t offset = (round * kThreads + thread) * 8 * kPageSize;
        const auto data = page_pattern(8, static_cast<unsigned>(round + thread));
        device.write(offset, data.span());
        device.read(offset, read.span());
        if (!same(read.span(), data.span())) ++wrong[thread];
        if (round % 3 == 0) device.discard(offset, 8 * kPageSize);
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(wrong, std::vector<int>(kThreads, 0));
}

}  // namespace
}  // namespace mpool::test
