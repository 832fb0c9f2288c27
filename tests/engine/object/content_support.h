// Shared by the tests of ContentWriter.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "engine/object/content_writer.h"
#include "tests/engine/object/support.h"

namespace mpool::test {

inline constexpr std::uint64_t kZone = TestPool::kZoneSize;

struct Piece {
  std::uint64_t offset;
  std::size_t length;
};

// A file being written, and its expected final content.
class File {
 public:
  explicit File(TestPool& test, std::uint64_t zone_size = kZone)
      : File(test, zone_size, test.write_memory) {}
  File(TestPool& test, std::uint64_t zone_size, WriteMemory& memory)
      : test_(test),
        writer(
            zone_size,
            [&](std::optional<std::uint64_t> near) {
              if (allocations_left-- <= 0) raise(ENOSPC, "test", "no more mblocks");
              return std::make_unique<MblockWriter>(*test_.pool, Placement{.near = near});
            },
            memory) {}

  void write(std::uint64_t offset, std::size_t length) {
    writer.write(offset, content(offset, length));
  }
  // Notes that [offset, offset + length) is expected in the final content.
  void expect(std::uint64_t offset, std::size_t length) {
    if (expected.size() < offset + length) expected.resize(offset + length);
    const auto bytes = content(offset, length);
    std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  void put(std::uint64_t offset, std::size_t length) {
    write(offset, length);
    expect(offset, length);
  }

  // Returns the number of mblocks with new content.
  std::size_t commit(bool last) { return commit(writer.seal(last)); }
  std::size_t commit(const ContentWriter::Sealed& sealed) {
    std::vector<ObjectRecord> objects;
    std::vector<ObjectRecord> longer;
    for (const SealedMblock& mblock : sealed.mblocks) {
      if (mblock.deferred) mblock.deferred->write_out();
      EXPECT_EQ(mblock.extended, mblock.writer->is_committed());
      (mblock.extended ? longer : objects).push_back(mblock.object);
    }
    test_.device->flush();
    test_.pool->commit(objects);
    test_.pool->extend(longer);
    for (const SealedMblock& mblock : sealed.mblocks)
      mblock.writer->release();
    EXPECT_TRUE(std::is_sorted(
        sealed.extents.begin(), sealed.extents.end(),
        [](const Extent& a, const Extent& b) { return a.file_offset < b.file_offset; }));
    extents.insert(extents.end(), sealed.extents.begin(), sealed.extents.end());
    mblocks += objects.size();
    return sealed.mblocks.size();
  }

  std::vector<std::byte> read() const {
    std::vector<std::byte> found(writer.length());
    RangeSet covered;
    for (const Extent& extent : extents) {
      EXPECT_TRUE(covered.insert(extent.file_offset, extent.file_offset + extent.length));
      EXPECT_LE(extent.file_offset + extent.length, found.size());
      const auto object = test_.pool->find(extent.object);
      EXPECT_TRUE(object) << extent.object.to_string();
      if (!object || extent.file_offset + extent.length > found.size()) break;
      read_mblock(*test_.pool, *object, extent.position,
                  std::span(found).subspan(extent.file_offset, extent.length));
    }
    return found;
  }
  // The content that the writer itself returns, also before the commit.
  std::vector<std::byte> read_back(std::uint64_t offset, std::size_t length) {
    std::vector<std::byte> found(length);
    found.resize(writer.read(offset, found));
    return found;
  }
  void verify_read_back() { EXPECT_SAME_BYTES(read_back(0, expected.size() + 100), expected); }
  void verify() {
    EXPECT_EQ(writer.length(), expected.size());
    EXPECT_SAME_BYTES(read(), expected);
  }

 private:
  TestPool& test_;

 public:
  std::atomic<int> allocations_left = 1'000'000;
  std::vector<std::byte> expected;
  std::vector<Extent> extents;
  std::size_t mblocks = 0;
  ContentWriter writer;
};

// [0, length) cut in pieces of 1..max bytes; some left out when `gaps`.
inline std::vector<Piece> random_pieces(std::mt19937& random, std::uint64_t length, std::size_t max,
                                        bool gaps = false) {
  std::vector<Piece> pieces;
  for (std::uint64_t at = 0; at < length;) {
    std::size_t size = 1 + random() % max;
    if (random() % 4 == 0) size = round_up(size, kPageSize) - at % kPageSize;
    size = std::min<std::uint64_t>(size, length - at);
    if (!gaps || random() % 5 != 0) pieces.push_back({at, size});
    at += size;
  }
  return pieces;
}

}  // namespace mpool::test
