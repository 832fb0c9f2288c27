#include "engine/base/metrics.h"

#include <cassert>

namespace mpool {

namespace {

// The lock orders what the last thread of a row wrote before what its next one writes.
std::mutex rows_mutex;
std::array<bool, OwnRow::kRows> rows_taken{true};  // the common one is never free

}  // namespace

OwnRow::OwnRow() noexcept {
  assert(current_ == 0);
  const std::lock_guard lock(rows_mutex);
  bool* const free = std::ranges::find(rows_taken, false);
  if (free == rows_taken.end()) return;
  *free = true;
  current_ = static_cast<unsigned>(free - rows_taken.begin());
}

OwnRow::~OwnRow() {
  const unsigned row = std::exchange(current_, 0);
  if (row == 0) return;
  const std::lock_guard lock(rows_mutex);
  rows_taken[row] = false;
}

LatencyHistogram::Values LatencyHistogram::values() const noexcept {
  Values values{};
  values.sum = std::chrono::nanoseconds(sums_.sum(kNanoseconds));
  for (std::size_t i = 0; i < kBuckets; ++i) {
    values.counts[i] = sums_.sum(i);
    values.count += values.counts[i];
  }
  return values;
}

void Metrics::add(std::string_view name, std::string_view help, const Labels& labels,
                  Number number) {
  const std::lock_guard lock(mutex_);
  assert(find(name, labels) == nullptr);
  insert(name, help, labels, number);
}

void Metrics::visit(const std::function<void(const Family&)>& take) const {
  const std::lock_guard lock(mutex_);
  for (const Family& family : families_)
    take(family);
}

Metrics::Family* Metrics::find_family(std::string_view name) {
  const auto found = std::ranges::find(families_, name, &Family::name);
  return found == families_.end() ? nullptr : &*found;
}

const Metrics::Sample* Metrics::find(std::string_view name, const Labels& labels) {
  const Family* const family = find_family(name);
  if (family == nullptr) return nullptr;
  const auto found = std::ranges::find(family->samples, labels, &Sample::labels);
  return found == family->samples.end() ? nullptr : &*found;
}

void Metrics::insert(std::string_view name, std::string_view help, const Labels& labels,
                     Number number) {
  Family* family = find_family(name);
  if (family == nullptr) {
    family = &families_.emplace_back(
        Family{.name = std::string(name), .help = std::string(help), .samples = {}});
  }
  assert(family->help == help);
  assert(family->samples.empty() || family->samples.front().number.index() == number.index());
  family->samples.push_back({.labels = labels, .number = number});
}

}  // namespace mpool
