// Creating small files without blocking.
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

constexpr OpenIntent kWriting{.read = true, .write = true, .append = false, .truncate = false};

std::unique_ptr<OpenFile> try_create(TestTree& tree, const std::string& path,
                                     OpenIntent intent = kWriting) {
  const auto [parent, name] = tree.split(path);
  auto made = tree.names().create(parent, name, 0644, {}, intent, Blocking::forbidden);
  return made ? std::move(made->second) : nullptr;
}

// A new file with this content, not closed.
std::unique_ptr<OpenFile> written(TestTree& tree, const std::string& path, std::string_view text) {
  auto file = tree.create(path);
  if (!text.empty()) file->write(0, bytes_of(text), false);
  return file;
}

TEST(TryCreate, MakesTheFile) {
  TestTree tree;
  tree.mkdir("d");
  const InodeNumber parent = tree.stat("d").inode;
  auto made =
      tree.names().create(parent, "f", 0640, {.uid = 7, .gid = 8}, kWriting, Blocking::forbidden);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->first.mode, 0640u);
  EXPECT_EQ(made->first.uid, 7u);
  EXPECT_EQ(made->first.inode, tree.stat("d/f").inode);
  EXPECT_FALSE(made->first.committed);
  made->second->write(0, bytes_of("text"), false);
  made->second->close();
  tree.remount();
  EXPECT_EQ(tree.get("d/f"), "text");
}

TEST(TryCreate, Logs) {
  TestTree tree;
  const auto log = try_create(tree, "log", {.read = true, .write = true, .append = true});
  ASSERT_TRUE(log);
  EXPECT_EQ(log->kind(), FileKind::log);
  log->write(0, bytes_of("line\n"), true);
  EXPECT_FALSE(log->close(Blocking::forbidden));
  log->close();
  tree.remount();
  EXPECT_EQ(tree.get("log"), "line\n");
}

TEST(TryCreate, Errors) {
  TestTree tree;
  tree.put("f", "text");
  EXPECT_EQ(errno_of([&] { try_create(tree, "f"); }), EEXIST);
  EXPECT_EQ(errno_of([&] { try_create(tree, "f/g"); }), ENOTDIR);
  EXPECT_EQ(errno_of([&] { try_create(tree, std::string(kMaxNameLength + 1, 'n')); }),
            ENAMETOOLONG);
  EXPECT_EQ(tree.get("f"), "text");
  tree.unmount();
  TestTree shown(tree.media(), {.read_only = true});
  EXPECT_EQ(errno_of([&] { try_create(shown, "g"); }), EROFS);
}

TEST(TryCreate, DurableOnReturnTakesTime) {
  TestTree tree({.sync = true});
  EXPECT_FALSE(try_create(tree, "f"));
  EXPECT_TRUE(tree.list("").empty());
}

TEST(TryClose, CommitsSmallFilesWithoutIo) {
  TestTree tree({.commit_interval = std::chrono::hours(1)});
  for (const std::size_t size : {0u, 1u, 4096u, 10'000u}) {
    const std::string name = fmt::format("f{}", size);
    const auto file = written(tree, name, pattern(size));
    const std::uint64_t before = tree.device().counters().writes;
    EXPECT_TRUE(file->close(Blocking::forbidden)) << size;
    EXPECT_EQ(tree.device().counters().writes, before);
    EXPECT_EQ(tree.stat(name).size, size);
    EXPECT_EQ(tree.stat(name).committed, size > 0);
    EXPECT_EQ(errno_of([&] { tree.open(name, {.write = true})->close(); }), size > 0 ? EACCES : 0);
    EXPECT_TRUE(tree.get(name) == pattern(size));
  }
  const auto all = tree.dump();
  EXPECT_EQ(all.size(), 4u);
  tree.remount();
  EXPECT_EQ(tree.dump(), all);
}

TEST(TryClose, KeepsTheLengthDeclared) {
  TestTree tree;
  const auto file = written(tree, "f", "text");
  file->truncate(100'000);
  EXPECT_TRUE(file->close(Blocking::forbidden));
  tree.remount();
  EXPECT_TRUE(tree.get("f") == std::string("text") + std::string(99'996, '\0'));
}

TEST(TryClose, KeepsTheTimesThatWereSet) {
  TestTree tree;
  const auto file = written(tree, "f", "text");
  AttributeChange change;
  change.mtime = std::timespec{.tv_sec = 12, .tv_nsec = 34};
  tree.names().set_attributes(file->inode(), change);
  EXPECT_TRUE(file->close(Blocking::forbidden));
  EXPECT_EQ(tree.stat("f").mtime.tv_sec, 12);
  tree.remount();
  EXPECT_EQ(tree.stat("f").mtime.tv_nsec, 34);
}

TEST(TryClose, TellsThatItIsCommitted) {
  TestTree tree;
  InodeNumber committed = 0;
  tree.names().events().committed.set([&](InodeNumber inode) { committed = inode; });
  const auto file = written(tree, "f", "text");
  const InodeNumber inode = file->inode();
  EXPECT_TRUE(file->close(Blocking::forbidden));
  EXPECT_EQ(committed, inode);
}

// A commit that may block is made by close().
void closes_later(TestTree& tree, std::unique_ptr<OpenFile> file, const char* what) {
  EXPECT_FALSE(file->close(Blocking::forbidden)) << what;
  file->close();
  tree.names().sync();
}

TEST(TryClose, LeavesTheRestToClose) {
  TestTree tree;
  const std::string large = pattern(200'000);
  closes_later(tree, written(tree, "large", large), "more than is kept in memory");
  {
    auto file = written(tree, "gap", "text");
    file->write(3 * kPageSize, bytes_of("more"), false);
    closes_later(tree, std::move(file), "a gap");
  }
  {
    auto file = written(tree, "synced", "text");
    file->fsync();
    closes_later(tree, std::move(file), "recorded before");
  }
  {
    auto file = written(tree, "named", "text");
    tree.names().set_xattr(file->inode(), "user.a", "b", 0);
    closes_later(tree, std::move(file), "extended attributes");
  }
  {
    tree.put("replaced", "old");
    auto file = written(tree, "new", "text");
    tree.rename("new", "replaced");
    closes_later(tree, std::move(file), "a file in its place");
  }
  {
    auto file = written(tree, "gone", "text");
    tree.names().unlink(kRootInode, "gone");
    closes_later(tree, std::move(file), "no name");
  }
  {
    auto file = written(tree, "shared", "text");
    auto other = tree.open("shared", {.write = true});
    closes_later(tree, std::move(file), "another writer");
    EXPECT_FALSE(tree.stat("shared").committed);
    EXPECT_TRUE(other->close(Blocking::forbidden));
  }
  EXPECT_EQ(tree.list("").size(), 6u);
  const auto all = tree.dump();
  tree.remount();
  EXPECT_EQ(tree.dump(), all);
  EXPECT_TRUE(tree.get("large") == large);
  EXPECT_EQ(tree.get("replaced"), "text");
  EXPECT_EQ(tree.get("shared"), "text");
}

TEST(TryClose, DurableOnReturnTakesTime) {
  TestTree tree({.sync = true});
  auto file = written(tree, "f", "text");
  EXPECT_FALSE(file->close(Blocking::forbidden));
  file->close();
  EXPECT_EQ(tree.get("f"), "text");
}

TEST(TryClose, NotMoreInMemoryThanMayBe) {
  TestTree tree({.commit_interval = std::chrono::hours(1)}, {.zones = 4096});
  const std::string text = pattern(kZoneSize);
  std::vector<std::shared_ptr<DeferredWrite>> deferred;
  for (std::size_t size = 0; size < Tunables::Writing{}.max_deferred; size += kZoneSize) {
    AlignedBuffer pages = AlignedBuffer::zeroed(kZoneSize);
    deferred.push_back(DeferredWrite::make(tree.pool().write_memory(), tree.device(), 0, pages));
  }
  closes_later(tree, written(tree, "f", "text"), "no memory");
  deferred.clear();
  EXPECT_TRUE(written(tree, "g", "text")->close(Blocking::forbidden));
  EXPECT_EQ(tree.get("f") + tree.get("g"), "texttext");
}

// The journal accepts nothing any more when the small file is closed.
TEST(TryClose, AfterAFailureTheFileVanishes) {
  TestTree tree;
  auto file = written(tree, "f", "text");
  tree.device().before_write(
      [](std::uint64_t, ConstByteSpan) { raise(EIO, "memory", "write made to fail"); });
  tree.names().make_file(kRootInode, "other", 0644, {});
  EXPECT_EQ(errno_of([&] { tree.names().sync(); }), EIO);
  EXPECT_FALSE(file->close(Blocking::forbidden));
  file->close();
  EXPECT_EQ(errno_of([&] { tree.stat("f"); }), ENOENT);
  tree.device().before_write(nullptr);
}

}  // namespace
}  // namespace mpool::test
