// The ends of MDCs, recorded by a mount and compared by the next one.
#include "engine/tree/mdc_ends.h"

#include <cerrno>

#include <gtest/gtest.h>

#include "engine/tree/record_faults.h"
#include "tests/engine/names/support.h"
#include "tests/support/error_of.h"
#include "tests/support/media_edit.h"

namespace mpool::names {
namespace {

using test::Media;
using test::TestTree;

TEST(MdcEnds, OnlyWhatIsBehindIsLost) {
  const MdcEndsRecord record{{{3, 10, 20}, {0, 1, 1}}, 0};
  const MdcEnd same{3, 10, 20};
  const MdcEnd first{0, 1, 1};
  struct Case {
    std::vector<MdcEnd> now;
    std::size_t lost;
  };
  const std::vector<Case> cases = {
      {{same, first}, 0},             // as it was
      {{{3, 11, 21}, first}, 0},      // grown
      {{{3, 10, 21}, first}, 0},      // grown inside its last block
      {{{4, 2, 1}, first}, 0},        // compacted
      {{same, first, {0, 1, 1}}, 0},  // one more
      {{{3, 9, 20}, first}, 1},       // a block less
      {{{3, 10, 19}, first}, 1},      // an older last block
      {{{3, 0, 0}, first}, 1},        // nothing left
      {{{2, 90, 90}, first}, 1},      // an older half
      {{same}, 1},                    // one less
      {{{3, 9, 19}, {0, 0, 0}}, 2},
  };
  for (std::size_t i = 0; i < cases.size(); ++i)
    EXPECT_EQ(lost_since(record, cases[i].now).size(), cases[i].lost) << i;
}

TEST(MdcEnds, MoreMdcsThanThereCanBeAreRefused) {
  EXPECT_FALSE(fault_of({0, MdcEndsRecord{std::vector<MdcEnd>(kMaxMdcs + 2), 0}}).empty());
  EXPECT_TRUE(fault_of({0, MdcEndsRecord{std::vector<MdcEnd>(kMaxMdcs + 1), 0}}).empty());
}

// The last records of an MDC are on its last page; an older version of that page is valid by
// itself.
TEST(MdcEnds, AnOlderLastPageOfAnMdcIsFoundAfterACleanEnd) {
  TestTree tree;
  tree.put("first", "text");
  tree.names().sync();
  const Media before = *tree.media();
  for (int i = 0; i < 8; ++i)
    tree.put("f" + std::to_string(i), "text");
  tree.unmount();
  const Media after = *tree.media();
  std::size_t refused = 0;
  const auto pool_of = [](const Media& media) { return std::make_shared<Media>(media); };
  for (unsigned slot = 1; slot <= 2; ++slot) {
    TestTree sound(pool_of(after), {.read_only = true});
    const Pool::MdcStats stats = sound.pool().mdcs().at(slot);
    std::uint64_t at = 0;
    sound.pool().read_mdc(0, [&](ConstByteSpan bytes) {
      const MetadataRecord record = decode_record(bytes).value();
      const auto* mlog = std::get_if<ObjectRecord>(&record);
      if (mlog != nullptr && mlog->id == stats.mdc.ids[stats.mdc.active]) {
        at = mlog->layout.first_zone * test::kZoneSize;
      }
    });
    ASSERT_NE(at, 0u);
    if (before.page(at) == after.page(at)) continue;
    const auto stale = pool_of(after);
    stale->set_page(at, before.page(at));
    EXPECT_EQ(test::error_of([&] { TestTree(stale, {}); }, "its last log blocks are damaged"),
              ENOTRECOVERABLE);
    ++refused;
  }
  EXPECT_NE(refused, 0u);
}

}  // namespace
}  // namespace mpool::names
