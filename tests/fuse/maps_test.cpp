// Maps over a tree in memory, made by sessions of `.mpool/ctl`, called as the daemon does.
#include "fuse/control/maps.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpool/ioctl.h>

#include "fuse/control/control_tree.h"
#include "fuse/control/object_control.h"
#include "tests/engine/names/support.h"
#include "tests/fuse/maps_support.h"

namespace mpoolfs {
namespace {

using mpool::ObjectId;
using mpool::test::errno_of;
using mpool::test::kZoneSize;
using mpool::test::pattern;
using mpool::test::TestTree;
using testing::ElementsAre;
using testing::IsEmpty;

class MapsTest : public testing::Test {
 protected:
  MapsTest() {
    control_.add("ctl", std::make_unique<ObjectControl>(objects_, maps_.maps));
    directory_ = control_.add(
        "map", std::make_unique<MapFiles>(maps_.maps, MapFiles::Owner{.uid = 7, .gid = 8}));
    maps_.maps.mounted_at(directory_);
    session_ = open_session();
  }
  ~MapsTest() override { control_.close(session_); }

  ControlTree::HandleNumber open_session() {
    const auto ctl = control_.lookup(ControlTree::kDirectory, "ctl").value().inode;
    return control_.open(ctl, {.read = true, .write = true});
  }

  template <typename T>
  T call(unsigned command, T value) {
    const bool result = (_IOC_DIR(command) & _IOC_READ) != 0;
    const auto out = control_.ioctl(session_, command, mpool::as_bytes(&value, sizeof value),
                                    result ? sizeof value : 0);
    if (result) std::memcpy(&value, out.data(), sizeof value);
    return value;
  }
  template <typename T>
  static T named(const std::string& name) {
    T value{};
    std::memcpy(value.name, name.data(), std::min(name.size(), sizeof value.name));
    return value;
  }

  static mpool_ioc_member member(ObjectId id) {
    return {.id = id.value, .kind = MPOOL_IOC_MEMBER_MBLOCK, .reserved = 0};
  }
  mpool_ioc_member member(const std::string& path) {
    return {.id = tree_.stat(path).inode, .kind = MPOOL_IOC_MEMBER_FILE, .reserved = 0};
  }
  mpool_ioc_map_create create(const std::string& name, const std::vector<mpool_ioc_member>& members,
                              std::uint32_t flags = 0) {
    control_.write(session_, 16,
                   mpool::as_bytes(members.data(), members.size() * sizeof members.front()));
    auto create = named<mpool_ioc_map_create>(name);
    create.offset = 16;
    create.count = static_cast<std::uint32_t>(members.size());
    create.advice = MPOOL_IOC_WARM;
    create.flags = flags;
    return call(MPOOL_IOC_MAP_CREATE, create);
  }
  int refusal(const std::string& name, const std::vector<mpool_ioc_member>& members) {
    return errno_of([&] { create(name, members); });
  }
  std::vector<std::string> listed() {
    std::vector<std::string> names;
    control_.read_directory(directory_, 0, [&](const mpool::DirectoryEntry& entry) {
      names.emplace_back(entry.name);
      return true;
    });
    return names;
  }
  ControlTree::HandleNumber open(const std::string& name) {
    return control_.open(control_.lookup(directory_, name).value().inode, {.read = true});
  }
  std::string content_of(const std::string& name) {
    const auto file = open(name);
    std::string text;
    for (std::string part; !(part = control_.read(file, text.size(), 5000)).empty();)
      text += part;
    control_.close(file);
    return text;
  }

  TestTree tree_;
  test::TestMaps maps_{tree_};
  ProgramObjects objects_{tree_.pool(), tree_.names(), false};
  ControlTree control_{std::timespec{1, 2}};
  mpool::InodeNumber directory_ = 0;
  ControlTree::HandleNumber session_ = 0;
};

TEST_F(MapsTest, AreFilesOfTheirMembers) {
  const std::string first = pattern(2 * kZoneSize + 4096, 1);  // 3 mblocks
  const std::string second = pattern(10000, 2);
  tree_.put("first", first);
  tree_.put("second", second);
  const auto created = create("both", {member("second"), member("first")});
  EXPECT_EQ(created.members, 4u);
  EXPECT_EQ(created.stride, kZoneSize);
  std::string expected = second + std::string(kZoneSize - second.size(), '\0') + first;
  expected.resize(4 * kZoneSize);
  EXPECT_EQ(content_of("both"), expected);
  EXPECT_THAT(listed(), ElementsAre("both"));
  const mpool::Attributes file = control_.lookup(directory_, "both").value();
  EXPECT_EQ(file.size, 4 * kZoneSize);
  EXPECT_EQ(file.mode, 0400u);
  EXPECT_EQ(file.uid, 7u);
  const auto opened = open("both");
  EXPECT_EQ(control_.reply(opened).caching, Caching::kept);
  control_.close(opened);
  EXPECT_EQ(errno_of([&] { control_.open(file.inode, {.read = true, .write = true}); }), EACCES);
}

TEST_F(MapsTest, ShowTheirFacts) {
  tree_.put("f", pattern(kZoneSize + 5000));
  create("m", {member("f"), member("f")});
  const auto facts = call(MPOOL_IOC_MAP_SHOW, named<mpool_ioc_map>("m"));
  EXPECT_EQ(facts.members, 4u);
  EXPECT_EQ(facts.stride, kZoneSize);
  EXPECT_EQ(facts.written, 2 * (kZoneSize + 8192));
  EXPECT_EQ(facts.advice, unsigned{MPOOL_IOC_WARM});
  EXPECT_EQ(facts.flags, 0u) << "served by the daemon";
  auto members = named<mpool_ioc_map_members>("m");
  members.first = 1;
  members.count = MPOOL_IOC_MAP_MEMBERS_MAX;
  members = call(MPOOL_IOC_MAP_MEMBERS, members);
  EXPECT_EQ(members.count, 3u);
  EXPECT_EQ(members.objid[0], members.objid[2]);
  EXPECT_EQ(members.length[0], 8192u);
  EXPECT_EQ(members.length[1], kZoneSize);
  auto range = named<mpool_ioc_map_range>("m");
  range.value = MPOOL_IOC_PINNED;
  call(MPOOL_IOC_MAP_RANGE, range);
  EXPECT_EQ(maps_.maps.find("m")->cached().advice(), mpool::Advice::pinned);
}

TEST_F(MapsTest, ArePurgedThroughTheKernelWhereTheDaemonServesThem) {
  tree_.put("f", pattern(5000));
  create("m", {member("f")});
  auto range = named<mpool_ioc_map_range>("m");
  range.action = MPOOL_IOC_MAP_PURGE;
  call(MPOOL_IOC_MAP_RANGE, range);
  range.offset = 4096;
  range.length = 4096;
  call(MPOOL_IOC_MAP_RANGE, range);
  const mpool::InodeNumber inode = control_.lookup(directory_, "m").value().inode;
  EXPECT_THAT(maps_.purged,
              ElementsAre(std::tuple(inode, 0u, 0u), std::tuple(inode, 4096u, 4096u)));
  range.action = MPOOL_IOC_MAP_WILLNEED;
  EXPECT_EQ(errno_of([&] { call(MPOOL_IOC_MAP_RANGE, range); }), EOPNOTSUPP);
  auto residency = named<mpool_ioc_map_residency>("m");
  residency.step = 4096;
  residency.count = 1;
  EXPECT_EQ(errno_of([&] { call(MPOOL_IOC_MAP_RESIDENCY, residency); }), EOPNOTSUPP);
}

TEST_F(MapsTest, KeepFilesThatAreRemoved) {
  const std::string text = pattern(3 * kZoneSize);
  tree_.put("f", text);
  tree_.names().sync();
  const std::uint32_t used = tree_.used_zones();
  create("m", {member("f")});
  const ObjectId id = maps_.maps.find("m")->collection().members()[0];
  const auto opened = open("m");
  tree_.names().unlink(mpool::kRootInode, "f");
  tree_.names().sync();
  EXPECT_EQ(tree_.used_zones(), used);
  control_.remove(directory_, "m");
  EXPECT_THAT(listed(), IsEmpty());
  EXPECT_FALSE(control_.lookup(directory_, "m"));
  EXPECT_EQ(control_.read(opened, 0, text.size()), text.substr(0, text.size()));
  EXPECT_TRUE(tree_.pool().find(id));
  control_.close(opened);
  tree_.names().sync();
  EXPECT_FALSE(tree_.pool().find(id));
  EXPECT_EQ(tree_.used_zones(), used - 3);
}

TEST_F(MapsTest, KeepTheObjectsOfPrograms) {
  mpool::ClientPool& client = objects_.client();
  const ObjectId id =
      client.allocate_mblock(mpool::MediaClass::capacity, mpool::SpacePolicy::usable_only).id;
  EXPECT_EQ(refusal("m", {member(id)}), EAGAIN);
  client.commit(id);
  create("m", {member(id)});
  EXPECT_EQ(content_of("m"), std::string(4096, '\0')) << "nothing is written";
  EXPECT_EQ(errno_of([&] { client.remove(id); }), EBUSY);
  control_.remove(directory_, "m");
  client.remove(id);
}

TEST_F(MapsTest, OfASessionEndWithIt) {
  tree_.put("f", "text");
  create("stays", {member("f")});
  const auto first = session_;
  session_ = open_session();
  create("goes", {member("f")}, MPOOL_IOC_MAP_OF_SESSION);
  create("again", {member("f")}, MPOOL_IOC_MAP_OF_SESSION);
  control_.remove(directory_, "again");
  control_.close(session_);
  session_ = first;
  create("again", {member("f")});
  EXPECT_THAT(listed(), ElementsAre("stays", "again"));
}

TEST_F(MapsTest, RefuseWhatIsNoMap) {
  tree_.put("f", pattern(5000));
  tree_.append("log", "text");
  tree_.names().make_directory(mpool::kRootInode, "d", 0755, {});
  tree_.names().make_file(mpool::kRootInode, "empty", 0644, {});
  tree_.names().sync();
  EXPECT_EQ(refusal("m", {member("log")}), EINVAL);
  EXPECT_EQ(refusal("m", {member("d")}), EINVAL);
  EXPECT_EQ(refusal("m", {member("empty")}), EINVAL);
  EXPECT_EQ(refusal("m", {member(ObjectId{0x201})}), EINVAL);
  EXPECT_EQ(refusal("m", {member(ObjectId::make(99999, mpool::ObjectType::mblock, 1))}), ENOENT);
  EXPECT_EQ(refusal("m", {{.id = 1, .kind = 2, .reserved = 0}}), EINVAL);
  EXPECT_EQ(refusal("m", {{.id = 1, .kind = 0, .reserved = 1}}), EINVAL);
  EXPECT_EQ(refusal("m", std::vector(8193, member("f"))), E2BIG);
  for (const char* name : {"", ".", "..", "a/b", "a\nb"})
    EXPECT_EQ(refusal(name, {member("f")}), EINVAL) << name;
  EXPECT_EQ(refusal(std::string(MPOOL_IOC_MAP_NAME, 'x'), {member("f")}), EINVAL);
  create(std::string(MPOOL_IOC_MAP_NAME - 1, 'x'), {member("f")});
  create("m", {member("f")});
  EXPECT_EQ(refusal("m", {member("f")}), EEXIST);
  EXPECT_EQ(errno_of([&] { call(MPOOL_IOC_MAP_SHOW, named<mpool_ioc_map>("other")); }), ENOENT);
  EXPECT_EQ(errno_of([&] { control_.remove(directory_, "other"); }), ENOENT);
  EXPECT_EQ(errno_of([&] { control_.remove(ControlTree::kDirectory, "map"); }), EPERM);
  auto range = named<mpool_ioc_map_range>("m");
  range.value = MPOOL_IOC_PINNED + 1;
  EXPECT_EQ(errno_of([&] { call(MPOOL_IOC_MAP_RANGE, range); }), EINVAL);
  range.value = 0;
  range.action = MPOOL_IOC_MAP_PURGE;
  range.offset = 1u << 20;
  EXPECT_EQ(errno_of([&] { call(MPOOL_IOC_MAP_RANGE, range); }), EINVAL);
}

}  // namespace
}  // namespace mpoolfs
