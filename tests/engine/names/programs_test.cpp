// Objects of programs beside the tree, and pools that belong to other programs.
#include <cerrno>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/object/mblock.h"
#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

const Uuid kOtherType = Uuid::parse("01234567-89ab-cdef-0123-456789abcdef").value();

ObjectId store_page(Pool& pool) {
  const std::vector<std::byte> page(kPageSize, std::byte{7});
  return store_mblock(pool, {}, page);
}

ObjectId object_of(TestTree& tree, const std::string& path) {
  const std::string ids = tree.names().get_xattr(tree.stat(path).inode, "user.mpool.objects");
  return {std::stoull(ids, nullptr, 16)};
}

std::unique_ptr<Pool> activate_again(const TestTree& tree) {
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::make_unique<MemoryDevice>("memory", tree.media()));
  return Pool::activate(std::move(devices), {.mdc_count = 2});
}

// A pool that no mount has taken.
std::shared_ptr<Media> fresh_pool(const Uuid& user_type) {
  const auto media = std::make_shared<Media>(512 * kZoneSize, 512);
  MemoryDevice device("memory", media);
  Pool::create(device, nullptr,
               {.name = "test",
                .zone_size = kZoneSize,
                .mdc_count = 2,
                .mdc0_capacity = kZoneSize,
                .mdc_capacity = kZoneSize,
                .root_capacity = kZoneSize,
                .spare_percent = 0});
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::make_unique<MemoryDevice>("memory", media));
  Pool::activate(std::move(devices))->configure({.user_type = user_type});
  return media;
}

TEST(ObjectsOfPrograms, AreNotTheTreesAndStay) {
  TestTree tree;
  tree.put("f", pattern(1000));
  tree.append("log", "line");
  tree.names().sync();
  const ObjectId own = store_page(tree.pool());
  tree.remount();
  EXPECT_FALSE(tree.names().owns(own));
  EXPECT_TRUE(tree.names().owns(object_of(tree, "f")));
  EXPECT_TRUE(tree.names().owns(object_of(tree, "log")));
  EXPECT_TRUE(tree.names().owns(root_log_id(0)));
  tree.remount();
  EXPECT_TRUE(tree.pool().find(own));
  tree.put("g", pattern(1000));
  tree.names().sync();
  EXPECT_TRUE(tree.names().owns(object_of(tree, "g"))) << "made since the mount";
}

TEST(ObjectsOfPrograms, AreToldFromThoseOfAnInterruptedDeletion) {
  TestTree tree(lazy());
  tree.put("f", pattern(1000));
  tree.names().sync();
  const ObjectId object = object_of(tree, "f");
  const auto hold = tree.names().hold_object(object);
  tree.unlink("f");
  tree.names().sync();
  TestTree crashed(std::make_shared<Media>(*tree.media()), {.read_only = true});
  EXPECT_TRUE(crashed.pool().find(object));
  EXPECT_TRUE(crashed.names().owns(object));
}

TEST(HeldObjects, OutliveTheirFile) {
  TestTree tree;
  tree.put("f", pattern(1000));
  tree.names().sync();
  const ObjectId object = object_of(tree, "f");
  auto hold = tree.names().hold_object(object);
  tree.unlink("f");
  tree.names().sync();
  EXPECT_TRUE(tree.pool().find(object));
  EXPECT_EQ(errno_of([&] { tree.names().hold_object(object); }), ENOENT) << "it is released";
  hold.reset();
  tree.put("g", "");  // a batch
  tree.names().sync();
  EXPECT_FALSE(tree.pool().find(object));
  EXPECT_EQ(errno_of([&] { tree.names().hold_object(object); }), ENOENT);
}

TEST(UserType, IsSetByTheFirstMount) {
  TestTree tree;
  EXPECT_EQ(tree.pool().config().user_type, kTreeUserType);
  EXPECT_EQ(kTreeUserType.to_string(), "6d706f6f-6c66-4373-9b1e-52c7d0a4e683");
  // Whatever is set later, the tree is ours.
  tree.put("f", "x");
  tree.pool().configure({.user_type = kOtherType});
  tree.remount();
  EXPECT_FALSE(tree.names().foreign());
  EXPECT_EQ(tree.get("f"), "x");
  EXPECT_EQ(tree.pool().config().user_type, kOtherType);
}

TEST(UserType, OfAnotherProgramKeepsAnEmptyPoolFromBeingTaken) {
  TestTree tree(fresh_pool(kOtherType), {});
  EXPECT_TRUE(tree.names().foreign());
  EXPECT_TRUE(tree.list("").empty());
  EXPECT_EQ(errno_of([&] { tree.mkdir("d"); }), EROFS);
  const ObjectId own = store_page(tree.pool());
  EXPECT_FALSE(tree.names().owns(own));
  tree.unmount();
  const auto pool = activate_again(tree);
  EXPECT_EQ(pool->config().user_type, kOtherType);
  std::vector<std::byte> record;
  EXPECT_FALSE(pool->open_root_mdc()->reader().next(record));
  EXPECT_TRUE(pool->find(own));
}

TEST(UserType, OfMpoolfsBeforeTheRecordsIsThatOfAnInterruptedFirstMount) {
  TestTree tree(fresh_pool(kTreeUserType), {});
  EXPECT_FALSE(tree.names().foreign());
  tree.put("f", "x");
  tree.remount();
  EXPECT_EQ(tree.get("f"), "x");
}

TEST(UserType, IsNotSetByAReadOnlyMount) {
  TestTree tree(fresh_pool({}), {.read_only = true});
  EXPECT_TRUE(tree.pool().config().user_type.is_nil());
}

}  // namespace
}  // namespace mpool::test
