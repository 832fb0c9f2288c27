// The tree through the public interface, on a pool in memory.
#include <algorithm>
#include <cerrno>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"
#include "tests/support/stepped_clock.h"

namespace mpool::test {
namespace {

using Strings = std::vector<std::string>;

TEST(Namespace, AFreshOneIsEmpty) {
  TestTree tree;
  EXPECT_TRUE(tree.dump().empty());
  const Attributes root = tree.stat("");
  EXPECT_EQ(root.inode, kRootInode);
  EXPECT_EQ(root.kind, FileKind::directory);
  EXPECT_EQ(root.mode, 0755u);
  EXPECT_EQ(root.links, 2u);
  EXPECT_FALSE(tree.names().foreign());
  expect_same_after_remount(tree);
}

TEST(Namespace, FilesDirectoriesAndLinksSurviveARemount) {
  TestTree tree;
  tree.mkdir("d");
  tree.mkdir("d/e");
  tree.put("d/file", pattern(200'000));
  tree.put("d/e/small", "x");
  tree.put("empty", "");
  tree.append("log", "one\n");
  tree.append("log", "two\n");
  tree.names().make_symlink(kRootInode, "link", "d/file", {1, 2});
  tree.names().link(tree.stat("d/file").inode, kRootInode, "hard");
  EXPECT_EQ(tree.get("d/file"), pattern(200'000));
  EXPECT_EQ(tree.get("hard"), pattern(200'000));
  EXPECT_EQ(tree.get("log"), "one\ntwo\n");
  EXPECT_EQ(tree.stat("hard").links, 2u);
  EXPECT_EQ(tree.stat("link").size, 6u);
  EXPECT_EQ(tree.stat("empty").kind, FileKind::empty);
  EXPECT_TRUE(tree.stat("d/file").committed);
  expect_same_after_remount(tree);
  EXPECT_EQ(tree.get("d/file"), pattern(200'000));
  EXPECT_EQ(tree.get("log"), "one\ntwo\n");
}

TEST(Namespace, SpecialFilesSurviveARemount) {
  TestTree tree;
  Namespace& made = tree.names();
  made.make_special(kRootInode, "fifo", FileKind::fifo, 0640, {1, 2}, 0);
  made.make_special(kRootInode, "socket", FileKind::socket, 0600, {}, 0);
  made.make_special(kRootInode, "tty", FileKind::character_device, 0620, {}, 4ull << 32 | 64);
  const Attributes disk = made.make_special(kRootInode, "disk", FileKind::block_device, 0660, {},
                                            259ull << 32 | 0xabcde);
  made.link(disk.inode, kRootInode, "link");
  EXPECT_EQ(errno_of([&] { made.make_special(kRootInode, "x", FileKind::log, 0600, {}, 0); }),
            EINVAL);
  EXPECT_EQ(errno_of([&] { tree.open("fifo", {.write = true}); }), EINVAL);
  EXPECT_EQ(errno_of([&] { made.truncate(tree.stat("fifo").inode, 5); }), EINVAL);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(tree.stat("fifo").kind, FileKind::fifo);
    EXPECT_EQ(tree.stat("fifo").mode, 0640u);
    EXPECT_EQ(tree.stat("fifo").uid, 1u);
    EXPECT_EQ(tree.stat("socket").kind, FileKind::socket);
    EXPECT_EQ(tree.stat("tty").kind, FileKind::character_device);
    EXPECT_EQ(tree.stat("tty").device, 4ull << 32 | 64);
    EXPECT_EQ(tree.stat("link").kind, FileKind::block_device);
    EXPECT_EQ(tree.stat("link").device, 259ull << 32 | 0xabcde);
    EXPECT_EQ(tree.stat("link").links, 2u);
    EXPECT_EQ(tree.stat("link").size, 0u);
    tree.remount();
  }
  tree.names().unlink(kRootInode, "fifo");
  EXPECT_EQ(errno_of([&] { tree.stat("fifo"); }), ENOENT);
}

TEST(Namespace, InodeNumbersAreStableAndNeverUsedAgain) {
  TestTree tree;
  tree.put("a", "1");
  tree.put("b", "2");
  const InodeNumber a = tree.stat("a").inode;
  const InodeNumber b = tree.stat("b").inode;
  tree.unlink("b");
  tree.remount();
  EXPECT_EQ(tree.stat("a").inode, a);
  tree.put("c", "3");
  EXPECT_GT(tree.stat("c").inode, b);
}

TEST(Namespace, RefusesAsPosixSays) {
  TestTree tree;
  tree.mkdir("d");
  tree.put("d/f", "x");
  tree.put("f", "x");
  Namespace& names = tree.names();
  const InodeNumber d = tree.stat("d").inode;
  const InodeNumber f = tree.stat("f").inode;
  EXPECT_EQ(errno_of([&] { names.lookup(kRootInode, "none"); }), ENOENT);
  EXPECT_EQ(errno_of([&] { names.lookup(f, "x"); }), ENOTDIR);
  EXPECT_EQ(errno_of([&] { names.attributes(12345); }), ESTALE);
  EXPECT_EQ(errno_of([&] { tree.mkdir("f"); }), EEXIST);
  EXPECT_EQ(errno_of([&] { tree.create("f"); }), EEXIST);
  EXPECT_EQ(errno_of([&] { tree.mkdir(std::string(256, 'n')); }), ENAMETOOLONG);
  EXPECT_EQ(errno_of([&] { names.make_directory(kRootInode, "a/b", 0755, {}); }), EINVAL);
  EXPECT_EQ(errno_of([&] { names.make_directory(kRootInode, "..", 0755, {}); }), EINVAL);
  EXPECT_EQ(errno_of([&] { tree.unlink("none"); }), ENOENT);
  EXPECT_EQ(errno_of([&] { tree.unlink("d"); }), EISDIR);
  EXPECT_EQ(errno_of([&] { names.remove_directory(kRootInode, "f"); }), ENOTDIR);
  EXPECT_EQ(errno_of([&] { names.remove_directory(kRootInode, "d"); }), ENOTEMPTY);
  EXPECT_EQ(errno_of([&] { names.link(d, kRootInode, "hard"); }), EPERM);
  EXPECT_EQ(errno_of([&] { names.read_symlink(f); }), EINVAL);
  EXPECT_EQ(errno_of([&] { names.open(d, {.read = true}); }), EISDIR);
  EXPECT_EQ(errno_of([&] { tree.rename("none", "x"); }), ENOENT);
  EXPECT_EQ(errno_of([&] { tree.rename("d", "d/inner"); }), EINVAL);
  EXPECT_EQ(errno_of([&] { tree.rename("f", "d"); }), EISDIR);
  EXPECT_EQ(errno_of([&] { tree.rename("d", "f"); }), ENOTDIR);
  EXPECT_EQ(errno_of([&] { tree.rename("f", "d/f", RenameMode::no_replace); }), EEXIST);
  EXPECT_EQ(errno_of([&] { tree.rename("f", "none", RenameMode::exchange); }), ENOENT);
  tree.mkdir("e");
  EXPECT_EQ(errno_of([&] { tree.rename("e", "d"); }), ENOTEMPTY);
  expect_same_after_remount(tree);
}

TEST(Namespace, NothingIsMadeInARemovedDirectory) {
  TestTree tree;
  tree.mkdir("d");
  const InodeNumber d = tree.stat("d").inode;
  tree.names().remove_directory(kRootInode, "d");
  EXPECT_NE(errno_of([&] { tree.names().make_directory(d, "x", 0755, {}); }), 0);
}

TEST(Namespace, RenameReplacesAndExchanges) {
  TestTree tree;
  tree.put("a", "aaa");
  tree.put("b", "bb");
  tree.mkdir("d");
  tree.rename("a", "d/a");
  tree.rename("b", "d/a");
  EXPECT_EQ(tree.list(""), Strings{"d"});
  EXPECT_EQ(tree.get("d/a"), "bb");
  tree.put("c", "c");
  tree.rename("c", "d/a", RenameMode::exchange);
  EXPECT_EQ(tree.get("c"), "bb");
  EXPECT_EQ(tree.get("d/a"), "c");
  tree.names().link(tree.stat("c").inode, kRootInode, "same");
  tree.rename("c", "same");
  EXPECT_EQ(tree.stat("c").links, 2u);
  expect_same_after_remount(tree);
}

TEST(Namespace, DirectoriesAreReadInAStableOrder) {
  TestTree tree;
  for (int i = 0; i < 300; ++i)
    tree.mkdir("n" + std::to_string(i));
  std::set<std::string> seen;
  std::uint64_t cookie = 0;
  int removed = 0;
  for (bool more = true; more;) {
    more = false;
    tree.names().read_directory(kRootInode, cookie, [&](const DirectoryEntry& entry) {
      if (more) return false;  // one entry at a time
      EXPECT_TRUE(seen.emplace(entry.name).second) << entry.name;
      cookie = entry.cookie;
      return more = true;
    });
    // Removing entries already seen must not move the rest.
    if (more && seen.size() % 3 == 0) {
      tree.names().remove_directory(kRootInode, "n" + std::to_string(removed++));
    }
  }
  EXPECT_EQ(seen.size(), 300u);
}

TEST(Namespace, AttributesAreChangedAndKept) {
  TestTree tree;
  tree.put("f", "x");
  AttributeChange change;
  change.mode = 04750;
  change.uid = 7;
  change.gid = 8;
  change.mtime = std::timespec{-5, 123};
  change.atime = std::timespec{1'700'000'000, 999'999'999};
  tree.names().set_attributes(tree.stat("f").inode, change);
  for (int round = 0; round < 2; ++round) {
    const Attributes attributes = tree.stat("f");
    EXPECT_EQ(attributes.mode, 04750u);
    EXPECT_EQ(attributes.uid, 7u);
    EXPECT_EQ(attributes.gid, 8u);
    EXPECT_EQ(attributes.mtime.tv_sec, -5);
    EXPECT_EQ(attributes.mtime.tv_nsec, 123);
    EXPECT_EQ(attributes.atime.tv_nsec, 999'999'999);
    tree.remount();
  }
}

TEST(Namespace, TimesSetBeforeTheCommitStay) {
  TestTree tree;
  const auto file = tree.create("copy");
  file->write(0, bytes_of("data"), false);
  AttributeChange change;
  change.mtime = std::timespec{1000, 0};
  tree.names().set_attributes(file->inode(), change);
  file->flush();
  file->close();
  EXPECT_EQ(tree.stat("copy").mtime.tv_sec, 1000);
  tree.remount();
  EXPECT_EQ(tree.stat("copy").mtime.tv_sec, 1000);
}

TEST(Namespace, DirectoriesKeepTheTimesOfTheirChanges) {
  TestTree tree;
  tree.mkdir("d");
  tree.put("d/f", "x");
  const std::timespec before = tree.stat("d").mtime;
  tree.remount();
  EXPECT_EQ(tree.stat("d").mtime.tv_sec, before.tv_sec);
  EXPECT_EQ(tree.stat("d").mtime.tv_nsec, before.tv_nsec);
}

TEST(Namespace, SetGroupIdDirectoriesHandTheirGroupDown) {
  TestTree tree;
  tree.mkdir("d");
  AttributeChange change;
  change.mode = 02775;
  change.gid = 55;
  tree.names().set_attributes(tree.stat("d").inode, change);
  tree.mkdir("d/e");
  tree.put("d/f", "x");
  EXPECT_EQ(tree.stat("d/e").gid, 55u);
  EXPECT_EQ(tree.stat("d/e").mode, 02755u);
  EXPECT_EQ(tree.stat("d/f").gid, 55u);
}

TEST(Namespace, DeletedFilesGiveTheirSpaceBack) {
  TestTree tree;
  const auto used = [&] {
    tree.names().sync();
    tree.pool().wait_for_discards(std::chrono::seconds(10));
    return tree.pool().class_info(MediaClass::capacity).space.used;
  };
  const auto before = used();
  tree.put("f", pattern(10 * kZoneSize));
  tree.append("log", "text");
  EXPECT_EQ(used(), before + 11);
  tree.names().link(tree.stat("f").inode, kRootInode, "g");
  tree.unlink("f");
  EXPECT_EQ(used(), before + 11);
  tree.unlink("g");
  tree.unlink("log");
  EXPECT_EQ(used(), before);
  expect_same_after_remount(tree);
  EXPECT_EQ(used(), before);
}

TEST(Namespace, SpaceIsThatOfTheClass) {
  TestTree tree;
  const SpaceStats stats = tree.names().space(kRootInode);
  EXPECT_EQ(stats.block_size, kZoneSize);
  EXPECT_EQ(stats.blocks, 512u);
  EXPECT_LT(stats.free, stats.blocks);
  EXPECT_EQ(stats.files, 1u) << "the root";
  EXPECT_GT(stats.available_files, 100u);
  EXPECT_LE(stats.available_files, stats.available);
}

TEST(Namespace, ReadOnlyChangesNothing) {
  TestTree tree;
  tree.put("f", "text");
  tree.unmount();
  NamespaceOptions options;
  options.read_only = true;
  TestTree reader(std::make_shared<Media>(*tree.media()), options);
  EXPECT_EQ(reader.get("f"), "text");
  int writes = 0;
  reader.device().before_write([&](std::uint64_t, ConstByteSpan) { ++writes; });
  EXPECT_EQ(errno_of([&] { reader.mkdir("d"); }), EROFS);
  EXPECT_EQ(errno_of([&] { reader.unlink("f"); }), EROFS);
  EXPECT_EQ(errno_of([&] { reader.rename("f", "g"); }), EROFS);
  EXPECT_EQ(errno_of([&] { reader.open("f", {.write = true}); }), EROFS);
  EXPECT_EQ(errno_of([&] { reader.names().set_attributes(kRootInode, {}); }), EROFS);
  EXPECT_EQ(errno_of([&] { reader.names().set_xattr(kRootInode, "user.a", "b", 0); }), EROFS);
  reader.unmount();
  EXPECT_EQ(writes, 0);
}

TEST(Namespace, ARootMdcOfAnotherProgramIsLeftAlone) {
  TestTree tree;
  tree.unmount();
  {
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::make_unique<MemoryDevice>("memory", tree.media()));
    const auto pool = Pool::activate(std::move(devices), {.force = false, .mdc_count = 2});
    const auto root = pool->open_root_mdc();
    root->compact([](const Mdc::Append& append) { append(bytes_of("somebody else's record")); });
  }
  tree.mount();
  EXPECT_TRUE(tree.names().foreign());
  EXPECT_TRUE(tree.list("").empty());
  EXPECT_EQ(errno_of([&] { tree.mkdir("d"); }), EROFS);
  tree.remount();
  EXPECT_TRUE(tree.names().foreign());
}

TEST(Namespace, TheRootMdcIsCompactedWhenItFills) {
  TestTree tree({}, {.zones = 512, .root_capacity = kZoneSize});
  tree.put("kept", pattern(1000));
  for (int i = 0; i < 2000; ++i) {
    tree.mkdir("d");
    tree.names().remove_directory(kRootInode, "d");
  }
  tree.mkdir("last");
  EXPECT_EQ(tree.list(""), (Strings{"kept", "last"}));
  expect_same_after_remount(tree);
}

TEST(Namespace, AFullRootMdcRefusesNewNamesButNotDeletion) {
  TestTree tree({}, TestTree::without_growth());
  int made = 0;
  int code = 0;
  while (code == 0) {
    code = errno_of([&] { tree.mkdir("directory-" + std::to_string(made)); });
    if (code == 0) ++made;
  }
  EXPECT_EQ(code, ENOSPC);
  EXPECT_GT(made, 100);
  EXPECT_EQ(tree.list("").size(), static_cast<std::size_t>(made));
  for (int i = 0; i < made; ++i) {
    tree.names().remove_directory(kRootInode, "directory-" + std::to_string(i));
  }
  tree.mkdir("again");
  expect_same_after_remount(tree);
}

TEST(Namespace, SyncMakesEveryChangeDurableOnReturn) {
  NamespaceOptions options;
  options.sync = true;
  options.commit_interval = std::chrono::hours(1);
  TestTree tree(options);
  const auto expect_durable = [&](const char* what) {
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    EXPECT_EQ(crashed.dump(), tree.dump()) << what;
  };
  tree.mkdir("d");
  expect_durable("mkdir");
  tree.put("d/f", "text");
  expect_durable("commit");
  tree.append("log", "text");
  tree.open("log", {.write = true, .append = true})->close();
  tree.rename("d/f", "g");
  expect_durable("rename");
  tree.unlink("g");
  expect_durable("unlink");
}

TEST(Namespace, ChangesReachTheMediaByThemselves) {
  SteppedClock clock;
  NamespaceOptions options;
  options.commit_interval = std::chrono::hours(1);
  TestTree tree(options, {.clock = &clock});
  const auto on_media = [&] {
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    return crashed.dump();
  };
  tree.put("f", "text");
  tree.append("log", "line");
  const auto expected = tree.dump();
  clock.await_wait(options.commit_interval);
  EXPECT_NE(on_media(), expected);
  clock.advance(options.commit_interval);
  while (on_media() != expected)
    std::this_thread::yield();
}

TEST(Namespace, AFailingDeviceIsTold) {
  TestTree tree;
  tree.put("f", "text");
  tree.names().sync();
  tree.device().before_write(
      [](std::uint64_t, ConstByteSpan) { raise(EIO, "memory", "write made to fail"); });
  tree.mkdir("d");
  EXPECT_EQ(errno_of([&] { tree.names().sync(); }), EIO);
  EXPECT_EQ(errno_of([&] { tree.mkdir("e"); }), EIO);
  EXPECT_EQ(tree.get("f"), "text");
  tree.device().before_write(nullptr);
  tree.unmount();
  tree.mount();
  EXPECT_EQ(tree.list(""), Strings{"f"});
}

}  // namespace
}  // namespace mpool::test
