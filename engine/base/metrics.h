// Numbers about what a pool and its mount do, by name (mpoolfs(8), "METRICS").
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/base/clock.h"

namespace mpool {

// Counting takes one relaxed addition for each number: no lock, no allocation. Threads: all
// functions may be called at the same time.

// A number that only grows.
class Counter {
 public:
  void add(std::uint64_t by = 1) noexcept { value_.fetch_add(by, std::memory_order_relaxed); }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

// A number that grows and shrinks.
class Gauge {
 public:
  void add(std::int64_t by) noexcept { value_.fetch_add(by, std::memory_order_relaxed); }
  std::int64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_ = 0;
};

// Durations, counted by size.
class LatencyHistogram {
 public:
  // The last bucket has no bound. The first ends at 4.1 us, each next one at four times that of the
  // one before it: 17 s is the last bound.
  static constexpr std::size_t kBuckets = 13;
  static constexpr std::chrono::nanoseconds bound(std::size_t bucket) {
    return std::chrono::nanoseconds(std::int64_t{1} << (kFirstBound + 2 * bucket));
  }

  void record(Clock::Duration duration) noexcept {
    const auto taken = static_cast<std::uint64_t>(
        std::max(std::chrono::nanoseconds(duration).count(), std::chrono::nanoseconds::rep{1}));
    counts_[bucket_of(taken)].fetch_add(1, std::memory_order_relaxed);
    nanoseconds_.fetch_add(taken, std::memory_order_relaxed);
  }

  struct Values {
    std::array<std::uint64_t, kBuckets> counts;  // of each bucket alone
    std::uint64_t count = 0;                     // of all
    std::chrono::nanoseconds sum{};
  };
  // `count` is the sum of `counts`; `sum` may lack durations that are just being recorded.
  Values values() const noexcept;

 private:
  static constexpr unsigned kFirstBound = 12;  // log2 of nanoseconds
  static std::size_t bucket_of(std::uint64_t nanoseconds) noexcept {
    const auto width = static_cast<std::size_t>(std::bit_width(nanoseconds - 1));
    return width <= kFirstBound ? 0 : std::min(kBuckets - 1, (width - kFirstBound + 1) / 2);
  }

  std::array<std::atomic<std::uint64_t>, kBuckets> counts_{};
  std::atomic<std::uint64_t> nanoseconds_ = 0;
};

// The numbers of one pool, for all of its layers and its mount. What counts gets a number once, and
// keeps the reference.
//
// Names follow the conventions of Prometheus: "mpoolfs_", what is counted, the unit ("_seconds",
// "_bytes"), and "_total" for a counter. Numbers of one name differ in the values of their labels.
//
// Threads: all functions may be called at the same time. mutex_ is a leaf.
class Metrics {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  Metrics() = default;
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The number of that name and these labels, which is made with the first call and lives as long
  // as this. All calls for a name have the same kind and help, a sentence without a full stop.
  Counter& counter(std::string_view name, std::string_view help, const Labels& labels = {}) {
    return number<Counter>(counters_, name, help, labels);
  }
  Gauge& gauge(std::string_view name, std::string_view help, const Labels& labels = {}) {
    return number<Gauge>(gauges_, name, help, labels);
  }
  LatencyHistogram& histogram(std::string_view name, std::string_view help,
                              const Labels& labels = {}) {
    return number<LatencyHistogram>(histograms_, name, help, labels);
  }
  // A number of the caller, which must outlive this.
  using Number = std::variant<const Counter*, const Gauge*, const LatencyHistogram*>;
  void add(std::string_view name, std::string_view help, const Labels& labels, Number number);

  struct Sample {
    Labels labels;
    Number number;
  };
  struct Family {
    std::string name;
    std::string help;
    std::vector<Sample> samples;  // of one kind, at least one
  };
  // Calls `take` with each family, in the order in which they were made. It must not call back.
  void visit(const std::function<void(const Family&)>& take) const;

 private:
  template <typename Kind>
  Kind& number(std::deque<Kind>& made, std::string_view name, std::string_view help,
               const Labels& labels) {
    const std::lock_guard lock(mutex_);
    if (const Sample* const known = find(name, labels)) {
      return const_cast<Kind&>(*std::get<const Kind*>(known->number));
    }
    Kind& added = made.emplace_back();
    insert(name, help, labels, &added);
    return added;
  }
  // Called with mutex_ held:
  Family* find_family(std::string_view name);
  const Sample* find(std::string_view name, const Labels& labels);
  void insert(std::string_view name, std::string_view help, const Labels& labels, Number number);

  mutable std::mutex mutex_;  // guards the following; their elements do not move
  std::deque<Counter> counters_;
  std::deque<Gauge> gauges_;
  std::deque<LatencyHistogram> histograms_;
  std::deque<Family> families_;
};

}  // namespace mpool
