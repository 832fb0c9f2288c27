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

// While it exists, its thread has a row of its own in all numbers: an addition then neither is
// atomic nor shares a cache line. For threads that count with each request. If no row is free the
// thread counts in the common row, as all others do. At most one for each thread, which ends it.
class OwnRow {
 public:
  static constexpr unsigned kRows = 33;  // the first is common

  OwnRow() noexcept;
  ~OwnRow();
  OwnRow(const OwnRow&) = delete;
  OwnRow& operator=(const OwnRow&) = delete;

  // The row of the calling thread; 0: the common one.
  static unsigned current() noexcept { return current_; }

 private:
  inline static constinit thread_local unsigned current_ = 0;
};

// Sums that threads add to in their rows.
template <std::size_t kSize>
class RowedSums {
 public:
  void add(std::size_t index, std::uint64_t by) noexcept {
    const unsigned number = OwnRow::current();
    std::atomic<std::uint64_t>& part = rows_[number].parts[index];
    if (number == 0) {
      part.fetch_add(by, std::memory_order_relaxed);
    } else {
      part.store(part.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
    }
  }
  // Without additions of other threads that are just being made. Never less than before, if only
  // positive numbers are added.
  std::uint64_t sum(std::size_t index) const noexcept {
    std::uint64_t sum = 0;
    for (const Row& row : rows_)
      sum += row.parts[index].load(std::memory_order_relaxed);
    return sum;
  }

 private:
  struct alignas(64) Row {
    std::array<std::atomic<std::uint64_t>, kSize> parts{};
  };
  std::array<Row, OwnRow::kRows> rows_;
};

// A number that only grows.
class Counter {
 public:
  void add(std::uint64_t by = 1) noexcept { sums_.add(0, by); }
  std::uint64_t value() const noexcept { return sums_.sum(0); }

 private:
  RowedSums<1> sums_;
};

// A number that grows and shrinks.
class Gauge {
 public:
  void add(std::int64_t by) noexcept { sums_.add(0, static_cast<std::uint64_t>(by)); }
  std::int64_t value() const noexcept { return static_cast<std::int64_t>(sums_.sum(0)); }

 private:
  RowedSums<1> sums_;
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
    sums_.add(bucket_of(taken), 1);
    sums_.add(kNanoseconds, taken);
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
  static constexpr std::size_t kNanoseconds = kBuckets;
  static std::size_t bucket_of(std::uint64_t nanoseconds) noexcept {
    const auto width = static_cast<std::size_t>(std::bit_width(nanoseconds - 1));
    return width <= kFirstBound ? 0 : std::min(kBuckets - 1, (width - kFirstBound + 1) / 2);
  }

  RowedSums<kBuckets + 1> sums_;  // the count of each bucket, and nanoseconds
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
