// Removing names without blocking.
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <map>
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

bool try_unlink(TestTree& tree, const std::string& path) {
  const auto [parent, name] = tree.split(path);
  return tree.names().unlink(parent, name, Blocking::forbidden);
}

bool try_remove_directory(TestTree& tree, const std::string& path) {
  const auto [parent, name] = tree.split(path);
  return tree.names().remove_directory(parent, name, Blocking::forbidden);
}

TEST(TryUnlink, TakesNameAndObjects) {
  TestTree tree;
  const std::uint32_t empty = tree.used_zones();
  tree.put("f", pattern(3 * kZoneSize));
  tree.put("other", "stays");
  tree.names().sync();
  EXPECT_TRUE(try_unlink(tree, "f"));
  EXPECT_EQ(tree.list(""), std::vector<std::string>{"other"});
  EXPECT_EQ(tree.used_zones(), empty + 1);
  tree.remount();
  EXPECT_EQ(tree.list(""), std::vector<std::string>{"other"});
  EXPECT_EQ(tree.get("other"), "stays");
}

TEST(TryUnlink, DoesNoIo) {
  TestTree tree({.commit_interval = std::chrono::hours(1)});
  tree.put("f", "text");
  tree.names().sync();
  const auto before = tree.device().counters();
  EXPECT_TRUE(try_unlink(tree, "f"));
  EXPECT_EQ(tree.device().counters().writes, before.writes);
  EXPECT_EQ(tree.device().counters().reads, before.reads);
}

TEST(TryUnlink, OfAnOpenFile) {
  TestTree tree;
  const std::uint32_t empty = tree.used_zones();
  tree.put("f", pattern(kZoneSize));
  const auto reader = tree.open("f", {.read = true});
  EXPECT_TRUE(try_unlink(tree, "f"));
  EXPECT_EQ(tree.used_zones(), empty + 1);
  EXPECT_TRUE(TestTree::read_all(*reader) == pattern(kZoneSize));
  reader->close();
  EXPECT_EQ(tree.used_zones(), empty);
}

TEST(TryUnlink, OneOfTwoNames) {
  TestTree tree;
  tree.put("f", "text");
  tree.names().link(tree.stat("f").inode, kRootInode, "g");
  EXPECT_TRUE(try_unlink(tree, "f"));
  EXPECT_EQ(tree.stat("g").links, 1u);
  tree.remount();
  EXPECT_EQ(tree.get("g"), "text");
}

TEST(TryUnlink, WhatHasToWaitIsLeftAlone) {
  TestTree tree;
  tree.append("log", "line\n");
  const ScopedFile written(tree.create("written"));
  written->write(0, bytes_of("text"), false);
  for (const char* name : {"log", "written"}) {
    EXPECT_FALSE(try_unlink(tree, name)) << name;
    EXPECT_NO_THROW(tree.stat(name));
    tree.names().unlink(kRootInode, name);
    EXPECT_EQ(errno_of([&] { tree.stat(name); }), ENOENT);
  }
}

// A rename has put a file that is being written in the place of another one.
TEST(TryUnlink, OfWhatDisplacesAnotherFile) {
  TestTree tree;
  tree.put("f", "old");
  {
    const ScopedFile written(tree.create("new"));
    tree.rename("new", "f");
    EXPECT_FALSE(try_unlink(tree, "f"));
    tree.names().unlink(kRootInode, "f");
  }
  tree.remount();
  EXPECT_TRUE(tree.list("").empty());
}

TEST(TryUnlink, ManyExtentsTakeTime) {
  TestTree tree;
  {
    const ScopedFile file(tree.create("f"));
    for (std::uint64_t i = 0; i < 1100; ++i)
      file->write(2 * i * kPageSize, bytes_of(pattern(kPageSize)), false);
    file->fsync();
  }
  tree.names().sync();
  EXPECT_FALSE(try_unlink(tree, "f"));
  EXPECT_NO_THROW(tree.stat("f"));
}

TEST(TryUnlink, DurableOnReturnTakesTime) {
  TestTree tree({.sync = true});
  tree.put("f", "text");
  tree.mkdir("d");
  EXPECT_FALSE(try_unlink(tree, "f"));
  EXPECT_FALSE(try_remove_directory(tree, "d"));
  EXPECT_EQ(tree.list("").size(), 2u);
}

TEST(TryUnlink, Errors) {
  TestTree tree;
  tree.put("f", "text");
  tree.mkdir("d");
  tree.put("d/g", "text");
  EXPECT_EQ(errno_of([&] { try_unlink(tree, "none"); }), ENOENT);
  EXPECT_EQ(errno_of([&] { try_unlink(tree, "d"); }), EISDIR);
  EXPECT_EQ(errno_of([&] { try_unlink(tree, "f/x"); }), ENOTDIR);
  EXPECT_EQ(errno_of([&] { try_unlink(tree, std::string(kMaxNameLength + 1, 'n')); }),
            ENAMETOOLONG);
  EXPECT_EQ(errno_of([&] { try_remove_directory(tree, "none"); }), ENOENT);
  EXPECT_EQ(errno_of([&] { try_remove_directory(tree, "f"); }), ENOTDIR);
  EXPECT_EQ(errno_of([&] { try_remove_directory(tree, "d"); }), ENOTEMPTY);
  EXPECT_TRUE(try_unlink(tree, "d/g"));
  EXPECT_TRUE(try_remove_directory(tree, "d"));
  EXPECT_EQ(errno_of([&] { tree.stat("d"); }), ENOENT);
  tree.remount();
  EXPECT_EQ(tree.list(""), std::vector<std::string>{"f"});
}

TEST(TryUnlink, ReadOnly) {
  TestTree tree;
  tree.put("f", "text");
  tree.unmount();
  TestTree shown(tree.media(), {.read_only = true});
  EXPECT_EQ(errno_of([&] { try_unlink(shown, "f"); }), EROFS);
  EXPECT_EQ(errno_of([&] { try_remove_directory(shown, "f"); }), EROFS);
}

// Compactions exclude changes from time to time: an unlink that would block is done by the
// blocking call, and neither is lost.
TEST(TryUnlink, BesideCompactions) {
  constexpr int kThreads = 3;
  constexpr int kRounds = 600;
  TestTree tree({.commit_interval = std::chrono::milliseconds(1)},
                {.zones = 512, .root_capacity = kZoneSize});
  std::array<std::map<std::string, bool>, kThreads> expected;
  std::atomic<int> at_once = 0;
  const auto work = [&](int thread) {
    std::mt19937 random(thread);
    for (int i = 0; i < kRounds; ++i) {
      const std::string name = fmt::format("{}-{}", thread, random() % 20);
      bool& there = expected[thread][name];
      if (!there) {
        tree.names().make_file(kRootInode, name, 0644, {});
      } else if (tree.names().unlink(kRootInode, name, Blocking::forbidden)) {
        ++at_once;
      } else {
        tree.names().unlink(kRootInode, name);
      }
      there = !there;
    }
  };
  std::array<std::thread, kThreads> threads;
  for (int i = 0; i < kThreads; ++i)
    threads[i] = std::thread(work, i);
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_GT(at_once, 0);
  for (int remounted = 0; remounted < 2; ++remounted) {
    for (const auto& names : expected) {
      for (const auto& [name, there] : names)
        EXPECT_EQ(errno_of([&] { tree.stat(name); }), there ? 0 : ENOENT) << name;
    }
    tree.remount();
  }
}

}  // namespace
}  // namespace mpool::test
