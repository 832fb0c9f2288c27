// Small files in packs: commit, reading, space, mounts.
#include <algorithm>
#include <cerrno>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kMax = kZoneSize / 8;  // bytes: what goes into packs here

NamespaceOptions packing(NamespaceOptions options = {}) {
  options.pack_max = kMax;
  return options;
}

std::string type_of(TestTree& tree, const std::string& path) {
  return tree.names().get_xattr(tree.stat(path).inode, "user.mpool.type");
}

std::string name_of(int number) {
  return "f" + std::to_string(number);
}

// Different lengths, none longer than what goes into a pack.
std::string small_content(int number) {
  return pattern(1 + static_cast<std::size_t>(number) * 977 % kMax,
                 static_cast<std::uint64_t>(number));
}

void put_small(TestTree& tree, int first, int end) {
  for (int i = first; i < end; ++i)
    tree.put(name_of(i), small_content(i));
}

void expect_small(TestTree& tree, int first, int end) {
  for (int i = first; i < end; ++i)
    ASSERT_EQ(tree.get(name_of(i)), small_content(i)) << i;
}

TEST(Packs, SmallFilesShareZones) {
  TestTree tree(packing());
  const std::uint32_t before = tree.used_zones();
  put_small(tree, 0, 200);
  expect_small(tree, 0, 200);
  std::uint64_t bytes = 0;
  for (int i = 0; i < 200; ++i)
    bytes += small_content(i).size();
  // Headers of blocks, and what is left of each pack.
  EXPECT_LE((tree.used_zones() - before) * kZoneSize, bytes * 5 / 4 + kZoneSize);
  expect_same_after_remount(tree);
  expect_small(tree, 0, 200);
}

TEST(Packs, TheLengthDecides) {
  TestTree tree(packing());
  tree.put("small", pattern(kMax));
  tree.put("large", pattern(kMax + 1));
  tree.put("empty", "");
  EXPECT_EQ(type_of(tree, "small"), "pack");
  EXPECT_EQ(type_of(tree, "large"), "mblock");
  EXPECT_EQ(type_of(tree, "empty"), "empty");
  EXPECT_EQ(tree.stat("small").blocks, kMax / 512);
  EXPECT_EQ(tree.stat("large").blocks, kZoneSize / 512);
  EXPECT_EQ(tree.names().layout(tree.stat("small").inode), std::nullopt);
  EXPECT_EQ(errno_of([&] { tree.names().mblocks_of(tree.stat("small").inode); }), EINVAL);
  EXPECT_EQ(tree.get("small"), pattern(kMax));
  EXPECT_EQ(tree.get("large"), pattern(kMax + 1));
  expect_same_after_remount(tree);
}

TEST(Packs, NoneWithoutTheOption) {
  TestTree tree;
  tree.put("f", "x");
  EXPECT_EQ(type_of(tree, "f"), "mblock");
}

TEST(Packs, ContentWrittenInPieces) {
  TestTree tree(packing());
  {
    const ScopedFile file(tree.create("f"));
    file->write(3000, bytes_of(pattern(1000, 2)), false);
    file->write(100, bytes_of(pattern(50, 3)), false);
    file->write(3500, bytes_of(pattern(100, 4)), false);
    file->truncate(5000);
    EXPECT_EQ(tree.read_all(*file).size(), 5000u);
    file->flush();
  }
  std::string expected(5000, '\0');
  expected.replace(3000, 1000, pattern(1000, 2));
  expected.replace(100, 50, pattern(50, 3));
  expected.replace(3500, 100, pattern(100, 4));
  EXPECT_EQ(type_of(tree, "f"), "pack");
  EXPECT_EQ(tree.get("f"), expected);
  tree.remount();
  EXPECT_EQ(tree.get("f"), expected);
}

TEST(Packs, AFileThatGrowsLeavesThePack) {
  TestTree tree(packing());
  std::string expected;
  {
    const ScopedFile file(tree.create("f"));
    for (std::uint64_t i = 0; expected.size() < 3 * kZoneSize; ++i) {
      const std::string part = pattern(1000, i);
      file->write(expected.size(), bytes_of(part), false);
      expected += part;
    }
    file->flush();
  }
  EXPECT_EQ(type_of(tree, "f"), "mblock");
  EXPECT_EQ(tree.get("f"), expected);
  expect_same_after_remount(tree);
}

// Durable content stays; what follows goes to an mblock.
TEST(Packs, FsyncMakesASmallFileDurable) {
  TestTree tree(packing(lazy()));
  const ScopedFile file(tree.create("f"));
  file->write(0, bytes_of(pattern(1000)), false);
  file->fsync();
  EXPECT_EQ(get_after_crash(tree, "f"), pattern(1000));
  EXPECT_EQ(type_of(tree, "f"), "pack");
  EXPECT_EQ(errno_of([&] { file->write(0, bytes_of("x"), false); }), EINVAL);
  file->write(1000, bytes_of(pattern(500, 2)), false);
  EXPECT_EQ(tree.read_all(*file), pattern(1000) + pattern(500, 2));
  file->fsync();
  EXPECT_EQ(get_after_crash(tree, "f"), pattern(1000) + pattern(500, 2));
  EXPECT_EQ(type_of(tree, "f"), "mblock");
}

// Gaps can be written after an fsync.
TEST(Packs, FsyncOfAFileWithGaps) {
  TestTree tree(packing());
  {
    const ScopedFile file(tree.create("f"));
    file->write(2000, bytes_of(pattern(100)), false);
    file->write(0, bytes_of(pattern(10)), false);
    file->fsync();
    file->write(10, bytes_of(pattern(1990, 5)), false);
    file->flush();
  }
  EXPECT_EQ(tree.get("f"), pattern(10) + pattern(1990, 5) + pattern(100));
  expect_same_after_remount(tree);
}

TEST(Packs, TruncatedToNothingAndWrittenAgain) {
  TestTree tree(packing());
  {
    const ScopedFile file(tree.create("f"));
    file->write(0, bytes_of(pattern(5000)), false);
    file->fsync();
    file->truncate(0);
    file->write(0, bytes_of(pattern(700, 9)), false);
    file->flush();
  }
  EXPECT_EQ(tree.get("f"), pattern(700, 9));
  EXPECT_EQ(type_of(tree, "f"), "pack");
  expect_same_after_remount(tree);
}

TEST(Packs, CutAfterFsync) {
  TestTree tree(packing());
  {
    const ScopedFile file(tree.create("f"));
    file->write(0, bytes_of(pattern(5000)), false);
    file->fsync();
    file->truncate(1234);
    file->flush();
  }
  EXPECT_EQ(tree.get("f"), pattern(5000).substr(0, 1234));
  expect_same_after_remount(tree);
}

// Content that is in memory only, of a file that no record names.
TEST(Packs, ANamelessFileIsRead) {
  TestTree tree(packing(lazy()));
  auto writer = tree.create("f");
  const ScopedFile reader(tree.open("f", {.read = true}));
  writer->write(0, bytes_of(pattern(3000)), false);
  tree.unlink("f");
  writer->close();
  put_small(tree, 0, 100);
  EXPECT_EQ(tree.read_all(*reader), pattern(3000));
  tree.names().sync();
  EXPECT_EQ(tree.read_all(*reader), pattern(3000));
}

TEST(Packs, DeletedInAnyOrderTheSpaceIsBack) {
  TestTree tree(packing());
  const std::uint32_t before = tree.used_zones();
  constexpr int kFiles = 300;
  put_small(tree, 0, kFiles);
  EXPECT_GT(tree.used_zones(), before);
  std::vector<int> order(kFiles);
  std::ranges::generate(order, [i = 0]() mutable { return i++; });
  std::ranges::shuffle(order, std::mt19937(7));
  for (const int i : order)
    tree.unlink(name_of(i));
  tree.remount();
  EXPECT_EQ(tree.used_zones(), before);
}

TEST(Packs, APackIsFilledFurtherAfterAMount) {
  TestTree tree(packing());
  put_small(tree, 0, 3);
  const std::uint32_t before = tree.used_zones();
  for (int i = 3; i < 8; ++i) {
    tree.remount();
    put_small(tree, i, i + 1);
  }
  expect_small(tree, 0, 8);
  EXPECT_EQ(tree.used_zones(), before);
  // After a crash, too.
  TestTree crashed(std::make_shared<Media>(*tree.media()), packing());
  put_small(crashed, 8, 12);
  expect_small(crashed, 0, 12);
  expect_same_after_remount(crashed);
}

// Room is taken by the write: the commit of what was written finds it.
TEST(Packs, AFullPoolFailsTheWrite) {
  TestTree tree(packing(), TestTree::without_growth(2));
  std::vector<std::unique_ptr<OpenFile>> files;
  std::vector<std::string> names;
  int error = 0;
  for (int i = 0; error == 0 && i < 200; ++i) {
    files.push_back(tree.create(name_of(i)));
    error = errno_of([&] { files.back()->write(0, bytes_of(pattern(kMax, 1)), false); });
    if (error == 0) names.push_back(name_of(i));
  }
  EXPECT_EQ(error, ENOSPC);
  EXPECT_GE(names.size(), 2 * (kZoneSize / kMax) - 3);
  for (auto& file : files)
    file->close();
  for (const std::string& name : names)
    EXPECT_EQ(tree.get(name), pattern(kMax, 1));
  tree.remount();
  for (const std::string& name : names)
    EXPECT_EQ(tree.get(name), pattern(kMax, 1));
}

TEST(Packs, ManyThreads) {
  TestTree tree(packing());
  constexpr int kThreads = 4;
  constexpr int kEach = 60;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = thread * kEach; i < (thread + 1) * kEach; ++i) {
        tree.put(name_of(i), small_content(i));
        if (i % 7 == 0) tree.names().sync();
        EXPECT_EQ(tree.get(name_of(i)), small_content(i));
        if (i % 3 == 0) tree.unlink(name_of(i));
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  tree.remount();
  for (int i = 0; i < kThreads * kEach; ++i) {
    if (i % 3 == 0) continue;
    EXPECT_EQ(tree.get(name_of(i)), small_content(i)) << i;
  }
}

TEST(Packs, AMountWithoutPacksReadsThem) {
  TestTree tree(packing());
  put_small(tree, 0, 20);
  tree.names().sync();
  TestTree other(std::make_shared<Media>(*tree.media()), {});
  expect_small(other, 0, 20);
  other.put("f", "x");
  EXPECT_EQ(type_of(other, "f"), "mblock");
  other.unlink(name_of(0));
  expect_same_after_remount(other);
}

}  // namespace
}  // namespace mpool::test
