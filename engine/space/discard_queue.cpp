#include "engine/space/discard_queue.h"

#include <algorithm>
#include <iterator>

#include "engine/base/error.h"

namespace mpool {

DiscardQueue::DiscardQueue(Device& device, SpaceMap& map, std::uint64_t zone_size,
                           JobScheduler& scheduler, std::string job_name,
                           const Tunables::Discards& tunables)
    : device_(device),
      map_(map),
      clock_(scheduler.clock()),
      zone_size_(zone_size),
      tunables_(tunables),
      zones_per_discard_(
          static_cast<std::uint32_t>(std::max<std::uint64_t>(tunables.max_size / zone_size, 1))),
      job_(scheduler,
           {.name = std::move(job_name),
            .priority = JobPriority::low,
            .bytes_per_second = tunables.bytes_per_second},
           [this](JobOrder order) { return step(order); }) {}

DiscardQueue::~DiscardQueue() {
  const Clock::Time end = clock_.now() + tunables_.ending_time;
  job_.stop();
  while (!queue_.empty() && may_go_on(end))
    discard_next();
  if (!queue_.empty()) {
    device_.log().info(
        "{}: {} ranges of free zones are left undiscarded, there was no time for them",
        device_.name(), queue_.size());
  }
  release_all();
}

void DiscardQueue::add(std::uint64_t first_zone, std::uint32_t count) {
  {
    const std::lock_guard lock(mutex_);
    map_.retire(first_zone, count);
    auto next = queue_.lower_bound(first_zone);
    if (next != queue_.end() && next->first == first_zone + count) {
      count += next->second;
      next = queue_.erase(next);
    }
    const auto before = next == queue_.begin() ? queue_.end() : std::prev(next);
    if (before != queue_.end() && before->first + before->second == first_zone) {
      before->second += count;
    } else {
      queue_.emplace_hint(next, first_zone, count);
    }
  }
  job_.request();
}

bool DiscardQueue::drain(std::chrono::milliseconds timeout) {
  const Job::Expedite expedite(job_);
  std::unique_lock lock(mutex_);
  return clock_.wait_until(idle_, lock, clock_.now() + timeout,
                           [this] { return queue_.empty() && !busy_; });
}

// One discard.
JobStep DiscardQueue::step(JobOrder order) {
  if (order == JobOrder::cancel) {
    release_all();
    return {};
  }
  const std::uint32_t zones = discard_next();
  const std::lock_guard lock(mutex_);
  done_ = queue_.empty() ? 0 : done_ + zones;
  return {.more = !queue_.empty(),
          .bytes = zones * zone_size_,
          .done = done_,
          .total = done_ + map_.usage().pending};
}

// Returns the number of zones.
std::uint32_t DiscardQueue::discard_next() {
  Range range{};
  {
    const std::lock_guard lock(mutex_);
    if (queue_.empty()) return 0;
    range = take();
    busy_ = true;
  }
  discard(range);
  release(range);
  const std::lock_guard lock(mutex_);
  busy_ = false;
  if (queue_.empty()) idle_.notify_all();
  return range.count;
}

// Without a discard.
void DiscardQueue::release_all() {
  const std::lock_guard lock(mutex_);
  for (const auto& [first_zone, count] : queue_)
    release({first_zone, count});
  queue_.clear();
  done_ = 0;
  idle_.notify_all();
}

// At the end of the queue. If the device is not claimed, another program may have taken it over.
bool DiscardQueue::may_go_on(Clock::Time end) const {
  return clock_.now() < end && !device_.offline() && device_.claim() == 0;
}

// The next zones to discard, in ascending order and around, so that none waits forever.
DiscardQueue::Range DiscardQueue::take() {
  auto found = queue_.lower_bound(cursor_);
  if (found == queue_.end()) found = queue_.begin();
  const auto [first_zone, available] = *found;
  const std::uint32_t count = std::min(available, zones_per_discard_);
  queue_.erase(found);
  if (count < available) queue_.emplace(first_zone + count, available - count);
  cursor_ = first_zone + count;
  return {first_zone, count};
}

void DiscardQueue::discard(const Range& range) {
  try {
    device_.discard(range.first_zone * zone_size_, range.count * zone_size_);
  } catch (const Error& error) {
    if (!failed_) {
      device_.log().warn("{}; the zones are used again all the same, later failures are not logged",
                         error.what());
    }
    failed_ = true;
  }
}

void DiscardQueue::release(const Range& range) {
  try {
    map_.release(range.first_zone, range.count);
  } catch (const Error& error) {
    // Another caller released zones of the queue: a defect, but no reason to end the process.
    device_.log().error("{}", error.what());
  }
}

}  // namespace mpool
