#include "engine/base/metrics.h"

#include <algorithm>
#include <chrono>
#include <latch>
#include <map>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace mpool {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(Metrics, ANumberIsMadeOnceForItsNameAndLabels) {
  Metrics metrics;
  Counter& plain = metrics.counter("a_total", "A");
  Counter& labelled = metrics.counter("a_total", "A", {{"k", "1"}});
  EXPECT_NE(&plain, &labelled);
  EXPECT_EQ(&metrics.counter("a_total", "A"), &plain);
  EXPECT_EQ(&metrics.counter("a_total", "A", {{"k", "1"}}), &labelled);
  plain.add();
  labelled.add(41);
  EXPECT_EQ(metrics.counter("a_total", "A").value(), 1u);
  EXPECT_EQ(labelled.value(), 41u);
}

TEST(Metrics, TwoOfThemShareNothing) {
  Metrics one;
  Metrics two;
  one.counter("a_total", "A").add(7);
  EXPECT_EQ(two.counter("a_total", "A").value(), 0u);
}

TEST(Metrics, VisitsFamiliesInTheirOrderWithNumbersOfOthers) {
  Counter own;
  own.add(3);
  Metrics metrics;
  metrics.gauge("g", "G").add(-2);
  metrics.add("c_total", "C", {{"device", "x"}}, &own);
  metrics.counter("c_total", "C", {{"device", "y"}}).add(4);
  std::vector<std::string> seen;
  metrics.visit([&](const Metrics::Family& family) {
    for (const Metrics::Sample& sample : family.samples) {
      const auto* const counter = std::get_if<const Counter*>(&sample.number);
      seen.push_back(family.name + " " + family.help + " " +
                     (counter != nullptr
                          ? sample.labels.at(0).second + std::to_string((*counter)->value())
                          : std::to_string(std::get<const Gauge*>(sample.number)->value())));
    }
  });
  EXPECT_EQ(seen, (std::vector<std::string>{"g G -2", "c_total C x3", "c_total C y4"}));
}

TEST(Metrics, NothingIsLostAmongThreads) {
  constexpr unsigned kThreads = 4;
  constexpr unsigned kTimes = 10'000;
  Metrics metrics;
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        Counter& counter = metrics.counter("a_total", "A");
        LatencyHistogram& histogram = metrics.histogram("h_seconds", "H");
        for (unsigned n = 0; n < kTimes; ++n) {
          counter.add();
          histogram.record(nanoseconds(n));
        }
      });
    }
  }
  EXPECT_EQ(metrics.counter("a_total", "A").value(), kThreads * kTimes);
  EXPECT_EQ(metrics.histogram("h_seconds", "H").values().count, kThreads * kTimes);
}

TEST(OwnRow, ThreadsWithAndWithoutOneCountTogether) {
  constexpr unsigned kThreads = 2 * OwnRow::kRows;  // some get none
  constexpr unsigned kTimes = 1000;
  Counter counter;
  Gauge gauge;
  LatencyHistogram histogram;
  {
    std::latch all_have(kThreads);
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        const OwnRow row;
        all_have.arrive_and_wait();
        for (unsigned n = 0; n < kTimes; ++n) {
          counter.add(2);
          gauge.add(n % 2 == 0 ? 3 : -2);
          histogram.record(milliseconds(1));
        }
      });
    }
  }
  counter.add(1);
  EXPECT_EQ(counter.value(), kThreads * kTimes * 2 + 1);
  EXPECT_EQ(gauge.value(), kThreads * kTimes / 2);
  EXPECT_EQ(histogram.values().count, kThreads * kTimes);
  EXPECT_EQ(histogram.values().sum, kThreads * kTimes * milliseconds(1));
}

TEST(OwnRow, NoTwoThreadsHaveTheSameAndItIsGivenBack) {
  std::vector<unsigned> rows;
  std::mutex mutex;
  const auto take_all = [&] {
    std::latch all_have(OwnRow::kRows);
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < OwnRow::kRows; ++i) {
      threads.emplace_back([&] {
        const OwnRow row;
        {
          const std::lock_guard lock(mutex);
          rows.push_back(OwnRow::current());
        }
        all_have.arrive_and_wait();
      });
    }
  };
  std::vector<unsigned> wanted(OwnRow::kRows);  // one thread has the common one
  std::iota(wanted.begin(), wanted.end(), 0);
  for (unsigned round = 0; round < 2; ++round) {
    rows.clear();
    take_all();
    std::ranges::sort(rows);
    EXPECT_EQ(rows, wanted);
  }
  EXPECT_EQ(OwnRow::current(), 0u);
}

TEST(LatencyHistogram, ABucketEndsWithItsBound) {
  for (std::size_t bucket = 0; bucket + 1 < LatencyHistogram::kBuckets; ++bucket) {
    LatencyHistogram histogram;
    histogram.record(LatencyHistogram::bound(bucket));
    histogram.record(LatencyHistogram::bound(bucket) + nanoseconds(1));
    const LatencyHistogram::Values values = histogram.values();
    EXPECT_EQ(values.counts[bucket], 1u) << bucket;
    EXPECT_EQ(values.counts[bucket + 1], 1u) << bucket;
  }
}

TEST(LatencyHistogram, CountsAndAddsUp) {
  LatencyHistogram histogram;
  histogram.record(nanoseconds(0));
  histogram.record(milliseconds(1));
  histogram.record(seconds(100));
  const LatencyHistogram::Values values = histogram.values();
  EXPECT_EQ(values.count, 3u);
  EXPECT_EQ(values.counts.front(), 1u);
  EXPECT_EQ(values.counts.back(), 1u);
  EXPECT_EQ(values.sum, nanoseconds(1) + milliseconds(1) + seconds(100));
}

}  // namespace
}  // namespace mpool
