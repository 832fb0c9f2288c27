#include <cerrno>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fuse/control/control_ops.h"
#include "fuse/control/control_tree.h"
#include "fuse/control/status.h"
#include "fuse/ops/attributes.h"
#include "fuse/ops/operations.h"
#include "tests/engine/pool/pool_support.h"
#include "tests/support/error_of.h"

namespace mpoolfs {
namespace {

using mpool::FileKind;
using mpool::kRootInode;
using mpool::test::error_of;
using testing::ElementsAre;

constexpr mpool::OpenIntent kReading{.read = true};
constexpr mpool::InodeNumber kNoInode = ControlTree::kDirectory + 100;

// A tree of two files, the first of which counts its opens.
class ControlTreeTest : public testing::Test {
 protected:
  ControlTreeTest() {
    tree_.add_file("first", [this] { return std::to_string(++opened_); });
    tree_.add_file("second", []() -> std::string { throw std::runtime_error("no content"); });
  }

  mpool::InodeNumber inode(std::string_view name) const {
    return tree_.lookup(ControlTree::kDirectory, name).value().inode;
  }
  std::vector<std::string> listed_after(std::uint64_t cookie, std::size_t most = 100) const {
    std::vector<std::string> names;
    tree_.read_directory(ControlTree::kDirectory, cookie, [&](const mpool::DirectoryEntry& entry) {
      if (names.size() == most) return false;
      names.emplace_back(entry.name);
      return true;
    });
    return names;
  }

  int opened_ = 0;
  ControlTree tree_{std::timespec{123, 456}};
};

TEST_F(ControlTreeTest, KnowsItsNamesAndNumbers) {
  EXPECT_TRUE(ControlTree::is_control_name(kRootInode, ".mpool"));
  EXPECT_FALSE(ControlTree::is_control_name(kRootInode, ".mpoo"));
  EXPECT_FALSE(ControlTree::is_control_name(kRootInode, ".mpool2"));
  EXPECT_FALSE(ControlTree::is_control_name(2, ".mpool"));
  EXPECT_TRUE(ControlTree::is_control_name(ControlTree::kDirectory, "anything"));
  EXPECT_TRUE(ControlTree::is_control_name(inode("first"), "anything"));
  EXPECT_FALSE(ControlTree::is_control(kRootInode));
  EXPECT_FALSE(ControlTree::is_control(ControlTree::kDirectory - 1));
  EXPECT_TRUE(ControlTree::is_control(kNoInode));
}

TEST_F(ControlTreeTest, FindsNames) {
  EXPECT_EQ(tree_.lookup(kRootInode, ".mpool").value().inode, ControlTree::kDirectory);
  EXPECT_EQ(tree_.lookup(kRootInode, "other"), std::nullopt);
  EXPECT_EQ(tree_.lookup(ControlTree::kDirectory, ".").value().inode, ControlTree::kDirectory);
  EXPECT_EQ(tree_.lookup(ControlTree::kDirectory, ".mpool"), std::nullopt);
  EXPECT_EQ(tree_.lookup(ControlTree::kDirectory, "third"), std::nullopt);
  const std::set<mpool::InodeNumber> inodes{ControlTree::kDirectory, inode("first"),
                                            inode("second")};
  EXPECT_EQ(inodes.size(), 3u);
  EXPECT_EQ(error_of([&] { tree_.lookup(inode("first"), "x"); }), ENOTDIR);
  EXPECT_EQ(error_of([&] { tree_.lookup(kNoInode, "x"); }), ESTALE);
}

TEST_F(ControlTreeTest, ShowsReadOnlyAttributesThatNeverChange) {
  const Presentation presentation{.uid = std::nullopt, .gid = 7};
  const mpool::Attributes directory = tree_.attributes(ControlTree::kDirectory);
  const struct stat shown = to_stat(directory, presentation);
  EXPECT_EQ(shown.st_mode, mode_t{S_IFDIR | 0555});
  EXPECT_EQ(shown.st_nlink, 2u);
  EXPECT_EQ(shown.st_uid, 0u);
  EXPECT_EQ(shown.st_gid, 7u);
  EXPECT_EQ(shown.st_mtim.tv_sec, 123);
  EXPECT_EQ(shown.st_ctim.tv_nsec, 456);

  const mpool::Attributes file = tree_.attributes(inode("second"));
  EXPECT_EQ(to_stat(file, presentation).st_mode, mode_t{S_IFREG | 0444});
  EXPECT_EQ(file.inode, inode("second"));
  EXPECT_EQ(file.size, 0u);
  for (const mpool::Attributes& attributes : {directory, file}) {
    EXPECT_EQ(attribute_timeout(attributes), kForever);
    EXPECT_EQ(entry_timeout(attributes), kForever);
  }
  EXPECT_EQ(error_of([&] { tree_.attributes(kNoInode); }), ESTALE);
  EXPECT_EQ(error_of([&] { tree_.attributes(kRootInode); }), ESTALE);
}

TEST_F(ControlTreeTest, ListsFromAnyPlace) {
  EXPECT_THAT(listed_after(0), ElementsAre("first", "second"));
  EXPECT_THAT(listed_after(0, 1), ElementsAre("first"));
  std::vector<std::uint64_t> cookies;
  tree_.read_directory(ControlTree::kDirectory, 0, [&](const mpool::DirectoryEntry& entry) {
    EXPECT_EQ(entry.inode, inode(entry.name));
    cookies.push_back(entry.cookie);
    return true;
  });
  ASSERT_EQ(cookies.size(), 2u);
  EXPECT_GT(cookies[0], 2u) << "1 and 2 are of the dots";
  EXPECT_THAT(listed_after(cookies[0]), ElementsAre("second"));
  EXPECT_TRUE(listed_after(cookies[1]).empty());
  EXPECT_TRUE(listed_after(~std::uint64_t{0}).empty());
  const auto take_all = [](const mpool::DirectoryEntry&) { return true; };
  EXPECT_EQ(error_of([&] { tree_.read_directory(inode("first"), 0, take_all); }), ENOTDIR);
}

TEST_F(ControlTreeTest, KeepsTheContentOfEachOpening) {
  const auto one = tree_.open(inode("first"), kReading);
  const auto two = tree_.open(inode("first"), kReading);
  EXPECT_NE(one, two);
  EXPECT_EQ(*tree_.content(one), "1");
  EXPECT_EQ(*tree_.content(two), "2");
  EXPECT_EQ(tree_.open_count(), 2u);
  const auto kept = tree_.content(one);
  tree_.close(one);
  EXPECT_EQ(*kept, "1");
  EXPECT_EQ(error_of([&] { tree_.content(one); }), EBADF);
  EXPECT_EQ(*tree_.content(two), "2");
  tree_.close(two);
  EXPECT_EQ(tree_.open_count(), 0u);
}

TEST_F(ControlTreeTest, OpensForReadingOnly) {
  EXPECT_EQ(error_of([&] { tree_.open(inode("first"), {.read = true, .write = true}); }), EACCES);
  EXPECT_EQ(error_of([&] { tree_.open(inode("first"), {.read = true, .truncate = true}); }),
            EACCES);
  EXPECT_EQ(error_of([&] { tree_.open(ControlTree::kDirectory, kReading); }), EISDIR);
  EXPECT_EQ(error_of([&] { tree_.open(kNoInode, kReading); }), ESTALE);
  EXPECT_EQ(opened_, 0);
  EXPECT_THROW(tree_.open(inode("second"), kReading), std::runtime_error);
  EXPECT_EQ(tree_.open_count(), 0u);
}

TEST(PartOf, IsWhatReadGives) {
  EXPECT_EQ(part_of("content", 0, 100), "content");
  EXPECT_EQ(part_of("content", 2, 3), "nte");
  EXPECT_EQ(part_of("content", 6, 3), "t");
  EXPECT_EQ(part_of("content", 7, 3), "");
  EXPECT_EQ(part_of("content", ~std::uint64_t{0}, 3), "");
  EXPECT_EQ(part_of("", 0, 3), "");
}

// For operations missing in the table the library answers ENOSYS for the whole mount: that must
// stay so.
TEST(OperationsWithControl, HasWhatTheTableHas) {
  const fuse_lowlevel_ops& inner = operations();
  const fuse_lowlevel_ops& outer = operations_with_control();
  EXPECT_EQ(inner.copy_file_range == nullptr, outer.copy_file_range == nullptr);
  EXPECT_EQ(inner.lseek == nullptr, outer.lseek == nullptr);
  EXPECT_EQ(inner.ioctl == nullptr, outer.ioctl == nullptr);
  EXPECT_EQ(inner.write_buf == nullptr, outer.write_buf == nullptr);
  EXPECT_EQ(inner.access, outer.access);
  EXPECT_EQ(inner.init, outer.init);
  EXPECT_EQ(inner.opendir, outer.opendir);
  EXPECT_NE(inner.read, outer.read);
  EXPECT_NE(inner.write, outer.write);
}

using Json = nlohmann::json;

std::set<std::string> keys(const Json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items())
    names.insert(name);
  return names;
}

TEST(Status, SaysWhatThePoolAndTheMountAre) {
  const auto media = mpool::test::create(mpool::test::small_options());
  const auto pool = mpool::test::activate({media});
  mpool::test::add_mblock(*pool);
  Options options;
  options.mount_point = "/some/where\xff";
  options.read_only = true;
  options.uid = 12;
  options.native = NativeChoice::off;
  const MountInfo mount{
      .options = options,
      .foreign = false,
      .open_files = 5,
      .transport = {.name = "dev",
                    .reason = "why not uring",
                    .queues = 2,
                    .threads = 6,
                    .max_write = 1 << 20},
      .native = {.state = "waiting",
                 .reason = "why",
                 .files = 7,
                 .views = 2,
                 .opens = 9,
                 .served = 4,
                 .kept = 1},
      .metadata = {.capacity = 300, .used = 200, .live = 100, .possible_capacity = 400},
      .reads = 11};
  const std::string text = status_text(*pool, mount);
  EXPECT_TRUE(text.ends_with("}\n"));
  const Json status = Json::parse(text);

  EXPECT_EQ(keys(status), (std::set<std::string>{"version", "pool", "options", "transport",
                                                 "native", "requests", "devices", "classes", "mdcs",
                                                 "root_mdc", "objects", "open_files"}));
  EXPECT_EQ(status["version"], MPOOLFS_VERSION);
  EXPECT_EQ(status["pool"], Json({{"name", "p"},
                                  {"uuid", pool->uuid().to_string()},
                                  {"mounted_on", "/some/where\xef\xbf\xbd"},
                                  {"read_only", true},
                                  {"foreign", false},
                                  {"damage", Json::array()}}));
  EXPECT_EQ(status["options"], Json({{"sync", false},
                                     {"force", false},
                                     {"uid", 12},
                                     {"gid", nullptr},
                                     {"transport", "auto"},
                                     {"native", "off"},
                                     {"workers", 32}}));
  EXPECT_EQ(status["transport"], Json({{"name", "dev"},
                                       {"reason", "why not uring"},
                                       {"queues", 2},
                                       {"threads", 6},
                                       {"max_write", 1 << 20}}));
  EXPECT_EQ(status["native"], Json({{"state", "waiting"},
                                    {"reason", "why"},
                                    {"files", 7},
                                    {"views", 2},
                                    {"opens", 9},
                                    {"served_opens", 4},
                                    {"kept", 1}}));
  EXPECT_EQ(status["requests"], Json({{"read", 11}}));
  EXPECT_EQ(status["root_mdc"],
            Json({{"capacity", 300}, {"used", 200}, {"live", 100}, {"possible_capacity", 400}}));
  EXPECT_EQ(status["objects"], Json({{"mblocks", 1}, {"mlogs", 2}}));
  EXPECT_EQ(status["open_files"], 5);

  ASSERT_EQ(status["mdcs"].size(), 3u) << "MDC0 and two";
  EXPECT_EQ(status["mdcs"][2]["slot"], 2);
  EXPECT_EQ(status["mdcs"][0]["active"],
            pool->mdcs()[0].mdc.ids[pool->mdcs()[0].mdc.active].to_string());
  EXPECT_GT(status["mdcs"][0]["capacity"], status["mdcs"][0]["used"]);
}

TEST(Status, CountsSpaceAndTransfers) {
  const auto media = mpool::test::create(mpool::test::small_options());
  const auto pool = mpool::test::activate({media});
  const Json before = Json::parse(status_text(*pool, {}));
  mpool::test::add_mblock(*pool);
  const Json after = Json::parse(status_text(*pool, {}));

  ASSERT_EQ(after["classes"].size(), 1u);
  const Json& space = after["classes"][0];
  EXPECT_EQ(space["class"], "capacity");
  EXPECT_EQ(space["zone_size"], 64 * 1024);
  EXPECT_EQ(space["zones"], 16 * 16);
  EXPECT_EQ(space["total_bytes"], 16 << 20);
  EXPECT_EQ(space["used"], before["classes"][0]["used"].get<int>() + 1);
  EXPECT_EQ(space["free_bytes"],
            before["classes"][0]["free_bytes"].get<std::int64_t>() - 64 * 1024);

  ASSERT_EQ(after["devices"].size(), 1u);
  const Json& device = after["devices"][0];
  EXPECT_EQ(device["path"], "device0");
  EXPECT_EQ(device["offline"], false);
  EXPECT_EQ(device["errors"], 0);
  for (const char* counter : {"reads", "read_bytes", "writes", "written_bytes", "flushes"}) {
    EXPECT_GT(device[counter], 0) << counter;
  }
  EXPECT_GT(device["writes"], before["devices"][0]["writes"]) << "the record of the mblock";
}

}  // namespace
}  // namespace mpoolfs
