#include "engine/tree/tree.h"

#include <cerrno>
#include <unordered_set>
#include <vector>

#include <gtest/gtest.h>

#include "engine/tree/replay.h"
#include "tests/engine/names/support.h"

namespace mpool::names {
namespace {

using test::errno_of;

Record create(InodeNumber inode, InodeNumber parent, const std::string& name, FileKind kind,
              std::vector<Extent> extents = {}) {
  return {static_cast<Nanoseconds>(inode),
          CreateRecord{inode,
                       parent,
                       name,
                       {0644, 1, 2, 3, 4, 5},
                       MediaClass::capacity,
                       Choice::none,
                       kind == FileKind::symlink ? "there" : "",
                       {kind, kind == FileKind::write_once ? 10u : 0u, std::move(extents)}}};
}

Extent extent_of(std::uint64_t object) {
  return {0, ObjectId{object}, 0, 10};
}

// /d (2), /d/f (3), /g (4), /d/s (5, symlink), /e (6)
struct SmallTree : Tree {
  SmallTree() {
    apply(create(kRootInode, 0, "", FileKind::directory));
    apply(create(2, 1, "d", FileKind::directory));
    apply(create(3, 2, "f", FileKind::write_once, {extent_of(0x100101)}));
    apply(create(4, 1, "g", FileKind::write_once, {extent_of(0x101101)}));
    apply(create(5, 2, "s", FileKind::symlink));
    apply(create(6, 1, "e", FileKind::directory));
  }
};

std::vector<Record> records_of(const Tree& tree) {
  std::vector<Record> records;
  tree.snapshot([&](const Record& record) { records.push_back(record); });
  return records;
}

// The records of a snapshot, independent of their order.
std::vector<std::vector<std::byte>> sorted_snapshot(const Tree& tree) {
  std::vector<std::vector<std::byte>> encoded;
  for (const Record& record : records_of(tree)) {
    encoded.push_back(encode(record));
  }
  std::ranges::sort(encoded);
  return encoded;
}

TEST(Directory, FindsReplacesAndErases) {
  Directory directory;
  EXPECT_TRUE(directory.empty());
  directory.insert("a", 5);
  directory.insert("b", 6);
  EXPECT_EQ(directory.find("a"), 5u);
  EXPECT_EQ(directory.find("c"), 0u);
  directory.replace("a", 7);
  EXPECT_EQ(directory.find("a"), 7u);
  directory.erase("a");
  EXPECT_EQ(directory.find("a"), 0u);
  EXPECT_EQ(directory.size(), 1u);
}

TEST(Directory, PositionsStayWhenOthersComeAndGo) {
  Directory directory;
  for (InodeNumber i = 10; i < 20; ++i)
    directory.insert("n" + std::to_string(i), i);
  const std::uint64_t first = directory.entries().begin()->first;
  EXPECT_EQ(first, Directory::kFirstPosition);
  const auto middle = std::next(directory.entries().begin(), 5)->first;
  directory.erase("n10");
  directory.insert("new", 99);
  EXPECT_EQ(directory.entries().at(middle).inode, 15u);
  EXPECT_EQ(directory.entries().rbegin()->second.name, "new");
}

TEST(Tree, CountsLinks) {
  SmallTree tree;
  EXPECT_EQ(tree.get(1).links, 4u);
  EXPECT_EQ(tree.get(2).links, 2u);
  tree.apply({9, LinkRecord{3, 1, "hard"}});
  EXPECT_EQ(tree.get(3).links, 2u);
  EXPECT_EQ(tree.apply({9, UnlinkRecord{2, "f"}}), 0u);
  EXPECT_EQ(tree.apply({9, UnlinkRecord{1, "hard"}}), 3u);
  EXPECT_EQ(tree.apply({9, UnlinkRecord{1, "e"}}), 6u);
  EXPECT_EQ(tree.get(1).links, 3u);
}

TEST(Tree, RenameReplacesAndMovesDirectories) {
  SmallTree tree;
  EXPECT_EQ(tree.apply({9, RenameRecord{2, "f", 1, "g", false}}), 4u);
  EXPECT_EQ(tree.get(1).directory->find("g"), 3u);
  EXPECT_EQ(tree.apply({9, RenameRecord{1, "e", 2, "inner", false}}), 0u);
  EXPECT_EQ(tree.get(6).parent, 2u);
  EXPECT_EQ(tree.get(1).links, 3u);
  EXPECT_EQ(tree.get(2).links, 3u);
  EXPECT_TRUE(tree.is_below(6, 2));
  EXPECT_FALSE(tree.is_below(2, 6));
}

TEST(Tree, ExchangeOfAFileAndADirectory) {
  SmallTree tree;
  tree.apply({9, RenameRecord{2, "f", 1, "e", true}});
  EXPECT_EQ(tree.get(1).directory->find("e"), 3u);
  EXPECT_EQ(tree.get(2).directory->find("f"), 6u);
  EXPECT_EQ(tree.get(6).parent, 2u);
  EXPECT_EQ(tree.get(1).links, 3u);
  EXPECT_EQ(tree.get(2).links, 3u);
}

TEST(Tree, ContentIsAddedOrReplaced) {
  SmallTree tree;
  tree.apply(
      {9, ContentRecord{3, false, {FileKind::write_once, 30, {{10, ObjectId{0x200101}, 0, 20}}}}});
  EXPECT_EQ(tree.get(3).extents->size(), 2u);
  EXPECT_EQ(tree.get(3).size, 30u);
  EXPECT_EQ(tree.get(3).objects(), (std::vector{ObjectId{0x100101}, ObjectId{0x200101}}));
  tree.apply({9, ContentRecord{3, true, {FileKind::log, 0, {}}}});
  EXPECT_TRUE(tree.get(3).objects().empty());
}

TEST(Tree, RecordsThatDoNotFitAreRefusedAndChangeNothing) {
  const std::vector<Record> invalid_records = {
      create(3, 1, "again", FileKind::empty),
      create(9, 77, "orphan", FileKind::empty),
      create(9, 3, "below a file", FileKind::empty),
      create(9, 1, "d", FileKind::empty),
      {9, ContentRecord{77, false, {}}},
      {9, ContentRecord{2, false, {FileKind::log, 0, {}}}},
      {9, AttributesRecord{77, {}, MediaClass::capacity}},
      {9, LinkRecord{2, 1, "hard"}},
      {9, LinkRecord{3, 1, "g"}},
      {9, UnlinkRecord{1, "none"}},
      {9, UnlinkRecord{1, "d"}},
      {9, RenameRecord{1, "none", 1, "x", false}},
      {9, RenameRecord{1, "d", 2, "x", false}},
      {9, RenameRecord{1, "g", 1, "d", false}},
      {9, RenameRecord{1, "g", 1, "none", true}},
      {9, RenameRecord{2, "f", 1, "d", true}},
      {9, RenameRecord{2, "f", 1, "e", false}},
      {9, RenameRecord{1, "e", 2, "f", false}},
      create(9, 1, "g", FileKind::symlink),
      create(9, 1, "g", FileKind::directory),
      {9, ContentRecord{3, false, {FileKind::log, 0, {}}}},
      {9, ContentRecord{3, false, {FileKind::write_once, 20, {{9, ObjectId{0x200101}, 0, 11}}}}},
      {9, XattrRecord{77, "user.a", true, ""}},
      {9, OwnerRecord{}},
      {9, BatchRecord{}},
      {9, RollbackRecord{}},
  };
  for (std::size_t i = 0; i < invalid_records.size(); ++i) {
    SmallTree tree;
    const auto before = sorted_snapshot(tree);
    EXPECT_EQ(errno_of([&] { tree.apply(invalid_records[i]); }), ENOTRECOVERABLE) << "record " << i;
    EXPECT_EQ(sorted_snapshot(tree), before) << "record " << i;
  }
}

TEST(Tree, ASnapshotMakesTheSameTree) {
  SmallTree tree;
  tree.apply({9, LinkRecord{3, 6, "hard"}});
  tree.apply({9, XattrRecord{3, "user.a", true, "1"}});
  tree.apply({9, XattrRecord{1, "user.root", true, "2"}});
  tree.apply({11, AttributesRecord{2, {0700, 8, 9, 10, 11, 12}, MediaClass::staging}});
  Tree again;
  for (const Record& record : records_of(tree))
    again.apply(record);
  EXPECT_EQ(sorted_snapshot(again), sorted_snapshot(tree));
  EXPECT_EQ(again.get(3).links, 2u);
  EXPECT_EQ(again.get(2).attributes, tree.get(2).attributes);
  EXPECT_EQ(again.get(3).attributes.ctime, tree.get(3).attributes.ctime);
  EXPECT_EQ(again.get(2).media_class, MediaClass::staging);
}

TEST(Tree, ASnapshotShowsWhatAPendingFileDisplaces) {
  SmallTree tree;
  const auto before = sorted_snapshot(tree);
  // 9 is being written and has taken the name of 4 by a rename that is not recorded yet.
  tree.apply(create(9, 2, "temporary", FileKind::empty));
  tree.get(9).recorded = false;
  tree.get(9).displaces = 4;
  tree.get(4).displaced_by = 1;
  EXPECT_EQ(tree.apply({1, RenameRecord{2, "temporary", 1, "g", false}}), 4u);
  Tree again;
  for (const Record& record : records_of(tree))
    again.apply(record);
  EXPECT_EQ(again.get(1).directory->find("g"), 4u);
  EXPECT_EQ(again.find(9), nullptr);
  EXPECT_EQ(again.get(2).directory->find("temporary"), 0u);
}

TEST(Tree, ASnapshotRemembersObjectsWithoutAName) {
  SmallTree tree;
  tree.apply({9, UnlinkRecord{1, "g"}});
  const auto records = records_of(tree);
  ASSERT_TRUE(std::holds_alternative<OrphanRecord>(records.back().body));
  EXPECT_EQ(std::get<OrphanRecord>(records.back().body).objects, std::vector{ObjectId{0x101101}});
}

TEST(Tree, ExtentsThatGoOnInAnMblockAreOne) {
  SmallTree tree;
  const ObjectId mblock{0x100101};
  const auto add = [&](Extent extent) {
    const std::uint64_t size = extent.file_offset + extent.length;
    tree.apply({9, ContentRecord{3, false, {FileKind::write_once, size, {extent}}}});
  };
  add({10, mblock, 10, 5});
  add({20, mblock, 20, 5});  // behind a hole
  add({25, mblock, 26, 5});  // not at once behind it in the mblock
  add({30, ObjectId{0x200101}, 31, 5});
  const std::vector<Extent> expected = {{0, mblock, 0, 15},
                                        {20, mblock, 20, 5},
                                        {25, mblock, 26, 5},
                                        {30, ObjectId{0x200101}, 31, 5}};
  EXPECT_EQ(*tree.get(3).extents, expected);
  add({35, ObjectId{0x200101}, 36, 5});
  EXPECT_EQ(tree.get(3).extents->size(), expected.size());
  SmallTree other;
  other.apply({9, ContentRecord{3, true, {FileKind::write_once, 40, *tree.get(3).extents}}});
  EXPECT_EQ(tree.footprint(), other.footprint());
}

// A record of a pack is known by its position and its length.
TEST(Tree, ExtentsInPacksStayApart) {
  SmallTree tree;
  const ObjectId pack{0x300201};
  tree.apply({9, PackRecord{pack}});
  tree.apply({9, ContentRecord{3, true, {FileKind::write_once, 10, {{0, pack, 0, 10}}}}});
  tree.apply({9, ContentRecord{3, false, {FileKind::write_once, 20, {{10, pack, 10, 10}}}}});
  EXPECT_EQ(tree.get(3).extents->size(), 2u);
}

// The last batch is undone from its second record on: the third one made an mblock longer that an
// earlier batch brought to the file.
TEST(Tree, AnExtensionThatIsUndoneKeepsTheMblock) {
  const ObjectId mblock{0x100101};
  const ObjectId missing{0x200101};
  const std::vector<Record> records = {
      {1, OwnerRecord{}},
      {1, BatchRecord{1, 100}},
      create(kRootInode, 0, "", FileKind::directory),
      create(3, 1, "f", FileKind::write_once, {extent_of(mblock.value)}),
      {2, BatchRecord{2, 100}},
      create(5, 1, "d", FileKind::directory),
      create(4, 1, "g", FileKind::write_once, {extent_of(missing.value)}),
      {9, ContentRecord{3, false, {FileKind::write_once, 20, {{10, mblock, 10, 10}}}}},
  };
  Tree tree;
  Replay replay(tree, [](std::uint64_t, const Error& why) { ADD_FAILURE() << why.what(); });
  for (const Record& record : records)
    replay.take(record);
  const std::size_t kept = replay.complete_records([&](ObjectId id) { return id != missing; });
  EXPECT_EQ(kept, 1u);
  replay.apply_last_batch(kept);
  EXPECT_EQ(tree.get(3).size, 10u);
  EXPECT_EQ(*tree.get(3).extents, (std::vector<Extent>{{0, mblock, 0, 10}}));
  EXPECT_EQ(replay.orphaned(), (std::unordered_set<ObjectId>{missing}));
}

TEST(Tree, InodeNumbersEnd) {
  SmallTree tree;
  tree.raise_next_inode(~0ull);
  EXPECT_EQ(tree.next_inode(), kMaxInode);
  EXPECT_EQ(errno_of([&] { tree.take_inode_number(); }), ENOSPC);
}

TEST(Tree, PathsLeadToTheRoot) {
  SmallTree tree;
  EXPECT_EQ(tree.path_of(kRootInode), "/");
  EXPECT_EQ(tree.path_of(3), "/d/f");
  EXPECT_EQ(tree.path_of(6), "/e");
  EXPECT_EQ(tree.path_of(77), "inode 77");
}

TEST(Tree, NeverUsesAnInodeNumberAgain) {
  SmallTree tree;
  EXPECT_EQ(tree.take_inode_number(), 7u);
  tree.apply(create(100, 1, "late", FileKind::empty));
  EXPECT_EQ(tree.take_inode_number(), 101u);
  tree.raise_next_inode(50);
  EXPECT_EQ(tree.take_inode_number(), 102u);
  tree.raise_next_inode(1000);
  EXPECT_EQ(tree.take_inode_number(), 1000u);
}

}  // namespace
}  // namespace mpool::names
