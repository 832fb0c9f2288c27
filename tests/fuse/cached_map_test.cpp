// Maps that the daemon serves, and files, as the reaper sees them. The page cache is the test's.
#include "fuse/control/cached_map.h"

#include <optional>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/cache/fake_memory.h"
#include "tests/engine/names/support.h"
#include "tests/support/stepped_clock.h"

namespace mpoolfs {
namespace {

using namespace std::chrono_literals;
using mpool::Advice;
using mpool::kPageSize;
using mpool::test::kZoneSize;
using mpool::test::pattern;
using testing::ElementsAre;
using testing::Pair;

constexpr std::uint64_t kMemberPages = kZoneSize / kPageSize;

class CachedMapTest : public testing::Test {
 protected:
  CachedMapTest() {
    memory_.pages = 1000 * kMemberPages;
    tree_.put("f", pattern(2 * kZoneSize + 5000));  // 3 mblocks
    const auto inode = tree_.stat("f").inode;
    collection_ = tree_.names().make_collection(tree_.names().mblocks_of(inode), 1u << 30);
    map_.emplace(reaper_, Advice::warm);
  }

  void use() {
    map_->note_use(*collection_, [this](std::uint64_t offset, std::uint64_t length) {
      const std::lock_guard lock(memory_.mutex);
      dropped_.emplace_back(offset, length);
    });
  }
  // One look at each of the lists, and the one that is due then: it begins after the others ended.
  void look(unsigned count = 4) {
    for (unsigned i = 0; i < count; ++i) {
      clock_.await_wait(mpool::Clock::Duration(1));
      const unsigned before = reads();
      clock_.advance(4s);
      memory_.await_reads(before + 1);
    }
  }
  // Takes looks until no chunk is tracked, after each of which another one is due.
  void await_no_chunks() {
    while (reaper_.stats().counts.chunks != 0) {
      clock_.await_wait(mpool::Clock::Duration(1));
      clock_.advance(4s);
    }
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> dropped() {
    const std::lock_guard lock(memory_.mutex);
    return dropped_;
  }
  unsigned reads() {
    const std::lock_guard lock(memory_.mutex);
    return memory_.reads;
  }
  std::uint64_t resident(Advice advice) const {
    return reaper_.stats().counts.resident.at(static_cast<std::size_t>(advice));
  }

  mpool::test::SteppedClock clock_;
  mpool::JobScheduler jobs_{clock_};
  mpool::test::FakeMemory memory_;
  mpool::Reaper reaper_{jobs_, {}, {.probe_divisor = 1}, [this](const std::string&) {
                          return std::make_unique<mpool::test::FakeSource>(memory_);
                        }};
  mpool::test::TestTree tree_;
  std::unique_ptr<mpool::Collection> collection_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> dropped_;
  std::optional<CachedMap> map_;
};

TEST_F(CachedMapTest, EachMemberIsAChunkWithTheAdviceOfTheMap) {
  use();
  use();
  map_->note_read(0, kZoneSize);
  map_->note_read(kZoneSize + kPageSize, kPageSize);
  look();
  EXPECT_EQ(reaper_.stats().counts.chunks, 3u);
  EXPECT_EQ(resident(Advice::warm), kMemberPages + 1);
  map_->set_advice(Advice::hot);
  look();
  EXPECT_EQ(resident(Advice::warm), 0u);
  EXPECT_EQ(resident(Advice::hot), kMemberPages + 1);
  map_.reset();
  await_no_chunks();
  EXPECT_EQ(resident(Advice::hot), 0u);
}

TEST_F(CachedMapTest, UnusedMembersAreDroppedAfterTheTimeOfTheirAdvice) {
  map_->set_advice(Advice::pinned);
  use();
  map_->note_read(kZoneSize, kZoneSize);
  look();
  memory_.pages = kMemberPages + 1;
  for (unsigned i = 0; i < 10; ++i) {
    reaper_.note_use();
    look();
  }
  EXPECT_THAT(dropped(), ElementsAre());
  map_->set_advice(Advice::cold);
  while (dropped().empty())
    look(1);
  EXPECT_THAT(dropped(), ElementsAre(Pair(kZoneSize, kZoneSize)));
}

// After the reaper was switched off and on again.
TEST_F(CachedMapTest, ForgottenMembersAreTrackedAtTheNextUse) {
  use();
  look();
  reaper_.set("reap_mempct", "100");
  clock_.await_wait(mpool::Clock::Duration(1));
  clock_.advance(4s);
  while (reaper_.stats().counts.chunks != 0)
    std::this_thread::yield();
  reaper_.set("reap_mempct", "50");
  use();
  look();
  EXPECT_EQ(reaper_.stats().counts.chunks, 3u);
}

}  // namespace
}  // namespace mpoolfs
