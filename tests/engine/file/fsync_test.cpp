// fsync in the middle of a file: writing goes on in the same zone.
#include <algorithm>
#include <cerrno>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

void write_at(OpenFile& file, std::uint64_t offset, std::string_view text) {
  file.write(offset, bytes_of(text), false);
}

// Appends parts of `text` with an fsync after each.
void write_synced(OpenFile& file, std::string_view text, std::size_t from, std::size_t length) {
  for (std::size_t at = from; at < text.size(); at += length) {
    write_at(file, at, text.substr(at, length));
    file.fsync();
  }
}

// The state on the media now.
std::map<std::string, std::string> state_on_media(TestTree& tree,
                                                  NamespaceOptions options = lazy()) {
  TestTree copy(std::make_shared<Media>(*tree.media()), options);
  return copy.dump();
}

TEST(Fsync, GoesOnInTheSameZone) {
  for (const std::size_t length : {100u, 4096u}) {
    TestTree tree(lazy());
    const std::uint32_t before = tree.used_zones();
    const std::string text = pattern(std::min<std::size_t>(1000 * length, kZoneSize));
    {
      const ScopedFile file(tree.create("f"));
      write_synced(*file, text, 0, length);
      EXPECT_EQ(tree.pool().object_counts().mblocks, 1u);
      EXPECT_EQ(tree.read_all(*file), text);
      EXPECT_EQ(tree.stat("f").blocks, kZoneSize / 512);
      file->flush();
    }
    EXPECT_EQ(tree.used_zones(), before + 1);
    EXPECT_EQ(tree.get("f"), text);
    EXPECT_EQ(tree.names().layout(tree.stat("f").inode)->pieces.size(), 1u);
    tree.remount();
    EXPECT_EQ(tree.get("f"), text);
    tree.unlink("f");
    EXPECT_EQ(tree.used_zones(), before);
  }
}

TEST(Fsync, OfAFileThatBeganInAPack) {
  NamespaceOptions options = lazy();
  options.pack_max = kZoneSize / 8;
  TestTree tree(options);
  const std::string text = pattern(kZoneSize - 3000);
  {
    const ScopedFile file(tree.create("f"));
    write_synced(*file, text, 0, 500);
    file->flush();
  }
  EXPECT_EQ(tree.pool().object_counts().mblocks, 1u);
  EXPECT_EQ(tree.get("f"), text);
  tree.remount();
  EXPECT_EQ(tree.get("f"), text);
}

// Content, the length of the mblock where it changes, the record.
TEST(Fsync, FlushesOnceForEachStep) {
  TestTree tree(lazy());
  const ScopedFile file(tree.create("f"));
  write_at(*file, 0, pattern(100));
  file->fsync();
  const auto flushes = [&] { return tree.device().counters().flushes; };
  auto before = flushes();
  write_at(*file, 100, pattern(100));
  file->fsync();
  EXPECT_EQ(flushes() - before, 2u);
  before = flushes();
  write_at(*file, 200, pattern(4096));
  file->fsync();
  EXPECT_EQ(flushes() - before, 3u);
}

TEST(Fsync, SurvivesACrash) {
  TestTree tree(lazy());
  const std::string text = pattern(10'000);
  const ScopedFile file(tree.create("f"));
  for (std::size_t at = 0; at < text.size(); at += 777) {
    write_at(*file, at, std::string_view(text).substr(at, 777));
    file->fsync();
    Attributes expected = tree.stat("f");
    const std::string content = text.substr(0, at + 777);
    expected.size = content.size();
    const std::string line = TestTree::describe(expected) + TestTree::describe_content(content);
    EXPECT_EQ(state_on_media(tree), (std::map<std::string, std::string>{{"f", line}}));
  }
}

TEST(Fsync, ThenTruncatedAndContinued) {
  TestTree tree(lazy());
  const std::uint32_t before = tree.used_zones();
  std::string text = pattern(20'000);
  {
    const ScopedFile file(tree.create("f"));
    write_synced(*file, text, 0, 3000);
    file->truncate(10'100);
    std::fill(text.begin() + 10'100, text.end(), '\0');
    text += pattern(5000, 2);
    write_synced(*file, text, 20'000, 1000);
    EXPECT_EQ(tree.read_all(*file), text);
    file->flush();
  }
  EXPECT_EQ(tree.get("f"), text);
  EXPECT_EQ(tree.used_zones(), before + 1);
  tree.remount();
  EXPECT_EQ(tree.get("f"), text);
}

TEST(Fsync, ThenEmptiedAndWrittenAgain) {
  TestTree tree(lazy());
  const std::uint32_t before = tree.used_zones();
  const std::string text = pattern(9000, 2);
  {
    const ScopedFile file(tree.create("f"));
    write_synced(*file, pattern(9000), 0, 1000);
    file->truncate(0);
    write_synced(*file, text, 0, 1000);
    file->flush();
  }
  EXPECT_EQ(tree.used_zones(), before + 1);
  EXPECT_EQ(tree.get("f"), text);
  tree.remount();
  EXPECT_EQ(tree.get("f"), text);
}

TEST(Fsync, TruncatedBeforeTheLastZone) {
  TestTree tree(lazy());
  const std::uint32_t before = tree.used_zones();
  std::string text = pattern(kZoneSize + 9000);
  {
    const ScopedFile file(tree.create("f"));
    write_synced(*file, text, 0, 30'000);
    file->truncate(40'000);
    tree.names().sync();
    EXPECT_EQ(tree.used_zones(), before + 1);
    tree.put("other", pattern(kZoneSize, 7));  // may get the zone
    std::fill(text.begin() + 40'000, text.end(), '\0');
    text += pattern(3000, 3);
    write_synced(*file, text, kZoneSize + 9000, 1000);
    file->flush();
  }
  EXPECT_EQ(tree.get("f"), text);
  EXPECT_EQ(tree.get("other"), pattern(kZoneSize, 7));
  tree.remount();
  EXPECT_EQ(tree.get("f"), text);
  EXPECT_EQ(tree.get("other"), pattern(kZoneSize, 7));
}

TEST(Fsync, OfAFileWithoutAName) {
  TestTree tree(lazy());
  const std::uint32_t before = tree.used_zones();
  const std::string text = pattern(30'000);
  {
    const ScopedFile file(tree.create("f"));
    const ScopedFile reader(tree.open("f", {.read = true}));
    write_at(*file, 0, text.substr(0, 700));
    file->fsync();
    tree.unlink("f");
    write_synced(*file, text, 700, 700);
    EXPECT_EQ(tree.read_all(*reader), text);
    EXPECT_TRUE(state_on_media(tree).empty());
    EXPECT_EQ(tree.used_zones(), before + 1);
  }
  {
    const ScopedFile file(tree.create("g"));
    tree.unlink("g");
    write_at(*file, 0, text.substr(0, 5000));
    file->fsync();
    const std::uint64_t used = tree.names().metadata().used;
    write_synced(*file, text, 5000, 7000);
    EXPECT_EQ(tree.names().metadata().used, used) << "it is recorded once that it goes";
    EXPECT_TRUE(state_on_media(tree).empty());
  }
  EXPECT_EQ(tree.used_zones(), before);
}

TEST(Fsync, ARenameInBetween) {
  TestTree tree(lazy());
  const std::string text = pattern(20'000);
  tree.put("target", "old");
  {
    const ScopedFile file(tree.create("f"));
    write_at(*file, 0, text.substr(0, 5000));
    file->fsync();
    tree.rename("f", "target");
    write_synced(*file, text, 5000, 3000);
    file->flush();
  }
  tree.remount();
  EXPECT_EQ(tree.get("target"), text);
  EXPECT_EQ(tree.list(""), std::vector<std::string>{"target"});
}

TEST(Fsync, OfSeveralThreads) {
  TestTree tree(lazy());
  constexpr std::size_t kPart = 1000;
  const std::string text = pattern(60 * kPart);
  {
    const ScopedFile file(tree.create("f"));
    const ScopedFile other(tree.open("f", {.write = true}));
    const auto write_parts = [&](OpenFile& by, std::size_t first) {
      for (std::size_t at = first * kPart; at < text.size(); at += 2 * kPart) {
        write_at(by, at, std::string_view(text).substr(at, kPart));
        by.fsync();
      }
    };
    std::thread thread([&] { write_parts(*other, 1); });
    write_parts(*file, 0);
    thread.join();
    EXPECT_EQ(tree.read_all(*file), text);
    other->flush();
    file->flush();
  }
  EXPECT_EQ(tree.get("f"), text);
  tree.remount();
  EXPECT_EQ(tree.get("f"), text);
}

TEST(Fsync, ThenCommittedAndRead) {
  TestTree tree(lazy());
  const std::string text = pattern(kZoneSize);
  {
    const ScopedFile file(tree.create("f"));
    write_synced(*file, text.substr(0, 8192), 0, 4096);
    write_at(*file, 8192, text.substr(8192));
    file->flush();
  }
  EXPECT_EQ(tree.get("f"), text) << "the end is not on the device yet";
  const auto mblocks = tree.names().mblocks_of(tree.stat("f").inode);
  ASSERT_EQ(mblocks.size(), 1u);
  EXPECT_EQ(tree.pool().find(mblocks[0])->written_length, kZoneSize);
}

TEST(Fsync, TheTreeIsCompactedInBetween) {
  TestTree tree(lazy());
  const std::string text = pattern(20'000);
  {
    const ScopedFile file(tree.create("f"));
    write_synced(*file, text.substr(0, 10'000), 0, 100);
    std::uint64_t used = 0;
    while (tree.names().metadata().used >= used) {
      used = tree.names().metadata().used;
      tree.mkdir("d");
      tree.names().remove_directory(kRootInode, "d");
      tree.names().sync();
    }
    write_synced(*file, text, 10'000, 100);
    file->flush();
  }
  tree.remount();
  EXPECT_EQ(tree.get("f"), text);
}

}  // namespace
}  // namespace mpool::test
