#include "engine/space/discard_queue.h"

#include <algorithm>
#include <iterator>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"

namespace mpool {

namespace {

// Maximum size of one discard request: the unit of the rate limit and of the wait at the end of the
// queue.
constexpr std::uint64_t kDiscardSize = std::uint64_t{256} << 20;

}  // namespace

DiscardQueue::DiscardQueue(Device& device, SpaceMap& map, std::uint64_t zone_size,
                           std::uint64_t bytes_per_second, Clock& clock)
    : device_(device),
      map_(map),
      clock_(clock),
      zone_size_(zone_size),
      bytes_per_second_(bytes_per_second),
      zones_per_discard_(
          static_cast<std::uint32_t>(std::max<std::uint64_t>(kDiscardSize / zone_size, 1))),
      thread_([this] { run(); }) {}

DiscardQueue::~DiscardQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    end_ = clock_.now() + kEndingTime;
  }
  work_.notify_all();
  thread_.join();
  if (!queue_.empty()) {
    device_.log().info(
        "{}: {} ranges of free zones are left undiscarded, there was no time for them",
        device_.name(), queue_.size());
  }
  for (const auto& [first_zone, count] : queue_)
    release({first_zone, count});
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
  work_.notify_one();
}

bool DiscardQueue::drain(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  ++waiters_;
  work_.notify_one();
  const bool done = clock_.wait_until(idle_, lock, clock_.now() + timeout,
                                      [this] { return queue_.empty() && !busy_; });
  --waiters_;
  return done;
}

void DiscardQueue::run() {
  std::unique_lock lock(mutex_);
  Clock::Time not_before = clock_.now();
  while (true) {
    work_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    clock_.wait_until(work_, lock, not_before, [this] { return stopping_ || waiters_ > 0; });
    if (stopping_ && (queue_.empty() || !may_go_on())) return;
    const Range range = take();
    not_before = clock_.now() + time_for(range);
    busy_ = true;
    lock.unlock();
    discard(range);
    release(range);
    lock.lock();
    busy_ = false;
    if (queue_.empty()) idle_.notify_all();
  }
}

// At the end of the queue. If the device is not claimed, another program may have taken it over.
bool DiscardQueue::may_go_on() const {
  return clock_.now() < end_ && !device_.offline() && device_.claim() == 0;
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

Clock::Duration DiscardQueue::time_for(const Range& range) const {
  if (bytes_per_second_ == 0) return {};
  const double seconds = static_cast<double>(range.count) * static_cast<double>(zone_size_) /
                         static_cast<double>(bytes_per_second_);
  return std::chrono::duration_cast<Clock::Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace mpool
