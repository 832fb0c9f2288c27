// Objects by id below `.mpool`, over a tree in memory.
#include "fuse/control/object_files.h"

#include <cerrno>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/object/mblock.h"
#include "tests/engine/names/support.h"

namespace mpoolfs {
namespace {

using mpool::ObjectId;
using mpool::ObjectType;
using mpool::test::errno_of;
using mpool::test::kZoneSize;
using mpool::test::pattern;
using mpool::test::TestTree;
using testing::Contains;
using testing::Not;

using ListedNames = std::vector<std::string>;

class ObjectFilesTest : public testing::Test {
 protected:
  // The names after a node, at most so many of them.
  static ListedNames listed(const ObjectFiles& files, ControlProvider::Node& after,
                            std::size_t most = 1000) {
    ListedNames names;
    files.list(after, [&](ControlProvider::Node node, std::string_view name) {
      if (names.size() == most) return false;
      EXPECT_GT(node, after);
      EXPECT_EQ(files.lookup(name), node);
      names.emplace_back(name);
      after = node;
      return true;
    });
    return names;
  }
  static ListedNames listed(const ObjectFiles& files) {
    ControlProvider::Node after = 0;
    return listed(files, after);
  }
  std::string content_of(ObjectFiles& files, const std::string& name) {
    const auto file = files.open(files.lookup(name).value(), {.read = true});
    std::string text;
    for (std::string part; !(part = file->read(text.size(), 5000)).empty();)
      text += part;
    return text;
  }
  std::vector<std::string> objects_of(const std::string& path) {
    const std::string ids = tree_.names().get_xattr(tree_.stat(path).inode, "user.mpool.objects");
    std::vector<std::string> all;
    for (std::size_t begin = 0; begin < ids.size();) {
      const std::size_t end = std::min(ids.find(' ', begin), ids.size());
      all.push_back(ids.substr(begin, end - begin));
      begin = end + 1;
    }
    return all;
  }

  TestTree tree_;
  ProgramObjects objects_{tree_.pool(), tree_.names(), false};
  ObjectFiles mblocks_{objects_, tree_.names(), ObjectType::mblock};
  ObjectFiles mlogs_{objects_, tree_.names(), ObjectType::mlog};
};

TEST_F(ObjectFilesTest, ShowTheContentOfFiles) {
  const std::string content = pattern(2 * kZoneSize + 5000);
  tree_.put("f", content);
  tree_.append("log", "first ");
  tree_.append("log", "second");
  tree_.names().sync();
  std::string together;
  for (const std::string& object : objects_of("f")) {
    const auto info = mblocks_.describe(mblocks_.lookup(object).value());
    EXPECT_EQ(info.kind, mpool::FileKind::empty);
    EXPECT_EQ(info.mode, 0400u);
    EXPECT_EQ(info.space, kZoneSize);
    EXPECT_GE(info.size, 5000u);
    const std::string part = content_of(mblocks_, object);
    EXPECT_EQ(part.size(), info.size);
    together += part;
  }
  EXPECT_TRUE(together.substr(0, content.size()) == content);
  const auto logs = objects_of("log");
  ASSERT_EQ(logs.size(), 1u);
  EXPECT_EQ(content_of(mlogs_, logs.front()), "first second");
  EXPECT_EQ(mblocks_.lookup(logs.front()), std::nullopt) << "another type";
}

TEST_F(ObjectFilesTest, AreListedInAscendingOrderInManyCalls) {
  std::vector<ObjectId> ids;
  for (int i = 0; i < 50; ++i)
    ids.push_back(mpool::store_mblock(tree_.pool(), {}, std::vector<std::byte>(4096)));
  std::ranges::sort(ids);
  ListedNames wanted;
  for (const ObjectId id : ids)
    wanted.push_back(id.to_string());
  EXPECT_EQ(listed(mblocks_), wanted);
  ListedNames found;
  ControlProvider::Node after = 0;
  for (ListedNames part; !(part = listed(mblocks_, after, 7)).empty();)
    found.insert(found.end(), part.begin(), part.end());
  EXPECT_EQ(found, wanted);
  EXPECT_THAT(listed(mlogs_), Contains(mpool::root_log_id(0).to_string()));

  // The kernel passes over an object that was removed during a listing.
  after = 0;
  listed(mblocks_, after, 1);
  tree_.pool().remove(std::span(&ids[1], 1));
  EXPECT_EQ(errno_of([&] { mblocks_.describe(after + 1); }), ESTALE);
  EXPECT_THAT(listed(mblocks_), Not(Contains(wanted[1])));
}

TEST_F(ObjectFilesTest, HaveOneNameEach) {
  const ObjectId id = mpool::store_mblock(tree_.pool(), {}, std::vector<std::byte>(4096));
  const std::string name = id.to_string();
  EXPECT_TRUE(mblocks_.lookup(name));
  for (const std::string& other :
       {name.substr(2), "0x0" + name.substr(2), "0X" + name.substr(2), name + " ", name + "0",
        std::string("0x"), std::string("0xffffffffffffffff"), std::string("0x1ffffffffffffffff"),
        std::string("0x-1"), std::string("")}) {
    EXPECT_FALSE(mblocks_.lookup(other)) << other;
  }
}

TEST_F(ObjectFilesTest, BelongToThePoolsOwner) {
  tree_.pool().configure({.uid = 12, .gid = 34});
  const ObjectFiles files(objects_, tree_.names(), ObjectType::mlog);
  for (const ControlProvider::Node node :
       {ControlProvider::kSelf, files.lookup(mpool::root_log_id(0).to_string()).value()}) {
    const auto info = files.describe(node);
    EXPECT_EQ(info.uid, 12u);
    EXPECT_EQ(info.gid, 34u);
    EXPECT_EQ(info.mode & 077, 0u) << "for nobody else";
  }
}

TEST_F(ObjectFilesTest, StayWhileTheyAreOpen) {
  tree_.put("f", pattern(5000));
  tree_.names().sync();
  const std::string name = objects_of("f").front();
  auto file = mblocks_.open(mblocks_.lookup(name).value(), {.read = true});
  tree_.unlink("f");
  tree_.names().sync();
  EXPECT_TRUE(file->read(0, 5000) == pattern(5000));
  EXPECT_EQ(file->read(1u << 20, 1), "");
  EXPECT_EQ(errno_of([&] { file->write(0, {}); }), EPERM);
  file.reset();
  tree_.put("g", "");
  tree_.names().sync();
  EXPECT_FALSE(mblocks_.lookup(name));
}

}  // namespace
}  // namespace mpoolfs
