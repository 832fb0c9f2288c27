// Content is moved out of packs that are mostly garbage.
#include <algorithm>
#include <cerrno>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

constexpr int kFiles = 200;
constexpr int kKept = 5;  // one of this many stays

NamespaceOptions packing_small() {
  NamespaceOptions options;
  options.pack_max = kZoneSize / 8;
  return options;
}

std::string kept_name(int number) {
  return "f" + std::to_string(number);
}

std::string kept_content(int number) {
  return pattern(1 + static_cast<std::size_t>(number) * 577 % 3000,
                 static_cast<std::uint64_t>(number));
}

// Files of which one in kKept is left.
void make_garbage(TestTree& tree) {
  for (int i = 0; i < kFiles; ++i)
    tree.put(kept_name(i), kept_content(i));
  tree.names().sync();
  for (int i = 0; i < kFiles; ++i) {
    if (i % kKept != 0) tree.unlink(kept_name(i));
  }
  tree.names().sync();
}

void expect_kept(TestTree& tree) {
  for (int i = 0; i < kFiles; i += kKept)
    ASSERT_EQ(tree.get(kept_name(i)), kept_content(i)) << i;
}

TEST(Repacker, GarbageBecomesFreeSpace) {
  TestTree tree(packing_small());
  make_garbage(tree);
  const PackStats before = tree.names().packs();
  const std::uint32_t used = tree.used_zones();
  const auto dump = tree.dump();
  tree.names().repack();
  const PackStats after = tree.names().packs();
  EXPECT_EQ(after.live, before.live);
  EXPECT_EQ(after.files, before.files);
  EXPECT_LE(after.packs, before.packs / 2);
  EXPECT_LE(tree.used_zones(), used - before.packs / 2);
  EXPECT_EQ(tree.dump(), dump);
  expect_kept(tree);
  expect_same_after_remount(tree);
  expect_kept(tree);
}

TEST(Repacker, OpenFilesReadOnWhereTheyAre) {
  TestTree tree(packing_small());
  make_garbage(tree);
  std::vector<std::unique_ptr<OpenFile>> readers;
  for (int i = 0; i < kFiles; i += kKept) {
    readers.push_back(tree.open(kept_name(i), {.read = true}));
    ASSERT_EQ(tree.read_all(*readers.back()), kept_content(i));
  }
  const std::uint32_t used = tree.used_zones();
  tree.names().repack();
  // The old packs are held.
  EXPECT_GE(tree.used_zones(), used);
  // What would be written over their zones.
  for (int i = 0; i < 20; ++i)
    tree.put("large" + std::to_string(i), pattern(kZoneSize, 3));
  tree.names().sync();
  for (int i = 0; i < kFiles; i += kKept) {
    auto& reader = readers[static_cast<std::size_t>(i / kKept)];
    EXPECT_EQ(tree.read_all(*reader), kept_content(i)) << i;
    EXPECT_EQ(tree.get(kept_name(i)), kept_content(i)) << i;
    reader->close();
  }
  for (int i = 0; i < 20; ++i)
    tree.unlink("large" + std::to_string(i));
  EXPECT_LT(tree.used_zones(), used);
  expect_kept(tree);
}

TEST(Repacker, DamagedContentStays) {
  TestTree tree(packing_small());
  make_garbage(tree);
  // All blocks of the first pack lose their header.
  const std::string objects =
      tree.names().get_xattr(tree.stat(kept_name(0)).inode, "user.mpool.objects");
  const auto pack = tree.pool().find(ObjectId::parse(objects).value()).value();
  const std::uint64_t begin = tree.pool().offset_of(pack);
  AlignedBuffer page(kPageSize);
  tree.media()->read(begin, page.span());
  page.data()[0] ^= std::byte{1};
  tree.media()->write(begin, page.span());
  EXPECT_EQ(errno_of([&] { tree.get(kept_name(0)); }), EIO);
  tree.names().repack();
  EXPECT_EQ(errno_of([&] { tree.get(kept_name(0)); }), EIO);
  for (int i = 2 * kKept; i < kFiles; i += kKept)
    EXPECT_EQ(tree.get(kept_name(i)), kept_content(i));
  page.data()[0] ^= std::byte{1};
  tree.media()->write(begin, page.span());
  expect_kept(tree);
  expect_same_after_remount(tree);
}

TEST(Repacker, WithoutRoomAllStays) {
  TestTree tree(packing_small(), TestTree::without_growth(4));
  int files = 0;
  const auto put = [&](int i) {
    return errno_of([&] { tree.put(kept_name(i), pattern(3000, static_cast<std::uint64_t>(i))); });
  };
  while (put(files) == 0)
    ++files;
  ASSERT_GT(files, 30);
  for (int i = 0; i < files; ++i) {
    if (i % kKept != 0) tree.unlink(kept_name(i));
  }
  tree.names().sync();
  for (int round = 0; round < 3; ++round)
    tree.names().repack();
  for (int i = 0; i < files; i += kKept)
    EXPECT_EQ(tree.get(kept_name(i)), pattern(3000, static_cast<std::uint64_t>(i)));
  expect_same_after_remount(tree);
}

TEST(Repacker, WorksInTheBackground) {
  TestTree::Sizes sizes;
  sizes.repacks = true;
  sizes.tunables.packing.collect_delay = std::chrono::milliseconds(1);
  TestTree tree(packing_small(), sizes);
  make_garbage(tree);
  // No more than the packs of what is left, and the one being filled.
  while (tree.names().packs().packs > 4)
    std::this_thread::yield();
  expect_kept(tree);
  tree.remove_all();
  while (tree.names().packs().packs > 0)
    std::this_thread::yield();
}

TEST(Repacker, BesideWritersAndReaders) {
  TestTree tree(packing_small());
  make_garbage(tree);
  std::atomic<bool> done = false;
  std::thread repacker([&] {
    while (!done)
      tree.names().repack();
  });
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 40; ++i)
      tree.put("g" + std::to_string(i), kept_content(round * 40 + i));
    expect_kept(tree);
    for (int i = 0; i < 40; ++i) {
      EXPECT_EQ(tree.get("g" + std::to_string(i)), kept_content(round * 40 + i));
      tree.unlink("g" + std::to_string(i));
    }
  }
  done = true;
  repacker.join();
  expect_kept(tree);
  expect_same_after_remount(tree);
}

}  // namespace
}  // namespace mpool::test
