#include "engine/tree/change_queue.h"

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mpool::names {
namespace {

using testing::ElementsAre;

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

Change change(char name) {
  return {.record = {std::byte(name)}};
}

// The names of the changes up to the position.
std::string take(ChangeQueue& queue, ChangeQueue::Ticket limit) {
  std::string names;
  for (const Change& taken : queue.take(limit, kNoLimit, kNoLimit).changes)
    names += static_cast<char>(taken.record.front());
  return names;
}
std::string take_all(ChangeQueue& queue) {
  return take(queue, queue.last());
}

TEST(ChangeQueue, GivesChangesInOrder) {
  ChangeQueue queue;
  EXPECT_EQ(queue.add(change('a')), 1u);
  EXPECT_EQ(queue.add(change('b')), 2u);
  EXPECT_EQ(queue.add(change('c')), 3u);
  EXPECT_EQ(queue.size(), 3u);
  const ChangeQueue::Taken taken = queue.take(2, kNoLimit, kNoLimit);
  EXPECT_EQ(taken.changes.size(), 2u);
  EXPECT_EQ(taken.last, 2u);
  EXPECT_EQ(take_all(queue), "c");
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_EQ(queue.take(3, kNoLimit, kNoLimit).last, 3u);
}

TEST(ChangeQueue, TakesNoMoreThanTheLimits) {
  ChangeQueue queue;
  for (const char name : std::string_view("abcdef"))
    queue.add(change(name));
  EXPECT_EQ(queue.take(6, 2, kNoLimit).last, 2u);
  EXPECT_EQ(queue.take(6, kNoLimit, 3).last, 5u);
  EXPECT_EQ(take_all(queue), "f");
}

TEST(ChangeQueue, WhatIsAddedToAPlaceholderComesThere) {
  ChangeQueue queue;
  queue.add(change('a'));
  const auto placeholder = queue.add_placeholder();
  queue.add(change('z'));
  EXPECT_EQ(queue.add(change('b'), placeholder.get()), 2u);
  EXPECT_EQ(queue.add(change('c'), placeholder.get()), 2u);
  queue.close(*placeholder);
  EXPECT_FALSE(placeholder->is_open());
  EXPECT_FALSE(queue.has_placeholders());
  EXPECT_EQ(queue.add(change('d'), placeholder.get()), 4u) << "at the end";
  EXPECT_EQ(take_all(queue), "abczd");
}

TEST(ChangeQueue, AWithdrawnPlaceholderLeavesNothing) {
  ChangeQueue queue;
  const auto placeholder = queue.add_placeholder();
  queue.add(change('a'));
  queue.close(*placeholder);
  queue.close(*placeholder);
  EXPECT_EQ(take_all(queue), "a");
  EXPECT_EQ(queue.size(), 0u);
}

// The commit may still come, after what is taken now.
TEST(ChangeQueue, AnOpenPlaceholderMovesBehindWhatIsTaken) {
  ChangeQueue queue;
  const auto placeholder = queue.add_placeholder();
  queue.add(change('a'));
  const ChangeQueue::Ticket limit = queue.last();
  queue.add(change('z'));
  EXPECT_EQ(take(queue, limit), "a");
  EXPECT_TRUE(queue.has_placeholders());
  EXPECT_EQ(queue.add(change('y'), placeholder.get()), 4u);
  queue.add(change('x'));
  queue.close(*placeholder);
  EXPECT_EQ(take_all(queue), "zyx");
}

TEST(ChangeQueue, AMovedPlaceholderIsNotTakenAgain) {
  ChangeQueue queue;
  const auto placeholder = queue.add_placeholder();
  queue.add(change('a'));
  EXPECT_EQ(take(queue, std::numeric_limits<ChangeQueue::Ticket>::max()), "a");
  EXPECT_TRUE(placeholder->is_open());
}

TEST(ChangeQueue, ChangesInAnOpenPlaceholderAreTakenBeforeWhatFollowed) {
  ChangeQueue queue;
  const auto placeholder = queue.add_placeholder();
  queue.add(change('a'), placeholder.get());
  queue.add(change('b'));
  EXPECT_EQ(take_all(queue), "ab");
  queue.add(change('c'));
  queue.add(change('d'), placeholder.get());
  queue.close(*placeholder);
  EXPECT_EQ(take_all(queue), "dc");
}

TEST(ChangeQueue, OpenPlaceholdersAreNoChanges) {
  ChangeQueue queue;
  const auto first = queue.add_placeholder();
  const auto second = queue.add_placeholder();
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_EQ(queue.last(), 2u);
  const ChangeQueue::Taken taken = queue.take(2, kNoLimit, kNoLimit);
  EXPECT_EQ(taken.changes.size(), 0u);
  EXPECT_EQ(taken.last, 2u) << "waiting for them is waiting for nothing";
  queue.add(change('b'), second.get());
  queue.add(change('a'), first.get());
  queue.close(*second);
  queue.close(*first);
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_EQ(take_all(queue), "ab") << "places keep their order";
}

TEST(ChangeQueue, ExpectsWhatWasAnnounced) {
  ChangeQueue queue;
  const auto placeholder = queue.add_placeholder();
  EXPECT_FALSE(queue.is_expecting(queue.last()));
  queue.add(change('a'));
  const auto later = queue.add_placeholder();
  queue.expect(*later);
  EXPECT_FALSE(queue.is_expecting(2));
  EXPECT_TRUE(queue.is_expecting(3));
  queue.expect(*placeholder);
  EXPECT_TRUE(queue.is_expecting(1));
  queue.close(*placeholder);
  queue.expect(*placeholder);
  EXPECT_FALSE(queue.is_expecting(2));
}

TEST(ChangeQueue, KeepsSomePlaceholdersOnly) {
  ChangeQueue queue;
  std::vector<ChangeQueue::SharedPlaceholder> places;
  for (std::size_t i = 0; i <= ChangeQueue::kMaxPlaceholders; ++i)
    places.push_back(queue.add_placeholder());
  EXPECT_FALSE(places[0]->is_open());
  EXPECT_TRUE(places[1]->is_open());
  EXPECT_TRUE(places.back()->is_open());
}

}  // namespace
}  // namespace mpool::names
