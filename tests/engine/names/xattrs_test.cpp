// Extended attributes of the tree: those of programs, facts, and rules of a directory.
#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>
#include <sys/xattr.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

using Strings = std::vector<std::string>;

TEST(Namespace, ExtendedAttributes) {
  TestTree tree;
  tree.put("f", "x");
  Namespace& names = tree.names();
  const InodeNumber f = tree.stat("f").inode;
  names.set_xattr(f, "user.colour", "red", 0);
  names.set_xattr(f, "user.empty", "", XATTR_CREATE);
  EXPECT_EQ(errno_of([&] { names.set_xattr(f, "user.colour", "x", XATTR_CREATE); }), EEXIST);
  EXPECT_EQ(errno_of([&] { names.set_xattr(f, "user.none", "x", XATTR_REPLACE); }), ENODATA);
  EXPECT_EQ(errno_of([&] { names.get_xattr(f, "user.none"); }), ENODATA);
  EXPECT_EQ(errno_of([&] { names.remove_xattr(f, "user.none"); }), ENODATA);
  EXPECT_EQ(errno_of([&] { names.set_xattr(f, "trusted.x", "", 0); }), ENOTSUP);
  EXPECT_EQ(
      errno_of([&] { names.set_xattr(f, "user.big", std::string(kMaxXattrSize + 1, 'x'), 0); }),
      E2BIG);
  EXPECT_EQ(errno_of([&] { names.set_xattr(f, "user.mpool.type", "mlog", 0); }), EPERM);
  EXPECT_EQ(names.list_xattrs(f), (Strings{"user.colour", "user.empty"}));
  tree.remount();
  EXPECT_EQ(tree.names().get_xattr(f, "user.colour"), "red");
  EXPECT_EQ(tree.names().get_xattr(f, "user.empty"), "");
  tree.names().remove_xattr(f, "user.colour");
  EXPECT_EQ(tree.names().list_xattrs(f), Strings{"user.empty"});
  expect_same_after_remount(tree);
}

TEST(Namespace, FactsAreExtendedAttributes) {
  TestTree tree;
  tree.put("f", pattern(kZoneSize + 1));
  tree.append("log", "x");
  tree.put("empty", "");
  const auto fact = [&](const std::string& path, const char* name) {
    return tree.names().get_xattr(tree.stat(path).inode, name);
  };
  tree.names().sync();
  EXPECT_EQ(fact("f", "user.mpool.type"), "mblock");
  EXPECT_EQ(fact("log", "user.mpool.type"), "mlog");
  EXPECT_EQ(fact("empty", "user.mpool.type"), "empty");
  EXPECT_EQ(fact("f", "user.mpool.class"), "capacity");
  EXPECT_EQ(fact("f", "user.mpool.committed"), "1");
  EXPECT_EQ(fact("log", "user.mpool.committed"), "0");
  const std::string objects = fact("f", "user.mpool.objects");
  EXPECT_EQ(std::ranges::count(objects, ' '), 1) << objects;
  EXPECT_TRUE(objects.starts_with("0x")) << objects;
}

TEST(Namespace, TheAdviceOfADirectoryIsThatOfWhatIsCreatedInIt) {
  constexpr const char* kName = "user.mpool.advice";
  TestTree tree;
  tree.mkdir("db");
  tree.put("before", "x");
  const auto number = [&](const std::string& path) { return tree.stat(path).inode; };
  const auto advice = [&](const std::string& path) {
    return tree.names().get_xattr(number(path), kName);
  };
  EXPECT_EQ(errno_of([&] { tree.names().set_xattr(number("db"), kName, "lukewarm", 0); }), EINVAL);
  EXPECT_EQ(errno_of([&] { advice("db"); }), ENODATA);
  tree.names().set_xattr(number("db"), kName, "hot", 0);
  tree.mkdir("db/sub");
  tree.put("db/sub/f", "x");
  tree.append("db/log", "x");
  tree.names().set_xattr(number("before"), kName, "pinned", 0);
  for (const bool again : {false, true}) {
    EXPECT_EQ(advice("db/sub"), "hot");
    EXPECT_EQ(advice("db/sub/f"), "hot");
    EXPECT_EQ(advice("db/log"), "hot");
    EXPECT_EQ(advice("before"), "pinned");
    if (!again) tree.remount();
  }
  tree.names().remove_xattr(number("db/sub/f"), kName);
  tree.names().remove_xattr(number("db"), kName);
  tree.put("db/after", "x");
  EXPECT_EQ(errno_of([&] { advice("db/sub/f"); }), ENODATA);
  EXPECT_EQ(errno_of([&] { advice("db/after"); }), ENODATA);
}

TEST(Namespace, ReportsTheAdviceOfAFileAndItsChanges) {
  constexpr const char* kName = "user.mpool.advice";
  TestTree tree;
  tree.put("f", "x");
  const InodeNumber file = tree.stat("f").inode;
  std::vector<std::pair<InodeNumber, std::string>> told;
  tree.names().events().advised.set(
      [&](InodeNumber inode, std::string_view value) { told.emplace_back(inode, value); });
  EXPECT_EQ(tree.names().advice(file), Advice::cold);
  tree.names().set_xattr(file, kName, "hot", 0);
  EXPECT_EQ(tree.names().advice(file), Advice::hot);
  EXPECT_EQ(errno_of([&] { tree.names().set_xattr(file, kName, "", 0); }), EINVAL);
  tree.names().set_xattr(file, "user.other", "warm", 0);
  tree.names().remove_xattr(file, kName);
  EXPECT_EQ(tree.names().advice(file), Advice::cold);
  EXPECT_EQ(told, (std::vector<std::pair<InodeNumber, std::string>>{{file, "hot"}, {file, ""}}));
}

TEST(Namespace, RulesOfADirectoryDecideWhatFilesBecome) {
  TestTree tree;
  tree.mkdir("db");
  Namespace& names = tree.names();
  const InodeNumber db = tree.stat("db").inode;
  EXPECT_EQ(errno_of([&] { names.set_xattr(db, "user.mpool.create", "*.log", 0); }), EINVAL);
  EXPECT_EQ(errno_of([&] { names.set_xattr(db, "user.mpool.create", "*.log=tape", 0); }), EINVAL);
  EXPECT_EQ(errno_of([&] { names.set_xattr(db, "user.mpool.class", "staging", 0); }), EINVAL);
  EXPECT_EQ(errno_of([&] { names.set_xattr(db, "user.mpool.class", "tape", 0); }), EINVAL);
  names.set_xattr(db, "user.mpool.create", "*.sst=mblock *.log=mlog MANIFEST*=mlog", 0);
  tree.mkdir("db/sub");
  tree.remount();
  tree.put("db/1.log", "written without O_APPEND");
  tree.put("db/sub/MANIFEST-1", "inherited");
  tree.append("db/2.sst", "written with O_APPEND");
  tree.put("db/other", "x");
  EXPECT_EQ(tree.stat("db/1.log").kind, FileKind::log);
  EXPECT_EQ(tree.stat("db/sub/MANIFEST-1").kind, FileKind::log);
  EXPECT_EQ(tree.stat("db/2.sst").kind, FileKind::write_once);
  EXPECT_EQ(tree.stat("db/other").kind, FileKind::write_once);
  // The decision of a rule also applies to a file that was created empty.
  tree.names().make_file(tree.stat("db").inode, "3.log", 0644, {});
  const auto file = tree.open("db/3.log", {.write = true});
  EXPECT_EQ(file->kind(), FileKind::log);
  file->close();
  expect_same_after_remount(tree);
}

}  // namespace
}  // namespace mpool::test
