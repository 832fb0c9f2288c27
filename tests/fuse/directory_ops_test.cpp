#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>

#include "tests/fuse/ops_support.h"

namespace mpoolfs {
namespace {

using test::errno_of;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t kRoom = 4096;

// An entry of a listing, as the kernel reads it.
struct ShownEntry {
  std::string name;
  std::uint64_t inode = 0;
  std::uint32_t type = 0;
  off_t next = 0;
  std::uint64_t node = 0;  // READDIRPLUS: 0 when there are no attributes
  std::uint64_t size = 0;
};

std::vector<ShownEntry> parse_listing(const std::vector<char>& data, bool plus) {
  std::vector<ShownEntry> entries;
  std::size_t at = 0;
  while (at < data.size()) {
    const std::size_t begin = at;
    fuse_entry_out full{};
    if (plus) {
      std::memcpy(&full, data.data() + at, sizeof full);
      at += sizeof full;
    }
    fuse_dirent entry{};
    std::memcpy(&entry, data.data() + at, FUSE_NAME_OFFSET);
    at += FUSE_NAME_OFFSET;
    entries.push_back({.name = std::string(data.data() + at, entry.namelen),
                       .inode = entry.ino,
                       .type = entry.type,
                       .next = static_cast<off_t>(entry.off),
                       .node = full.nodeid,
                       .size = full.attr.size});
    at = begin + FUSE_DIRENT_ALIGN(at - begin + entry.namelen);
  }
  return entries;
}

std::vector<std::string> names_of(const std::vector<ShownEntry>& entries) {
  std::vector<std::string> names;
  for (const ShownEntry& entry : entries)
    names.push_back(entry.name);
  return names;
}

class DirectoryOpsTest : public test::OpsTest {
 protected:
  std::vector<ShownEntry> list(std::size_t room = kRoom, off_t offset = 0) {
    return parse_listing(op_readdir(reactor_call(), mpool::kRootInode, room, offset, {}).value(),
                         false);
  }
};

TEST_F(DirectoryOpsTest, ListsTheDotsAndAllEntries) {
  tree_.put("f", "x");
  tree_.mkdir("d");
  const auto entries = list();
  EXPECT_THAT(names_of(entries), testing::UnorderedElementsAre(".", "..", "f", "d"));
  EXPECT_EQ(entries[0].inode, mpool::kRootInode);
  EXPECT_EQ(entries[0].type, mode_t{S_IFDIR} >> 12);
  for (const ShownEntry& entry : entries) {
    if (entry.name != "f") continue;
    EXPECT_EQ(entry.inode, inode("f"));
    EXPECT_EQ(entry.type, mode_t{S_IFREG} >> 12);
  }
  EXPECT_EQ(errno_of([&] { op_readdir(call(), inode("f"), kRoom, 0, {}); }), ENOTDIR);
  EXPECT_EQ(errno_of([&] { op_readdir(call(), 12345, kRoom, 0, {}); }), ESTALE);
}

TEST_F(DirectoryOpsTest, ContinuesWhereTheRoomEnded) {
  for (const char* name : {"a", "b", "c"})
    tree_.put(name, "x");
  std::vector<std::string> found;
  off_t offset = 0;
  for (;;) {
    const auto part = list(FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + 1), offset);
    if (part.empty()) break;
    ASSERT_EQ(part.size(), 1u);
    found.push_back(part[0].name);
    offset = part[0].next;
  }
  EXPECT_THAT(found, testing::UnorderedElementsAre(".", "..", "a", "b", "c"));
  EXPECT_THAT(list(1, 0), IsEmpty()) << "no room for one entry";
}

TEST_F(DirectoryOpsTest, ALongListingIsNotMadeOnAReactor) {
  constexpr std::size_t kLong = 128u << 10;
  EXPECT_FALSE(op_readdir(reactor_call(), mpool::kRootInode, kLong, 0, {}));
  EXPECT_THAT(
      names_of(parse_listing(op_readdir(call(), mpool::kRootInode, kLong, 0, {}).value(), false)),
      ElementsAre(".", ".."));
}

TEST_F(DirectoryOpsTest, ReaddirplusShowsAttributesAndTakesReferences) {
  tree_.put("f", "content");
  const auto f = inode("f");
  const auto entries =
      parse_listing(op_readdirplus(reactor_call(), mpool::kRootInode, kRoom, 0, {}).value(), true);
  ASSERT_THAT(names_of(entries), ElementsAre(".", "..", "f"));
  EXPECT_EQ(entries[0].node, 0u) << "the dots are not looked up";
  EXPECT_EQ(entries[2].node, f);
  EXPECT_EQ(entries[2].size, 7u);
  tree_.unlink("f");
  EXPECT_EQ(names().attributes(f).links, 0u) << "referred to";
  const mpool::InodeReferences references{.inode = f, .count = 1};
  EXPECT_EQ(op_forget(call(), {&references, 1}), Outcome::done);
  EXPECT_NE(errno_of([&] { names().attributes(f); }), 0);
}

TEST_F(DirectoryOpsTest, ReaddirplusDuringACommitWouldBlock) {
  during_commit_of(
      "f", [&] { EXPECT_FALSE(op_readdirplus(reactor_call(), mpool::kRootInode, kRoom, 0, {})); });
  const auto entries =
      parse_listing(op_readdirplus(call(), mpool::kRootInode, kRoom, 0, {}).value(), true);
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[2].size, kHeldSize);
}

TEST_F(DirectoryOpsTest, FsyncdirMakesNamesDurable) {
  tree_.mkdir("d");
  EXPECT_EQ(op_fsyncdir(call(), mpool::kRootInode, 0, {}), Outcome::done);
  EXPECT_FALSE(names().losses().any());
}

}  // namespace
}  // namespace mpoolfs
