// Trees whose records have right checksums and impossible content: a writing mount refuses them and
// writes nothing, a read-only one shows the rest, a check reports them and repairs nothing.
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/check/check.h"
#include "engine/tree/records.h"
#include "tests/engine/check/crafted_tree.h"
#include "tests/engine/names/support.h"

namespace mpool::check {
namespace {

using test::CraftedTree;
using test::KnownFile;
using test::kZoneSize;
using test::Media;
using namespace names;

struct Case {
  const char* name;
  const char* says;  // part of the message
  std::function<std::vector<Record>(const CraftedTree&)> records;
};

constexpr InodeAttributes kAttributes{0644, 0, 0, 1, 1, 1};

Record create(const CraftedTree& tree, Content content, const std::string& name = "new") {
  return {1, CreateRecord{tree.next, kRootInode, name, kAttributes, MediaClass::capacity,
                          Choice::none, "", std::move(content)}};
}
// `create` with a change.
Record changed(const CraftedTree& tree, const std::function<void(CreateRecord&)>& change) {
  Record record = create(tree, {FileKind::empty, 0, {}});
  change(std::get<CreateRecord>(record.body));
  return record;
}
Content of(ObjectId object, std::uint64_t length = 100) {
  return {FileKind::write_once, length, {{0, object, 0, length}}};
}
Content log_of(ObjectId object) {
  return {FileKind::log, 0, {{0, object, 0, 0}}};
}
Case bad_name(const char* label, const char* says, const std::string& name) {
  return {label, says, [name](const CraftedTree& tree) {
            return std::vector{create(tree, {FileKind::empty, 0, {}}, name)};
          }};
}

std::vector<Case> cases() {
  using Tree = const CraftedTree&;
  using Records = std::vector<Record>;
  std::vector<Case> cases = {
      bad_name("name_with_slash", "slash", "a/b"),
      bad_name("name_with_nul", "NUL", std::string("a\0b", 3)),
      bad_name("name_empty", "empty", ""),
      bad_name("name_dot", "'.'", "."),
      bad_name("name_dot_dot", "'..'", ".."),
      bad_name("name_too_long", "256 bytes", std::string(256, 'n')),
  };
  const auto add = [&](const char* name, const char* says, std::function<Records(Tree)> records) {
    cases.push_back({name, says, std::move(records)});
  };
  const auto add_change = [&](const char* name, const char* says,
                              const std::function<void(CreateRecord&)>& change) {
    add(name, says, [change](Tree tree) { return Records{changed(tree, change)}; });
  };
  // --- inodes ---
  add_change("inode_0", "inode 0", [](CreateRecord& record) { record.inode = 0; });
  add_change("inode_of_2_to_63", "out of range",
             [](CreateRecord& record) { record.inode = 1ull << 63; });
  add_change("inode_not_promised", "not below",
             [](CreateRecord& record) { record.inode = 1ull << 40; });
  add_change("parent_0", "parent inode 0", [](CreateRecord& record) { record.parent = 0; });
  add_change("parent_absent", "does not exist", [](CreateRecord& record) { record.parent = 999; });
  add("parent_a_file", "is no directory", [](Tree tree) {
    return Records{changed(tree, [&](CreateRecord& r) { r.parent = tree.small.inode; })};
  });
  add("inode_twice", "exists already", [](Tree tree) {
    return Records{changed(tree, [&](CreateRecord& r) { r.inode = tree.small.inode; })};
  });
  add("second_root", "", [](Tree) {
    return Records{{1, CreateRecord{kRootInode,
                                    0,
                                    "",
                                    kAttributes,
                                    MediaClass::capacity,
                                    Choice::none,
                                    "",
                                    {FileKind::directory, 0, {}}}}};
  });
  add("next_inode_of_2_to_64", "out of range", [](Tree tree) {
    return Records{{1, BatchRecord{tree.batch + 1, ~0ull}}};
  });
  add("next_inode_back", "are in use", [](Tree tree) {
    return Records{{1, BatchRecord{tree.batch + 1, 5}}};
  });
  add("batch_back", "after batch", [](Tree tree) {
    return Records{{1, BatchRecord{0, tree.next_inode}}};
  });
  add("batch_of_2_to_63", "out of range", [](Tree tree) {
    return Records{{1, BatchRecord{1ull << 63, tree.next_inode}}};
  });
  add("rollback_of_too_many", "keeps 5 records of 0", [](Tree) {
    return Records{{1, RollbackRecord{5}}};
  });
  add("second_owner", "not the first", [](Tree) { return Records{{1, OwnerRecord{}}}; });
  // --- fields ---
  add_change("mode_with_a_type", "permission bits",
             [](CreateRecord& r) { r.attributes.mode = 0100644; });
  add_change("class_unknown", "media class",
             [](CreateRecord& r) { r.media_class = MediaClass{9}; });
  add_change("choice_unknown", "choice", [](CreateRecord& r) { r.choice = Choice{7}; });
  add_change("kind_0", "file kind 0", [](CreateRecord& r) { r.content.kind = FileKind{0}; });
  add_change("kind_unknown", "file kind", [](CreateRecord& r) { r.content.kind = FileKind{99}; });
  add_change("size_of_2_to_63", "size", [](CreateRecord& r) { r.content.size = 1ull << 63; });
  add_change("target_without_symlink", "no symlink", [](CreateRecord& r) { r.target = "x"; });
  add_change("symlink_without_target", "target",
             [](CreateRecord& r) { r.content.kind = FileKind::symlink; });
  add_change("symlink_to_a_nul", "target", [](CreateRecord& r) {
    r.content.kind = FileKind::symlink;
    r.target = std::string("a\0b", 3);
  });
  add_change("target_too_long", "target", [](CreateRecord& r) {
    r.content.kind = FileKind::symlink;
    r.target = std::string(4096, 't');
  });
  add_change("directory_with_a_size", "no content", [](CreateRecord& r) {
    r.content = {FileKind::directory, 10, {}};
  });
  add("directory_with_content", "no content", [](Tree tree) {
    return Records{create(tree, {FileKind::directory, 0, {{0, tree.stray, 0, 10}}})};
  });
  add("attributes_mode", "permission bits", [](Tree tree) {
    return Records{{1, AttributesRecord{tree.small.inode, {0170000, 0, 0, 0, 0, 0}}}};
  });
  add("attributes_class", "media class", [](Tree tree) {
    return Records{{1, AttributesRecord{tree.small.inode, kAttributes, MediaClass{3}}}};
  });
  add("attributes_of_none", "does not exist", [](Tree tree) {
    return Records{{1, AttributesRecord{tree.next, kAttributes}}};
  });
  add("xattr_without_name", "attribute's name", [](Tree tree) {
    return Records{{1, XattrRecord{tree.small.inode, "", true, "v"}}};
  });
  add("xattr_name_with_nul", "attribute's name", [](Tree tree) {
    return Records{{1, XattrRecord{tree.small.inode, std::string("user.\0a", 7), true, "v"}}};
  });
  add("xattr_too_large", "value", [](Tree tree) {
    return Records{
        {1, XattrRecord{tree.small.inode, "user.a", true, std::string(kMaxXattrSize + 1, 'v')}}};
  });
  add("xattr_removed_with_value", "value", [](Tree tree) {
    return Records{{1, XattrRecord{tree.small.inode, "user.a", false, "v"}}};
  });
  add("xattr_of_none", "does not exist", [](Tree tree) {
    return Records{{1, XattrRecord{tree.next, "user.a", true, "v"}}};
  });
  // --- objects ---
  add("mblock_of_another_file", "which is that of inode",
      [](Tree tree) { return Records{create(tree, of(tree.small.objects.at(0)))}; });
  add("mblock_of_another_file_added", "which is that of inode", [](Tree tree) {
    Content content = of(tree.file.objects.at(0), 10);
    content.extents[0].file_offset = tree.small.size;
    content.size = tree.small.size + 10;
    return Records{{1, ContentRecord{tree.small.inode, false, content}}};
  });
  add("mblock_of_another_file_in_place", "which is that of inode", [](Tree tree) {
    return Records{{1, ContentRecord{tree.small.inode, true, of(tree.file.objects.at(0))}}};
  });
  add("mblock_that_was_deleted", "which was deleted before", [](Tree tree) {
    return Records{{1, UnlinkRecord{kRootInode, "small"}},
                   create(tree, of(tree.small.objects.at(0)))};
  });
  add("mblock_that_is_none", "does not exist", [](Tree tree) {
    const ObjectId absent = ObjectId::make(99, ObjectType::mblock, tree.stray.slot());
    return Records{create(tree, of(absent))};
  });
  add("mblock_of_no_mdc", "does not exist", [](Tree tree) {
    return Records{create(tree, of(ObjectId::make(9, ObjectType::mblock, 200)))};
  });
  add("mlog_as_mblock", "which is no pack",
      [](Tree tree) { return Records{create(tree, of(tree.log.objects.at(0)))}; });
  add("mblock_as_mlog", "is no mlog",
      [](Tree tree) { return Records{create(tree, log_of(tree.stray))}; });
  add("mlog_of_another_log", "which is that of inode",
      [](Tree tree) { return Records{create(tree, log_of(tree.log.objects.at(0)))}; });
  add("mlog_twice", "named twice", [](Tree tree) {
    Content content = log_of(tree.log.objects.at(0));
    content.extents.push_back(content.extents[0]);
    return Records{create(tree, content)};
  });
  add("mlog_added_again", "which is that of inode", [](Tree tree) {
    return Records{{1, ContentRecord{tree.log.inode, false, log_of(tree.log.objects.at(0))}}};
  });
  add("mlog_of_the_root_mdc", "the pool's own",
      [](Tree tree) { return Records{create(tree, log_of(root_log_id(0)))}; });
  add("mlog_of_an_mdc", "the pool's own",
      [](Tree tree) { return Records{create(tree, log_of(mdc_log_id(1, 1)))}; });
  add("mblock_of_slot_0", "the pool's own", [](Tree tree) {
    return Records{create(tree, of(ObjectId::make(3, ObjectType::mblock, 0)))};
  });
  add("object_without_type", "neither mblock nor mlog",
      [](Tree tree) { return Records{create(tree, of(ObjectId{0x3001}))}; });
  add("extent_without_bytes", "no bytes", [](Tree tree) {
    return Records{create(tree, {FileKind::write_once, 10, {{0, tree.stray, 0, 0}}})};
  });
  add("extent_past_its_mblock", "which has only",
      [](Tree tree) { return Records{create(tree, of(tree.stray, 3 * kPageSize))}; });
  add("extent_from_past_its_mblock", "which has only", [](Tree tree) {
    Content content = of(tree.stray);
    content.extents[0].position = 2 * kPageSize;
    return Records{create(tree, content)};
  });
  add("extent_of_2_to_63", "from byte", [](Tree tree) {
    Content content = of(tree.stray);
    content.extents[0].position = ~0ull;
    return Records{create(tree, content)};
  });
  add("extent_over_the_end_of_numbers", "an extent has", [](Tree tree) {
    Content content = of(tree.stray);
    content.extents[0].file_offset = INT64_MAX;
    content.size = INT64_MAX;
    return Records{create(tree, content)};
  });
  add("extent_past_the_end", "its size is", [](Tree tree) {
    Content content = of(tree.stray);
    content.size = 99;
    return Records{create(tree, content)};
  });
  add("extents_that_overlap", "overlap", [](Tree tree) {
    return Records{create(
        tree, {FileKind::write_once, 30, {{0, tree.stray, 0, 20}, {10, tree.stray, 0, 20}}})};
  });
  add("extent_added_over_another", "a byte twice", [](Tree tree) {
    return Records{
        {1, ContentRecord{tree.small.inode,
                          false,
                          {FileKind::write_once, tree.small.size, {{10, tree.stray, 0, 5}}}}}};
  });
  add("content_of_another_kind", "another kind", [](Tree tree) {
    return Records{{1, ContentRecord{tree.small.inode, false, {FileKind::log, 0, {}}}}};
  });
  add("content_of_a_directory", "is no regular file", [](Tree tree) {
    return Records{{1, ContentRecord{tree.directory, true, {FileKind::empty, 0, {}}}}};
  });
  add("content_makes_a_directory", "no regular file", [](Tree tree) {
    return Records{{1, ContentRecord{tree.small.inode, true, {FileKind::directory, 0, {}}}}};
  });
  // --- orphans ---
  const auto add_orphan = [&](const char* name, const char* says,
                              const std::function<ObjectId(Tree)>& object) {
    add(name, says, [object](Tree tree) { return Records{{1, OrphanRecord{{object(tree)}}}}; });
  };
  add_orphan("orphan_of_a_file", "is that of inode",
             [](Tree tree) { return tree.small.objects.at(0); });
  add_orphan("orphan_of_a_log", "is that of inode",
             [](Tree tree) { return tree.log.objects.at(0); });
  add_orphan("orphan_of_the_root_mdc", "the pool's own", [](Tree) { return root_log_id(1); });
  add_orphan("orphan_of_an_mdc", "the pool's own", [](Tree) { return mdc_log_id(2, 0); });
  add_orphan("orphan_without_type", "neither mblock nor mlog",
             [](Tree) { return ObjectId{0x9f01}; });
  add_orphan("orphan_of_a_pack", "is a pack with content of 1 files",
             [](Tree tree) { return tree.packed.objects.at(0); });
  // --- packs ---
  const auto add_pack = [&](const char* name, const char* says,
                            const std::function<ObjectId(Tree)>& object) {
    add(name, says, [object](Tree tree) { return Records{{1, PackRecord{object(tree)}}}; });
  };
  add_pack("pack_twice", "which is a pack", [](Tree tree) { return tree.packed.objects.at(0); });
  add_pack("pack_of_a_log", "which is that of inode",
           [](Tree tree) { return tree.log.objects.at(0); });
  add_pack("pack_of_an_mblock", "is no mlog", [](Tree tree) { return tree.small.objects.at(0); });
  add_pack("pack_of_the_root_mdc", "the pool's own", [](Tree) { return root_log_id(0); });
  add_pack("pack_that_does_not_exist", "does not exist",
           [](Tree tree) { return ObjectId{tree.log.objects.at(0).value - 0xff000}; });
  const auto add_packed = [&](const char* name, const char* says, std::uint64_t position,
                              std::uint64_t length) {
    add(name, says, [position, length](Tree tree) {
      const Extent extent{0, tree.packed.objects.at(0), position, length};
      return Records{create(tree, {FileKind::write_once, length, {extent}})};
    });
  };
  add_packed("packed_in_a_header", "no record of that length can be", 512 + 39, 10);
  add_packed("packed_at_the_end_of_a_block", "no record of that length can be", 512 - 7, 10);
  add_packed("packed_past_the_pack", "no record of that length can be", kZoneSize + 40, 10);
  add_packed("packed_longer_than_the_pack", "no record of that length can be", 40, kZoneSize);
  add("log_in_a_pack", "which is a pack", [](Tree tree) {
    return Records{create(tree, {FileKind::log, 0, {{0, tree.packed.objects.at(0), 0, 0}}})};
  });
  const auto add_move = [&](const char* name, const char* says,
                            const std::function<MoveRecord(Tree)>& record) {
    add(name, says, [record](Tree tree) { return Records{{1, record(tree)}}; });
  };
  add_move("move_of_nothing", "nothing is moved", [](Tree tree) {
    return MoveRecord{tree.packed.inode, {}};
  });
  add_move("move_to_a_log", "which is no pack", [](Tree tree) {
    return MoveRecord{tree.packed.inode, {{0, tree.log.objects.at(0), 40, 100}}};
  });
  add_move("move_to_an_mblock", "is no mlog", [](Tree tree) {
    return MoveRecord{tree.packed.inode, {{0, tree.small.objects.at(0), 0, 100}}};
  });
  add_move("move_of_other_bytes", "has no such extent", [](Tree tree) {
    return MoveRecord{tree.packed.inode, {{0, tree.packed.objects.at(0), 40, 99}}};
  });
  add_move("move_of_an_mblock", "has no such extent", [](Tree tree) {
    return MoveRecord{tree.small.inode, {{0, tree.packed.objects.at(0), 40, 5000}}};
  });
  add_move("move_of_no_file", "does not exist", [](Tree tree) {
    return MoveRecord{tree.next, {{0, tree.packed.objects.at(0), 40, 100}}};
  });
  // --- names ---
  add("link_to_a_directory", "is a directory", [](Tree tree) {
    return Records{{1, LinkRecord{tree.directory, kRootInode, "hard"}}};
  });
  add("link_to_none", "does not exist", [](Tree tree) {
    return Records{{1, LinkRecord{tree.next, kRootInode, "hard"}}};
  });
  add("link_over_a_name", "a name in its way", [](Tree tree) {
    return Records{{1, LinkRecord{tree.small.inode, kRootInode, "log"}}};
  });
  add("link_with_a_bad_name", "slash", [](Tree tree) {
    return Records{{1, LinkRecord{tree.small.inode, kRootInode, "a/b"}}};
  });
  add("link_in_a_file", "is no directory", [](Tree tree) {
    return Records{{1, LinkRecord{tree.small.inode, tree.log.inode, "a"}}};
  });
  add("unlink_of_no_name", "no such name", [](Tree) {
    return Records{{1, UnlinkRecord{kRootInode, "none"}}};
  });
  add("unlink_of_a_bad_name", "empty", [](Tree) { return Records{{1, UnlinkRecord{1, ""}}}; });
  add("unlink_of_a_full_directory", "is not empty", [](Tree) {
    return Records{{1, UnlinkRecord{kRootInode, "d"}}};
  });
  add("rename_below_itself", "below itself", [](Tree tree) {
    return Records{{1, RenameRecord{kRootInode, "d", tree.below, "d", false}}};
  });
  add("exchange_below_itself", "below itself", [](Tree tree) {
    return Records{{1, RenameRecord{kRootInode, "d", tree.directory, "below", true}}};
  });
  add("rename_to_a_bad_name", "'..'", [](Tree) {
    return Records{{1, RenameRecord{kRootInode, "small", 1, "..", false}}};
  });
  add("rename_of_a_file_over_a_directory", "another kind", [](Tree tree) {
    return Records{{1, RenameRecord{kRootInode, "small", tree.directory, "below", false}}};
  });
  add("rename_of_a_directory_over_a_file", "another kind", [](Tree tree) {
    return Records{{1, RenameRecord{tree.directory, "below", kRootInode, "small", false}}};
  });
  add("create_over_a_directory", "replace a directory", [](Tree tree) {
    return Records{create(tree, {FileKind::empty, 0, {}}, "d")};
  });
  add("directory_over_a_file", "a name in its way", [](Tree tree) {
    return Records{create(tree, {FileKind::directory, 0, {}}, "small")};
  });
  return cases;
}

class CraftedTrees : public testing::TestWithParam<Case> {};

// The error message of `call`; empty on success.
std::string failure_of(const std::function<void()>& call) {
  try {
    call();
    return {};
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOTRECOVERABLE) << error.what();
    return error.what();
  }
}

TEST_P(CraftedTrees, AreRefusedShownAndReported) {
  CraftedTree tree;
  tree.append(GetParam().records(tree));
  const Media before = *tree.media();
  const auto expect_unchanged = [&] {
    for (std::uint64_t at = 0; at < before.size(); at += kPageSize)
      ASSERT_EQ(tree.media()->page(at), before.page(at)) << "at " << at;
  };
  {
    const auto pool = tree.activate();
    const std::string failure = failure_of([&] { Namespace::mount(*pool, {}); });
    EXPECT_NE(failure.find(GetParam().says), std::string::npos) << failure;
    EXPECT_NE(failure.find("nothing was written"), std::string::npos) << failure;
  }
  expect_unchanged();
  {
    const auto pool = Pool::activate(tree.devices(true));
    const auto names = Namespace::mount(*pool, {.read_only = true});
    EXPECT_EQ(names->lookup(tree.directory, "file").inode, tree.file.inode);
  }
  std::string findings;
  const auto devices = tree.devices(false);
  const Result result =
      check(devices, {.report = [&](const Finding& found) { findings += found.what + '\n'; },
                      .progress = nullptr});
  EXPECT_NE(result.errors, 0u);
  EXPECT_NE(findings.find(GetParam().says), std::string::npos) << findings;
  EXPECT_EQ(repair(devices, result.plan, [](const std::string&) {}), 0u) << findings;
  expect_unchanged();
}

INSTANTIATE_TEST_SUITE_P(Records, CraftedTrees, testing::ValuesIn(cases()),
                         [](const auto& tested) { return tested.param.name; });

// Nothing but its content shows that an extent names no record: a read and a check notice.
TEST(CraftedTree, ContentThatIsNotInItsPack) {
  CraftedTree tree;
  const ObjectId pack = tree.packed.objects.at(0);
  tree.append({create(tree, {FileKind::write_once, 90, {{0, pack, 48, 90}}})});
  std::string findings;
  const Result result =
      check(tree.devices(false),
            {.report = [&](const Finding& found) { findings += found.what; }, .progress = nullptr});
  EXPECT_NE(result.errors, 0u);
  EXPECT_NE(findings.find("this part of the record is not there"), std::string::npos) << findings;
  EXPECT_NE(findings.find("is inside that of"), std::string::npos) << findings;
  const auto pool = tree.activate();
  const auto names = Namespace::mount(*pool, {});
  const auto file = names->open(names->lookup(kRootInode, "new").inode, {.read = true});
  std::vector<std::byte> memory(100);
  EXPECT_EQ(test::errno_of([&] { file->read(0, memory); }), EIO);
  file->close();
}

// The base records of the cases are valid.
TEST(CraftedTree, SoundRecordsAreTaken) {
  CraftedTree tree;
  Content content = of(tree.stray, 2 * kPageSize);
  tree.append({create(tree, content), {1, UnlinkRecord{kRootInode, "small"}}});
  const auto pool = tree.activate();
  const auto names = Namespace::mount(*pool, {});
  EXPECT_EQ(names->lookup(kRootInode, "new").size, 2 * kPageSize);
}

}  // namespace
}  // namespace mpool::check
