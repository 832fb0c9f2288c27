// Reading, overwriting and truncating a file while it is being written, and the bound on its
// memory.
#include <atomic>
#include <cerrno>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/object/content_writer.h"
#include "engine/object/held_pages.h"
#include "tests/engine/object/content_support.h"

namespace mpool {
namespace {

using test::error_of;
using test::File;
using test::kZone;
using test::Piece;
using test::random_pieces;
using test::TestPool;

constexpr std::uint64_t kMiB = 1u << 20;

// A file and its expected bytes, with content that differs from write to write.
class Model {
 public:
  Model(TestPool& test, WriteMemory& memory) : file(test, kZone, memory) {}

  std::vector<std::byte> make(std::size_t length) {
    std::vector<std::byte> data(length);
    for (std::byte& byte : data)
      byte = static_cast<std::byte>(random() | 1);
    return data;
  }
  // Returns 0 or the errno.
  int write(std::uint64_t offset, std::size_t length) {
    const std::vector<std::byte> data = make(length);
    const int error = error_of([&] { file.writer.write(offset, data); });
    if (error != 0) return error;
    if (bytes.size() < offset + length) bytes.resize(offset + length);
    std::ranges::copy(data, bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    return 0;
  }
  void truncate(std::uint64_t length) {
    file.writer.truncate(length);
    bytes.resize(length);
    trim(length);
  }
  // As the owner of the writer does.
  void trim(std::uint64_t length) {
    std::erase_if(file.extents, [&](const Extent& extent) { return extent.file_offset >= length; });
    for (Extent& extent : file.extents)
      extent.length = std::min(extent.length, length - extent.file_offset);
  }
  void check_read(std::uint64_t offset, std::size_t length) {
    const std::size_t begin = std::min<std::uint64_t>(offset, bytes.size());
    const std::size_t size = std::min(length, bytes.size() - begin);
    const std::vector<std::byte> expected(
        bytes.begin() + static_cast<std::ptrdiff_t>(begin),
        bytes.begin() + static_cast<std::ptrdiff_t>(begin + size));
    EXPECT_SAME_BYTES(file.read_back(offset, length), expected);
  }
  void commit() {
    file.commit(true);
    file.expected = bytes;
    file.verify();
  }

  std::mt19937 random{1};
  File file;
  std::vector<std::byte> bytes;
};

TEST(BeingWritten, IsReadFromWhereverItIs) {
  TestPool test(64);
  WriteMemory memory({.max_bytes = 64 * kMiB, .max_per_file = 2 * kMiB});
  Model model(test, memory);
  EXPECT_TRUE(model.file.read_back(0, 10).empty());
  ASSERT_EQ(model.write(100, 1000), 0);            // in memory, behind a hole
  ASSERT_EQ(model.write(kZone, 2 * kZone), 0);     // on the device
  ASSERT_EQ(model.write(5 * kZone + 3, 5000), 0);  // behind a hole of whole zones
  model.check_read(0, 8 * kZone);
  model.check_read(kZone - 7, 50);
  model.file.writer.drain();
  model.check_read(0, 8 * kZone);
  model.file.commit(false);
  ASSERT_EQ(model.write(1100, 100), 0);  // a page with sealed bytes
  model.check_read(0, 8 * kZone);
  model.file.writer.declare_length(7 * kZone);
  model.bytes.resize(7 * kZone);
  model.check_read(6 * kZone, 2 * kZone);
  model.commit();
  model.check_read(0, 8 * kZone);
}

TEST(BeingWritten, BytesInMemoryCanBeWrittenAgain) {
  TestPool test(32);
  Model model(test, test.write_memory);
  for (int i = 0; i < 40; ++i)
    ASSERT_EQ(model.write(static_cast<std::uint64_t>(i) * 50'000, 50'000), 0);
  ASSERT_EQ(model.write(0, 64), 0);  // the header
  ASSERT_EQ(model.write(1'000'000 - 10, 3 * kPageSize), 0);
  model.check_read(0, 3 * kMiB);
  model.file.writer.drain();  // a duplicate was closed
  ASSERT_EQ(model.write(10, 64), 0);
  model.check_read(0, 3 * kMiB);
  model.commit();
}

TEST(BeingWritten, TheBeginningStaysInMemory) {
  TestPool test(64);
  WriteMemory memory({.max_bytes = 64 * kMiB, .max_per_file = 2 * kMiB});
  Model model(test, memory);
  for (std::uint64_t at = 0; at < 6 * kMiB; at += 50'000)
    ASSERT_EQ(model.write(at, 50'000), 0);
  EXPECT_EQ(model.write(2 * kMiB, 10), EINVAL);
  EXPECT_EQ(model.write(100, 10), 0);
  model.check_read(0, 7 * kMiB);
  model.commit();
}

TEST(BeingWritten, ShorterLengthsRemoveTheTail) {
  TestPool test(64);
  for (const bool drained : {false, true}) {
    SCOPED_TRACE(drained);
    Model model(test, test.write_memory);
    ASSERT_EQ(model.write(0, 8192), 0);
    if (drained) model.file.writer.drain();
    model.truncate(5000);
    EXPECT_EQ(model.file.writer.length(), 5000u);
    model.check_read(0, 10'000);
    model.truncate(7000);  // zeros again
    model.check_read(0, 10'000);
    model.commit();
  }
}

TEST(BeingWritten, WhatWasCutOffOnTheDeviceCannotBeWrittenAgain) {
  TestPool test(64);
  Model model(test, test.write_memory);
  ASSERT_EQ(model.write(0, 2 * kZone), 0);  // to the device
  model.truncate(5000);
  EXPECT_EQ(model.write(6000, 10), EINVAL);
  ASSERT_EQ(model.write(2 * kZone, 100), 0);
  model.check_read(0, 3 * kZone);
  model.commit();
}

TEST(BeingWritten, SealedBytesCanBeCutOff) {
  TestPool test(64);
  Model model(test, test.write_memory);
  ASSERT_EQ(model.write(0, 100'000), 0);
  model.file.commit(false);
  ASSERT_EQ(model.write(100'000, 100'000), 0);
  model.file.commit(false);
  model.truncate(60'001);
  model.check_read(0, 300'000);
  EXPECT_EQ(model.write(70'000, 1), EINVAL);
  ASSERT_EQ(model.write(200'000, 100), 0);
  model.check_read(0, 300'000);
  model.commit();
}

// After any operations, a read returns the same as for a file in memory.
TEST(BeingWritten, IsAsItsModel) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    TestPool test(400);
    WriteMemory memory(
        {.max_bytes = 4 * kMiB, .max_per_file = seed % 2 == 0 ? 2 * kMiB : 256u << 10});
    Model model(test, memory);
    model.random.seed(seed);
    for (int step = 0; step < 250; ++step) {
      const std::uint64_t offset = model.random() % (3 * kMiB);
      const std::size_t length = 1 + model.random() % (model.random() % 4 == 0 ? 200'000 : 5'000);
      switch (model.random() % 16) {
        case 0:
          model.file.writer.drain();
          break;
        case 1:
          if (model.random() % 4 == 0) model.file.commit(false);
          break;
        case 2:
          if (model.random() % 4 == 0) model.truncate(model.random() % (model.bytes.size() + 9000));
          break;
        case 3:
          memory.relieve(4 * kMiB);
          break;
        case 4:
        case 5:
        case 6:
          model.check_read(offset, length);
          break;
        case 7:
        case 8:
          model.write(round_down(offset, kPageSize), round_up(length, kPageSize));
          break;
        default:
          model.write(model.random() % 3 == 0 ? model.bytes.size() : offset, length);
      }
    }
    model.check_read(0, 4 * kMiB);
    model.commit();
  }
}

// Readers see each piece as it was written, or as zeros before; no other content.
TEST(BeingWritten, ReadersBesideWriters) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    TestPool test(64);
    WriteMemory memory({.max_bytes = 4 * kMiB, .max_per_file = seed % 2 == 0 ? kMiB : 16 * kMiB});
    File file(test, kZone, memory);
    auto pieces = random_pieces(random, 3 * kMiB, seed % 2 == 0 ? 3000 : 150'000);
    for (const Piece& piece : pieces)
      file.expect(piece.offset, piece.length);
    std::shuffle(pieces.begin(), pieces.end(), random);
    std::atomic<std::size_t> written = 0;
    std::atomic<bool> done = false;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = t; i < pieces.size(); i += 2) {
          file.write(pieces[i].offset, pieces[i].length);
          ++written;
        }
      });
    }
    threads.emplace_back([&] {
      while (!done) {
        memory.relieve(4 * kMiB);
        file.writer.drain();
        std::this_thread::yield();
      }
    });
    std::size_t reads = 0;
    std::size_t wrong = 0;
    while (written < pieces.size()) {
      const Piece& piece = pieces[random() % pieces.size()];
      const auto found = file.read_back(piece.offset, piece.length);
      for (std::size_t i = 0; i < found.size(); ++i) {
        if (found[i] != std::byte{0} && found[i] != file.expected[piece.offset + i]) ++wrong;
      }
      ++reads;
    }
    done = true;
    for (auto& thread : threads)
      thread.join();
    EXPECT_EQ(wrong, 0u);
    EXPECT_GT(reads, 0u);
    file.verify_read_back();
    file.commit(true);
    file.verify();
  }
}

TEST(BeingWritten, AReadWaitsForATransferOfItsPages) {
  TestPool test(32, 2 * kMiB);
  WriteMemory memory({.max_bytes = 64 * kMiB, .max_per_file = 0});
  File file(test, 2 * kMiB, memory);
  file.writer.set_aside(0, 2 * kMiB);
  AlignedBuffer data(128u << 10);
  std::memset(data.data(), 7, data.size());
  StartedWrite write = file.writer.start_write(0, data.span());
  ASSERT_EQ(write.kind, StartedWrite::Kind::transfer);
  std::atomic<bool> ended = false;
  std::vector<std::byte> found;
  bool ended_before_read = false;
  std::atomic<bool> started = false;
  std::thread reader([&] {
    started = true;
    found = file.read_back(0, 10);
    ended_before_read = ended;
  });
  while (!started)
    std::this_thread::yield();
  write.device->write(write.offset, write.memory);
  ended = true;
  file.writer.end_write(write, 0);
  reader.join();
  EXPECT_TRUE(ended_before_read);
  EXPECT_SAME_BYTES(found, std::vector<std::byte>(10, std::byte{7}));
}

TEST(BeingWritten, ManyFilesShareOneBound) {
  constexpr int kFiles = 60;
  TestPool test(200);
  WriteMemory memory({.max_bytes = 8 * kMiB, .max_per_file = 16 * kMiB});
  std::vector<std::unique_ptr<File>> files;
  for (int i = 0; i < kFiles; ++i) {
    files.push_back(std::make_unique<File>(test, kZone, memory));
    for (std::uint64_t at = 0; at < 200'000; at += 5000)
      files.back()->put(at, 5000);
    EXPECT_LE(memory.bytes(), 8 * kMiB);
  }
  for (const auto& file : files) {
    file->put(200'000, 100);  // goes on behind a page that was written out
    file->verify_read_back();
    file->commit(true);
    file->verify();
  }
  EXPECT_EQ(memory.bytes(), 0u);
}

TEST(BeingWritten, WhatIsSetAsideIsThere) {
  TestPool test(32);
  const std::uint32_t before = test.used_zones();
  File file(test);
  file.writer.set_aside(0, 4 * kZone);
  EXPECT_EQ(test.used_zones(), before + 4);
  EXPECT_EQ(file.writer.length(), 0u);
  file.allocations_left = 0;
  file.put(kZone + 100, 5000);
  file.commit(false);
  file.put(2 * kZone, kZone);  // kept by the seal
  file.commit(true);
  EXPECT_EQ(test.used_zones(), before + 2);  // the rest was freed
  file.verify();
}

TEST(BeingWritten, SettingAsideTooMuchChangesNothing) {
  TestPool test(32);
  const std::uint32_t before = test.used_zones();
  File file(test);
  file.put(0, 100);
  file.allocations_left = 5;
  EXPECT_EQ(error_of([&] { file.writer.set_aside(0, 20 * kZone); }), ENOSPC);
  EXPECT_EQ(test.used_zones(), before + 1);
  file.allocations_left = 100;
  file.put(kZone, 100);
  file.commit(true);
  file.verify();
}

}  // namespace
}  // namespace mpool
