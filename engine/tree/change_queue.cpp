#include "engine/tree/change_queue.h"

#include <algorithm>
#include <utility>

namespace mpool::names {

ChangeQueue::Ticket ChangeQueue::add(Change change) {
  entries_.push_back({.change = std::move(change), .placeholder = nullptr});
  return ++last_;
}

ChangeQueue::Ticket ChangeQueue::add(Change change, Placeholder* placeholder) {
  if (placeholder == nullptr || !placeholder->is_open()) return add(std::move(change));
  placeholder->changes_.push_back(std::move(change));
  return placeholder->ticket_;
}

ChangeQueue::SharedPlaceholder ChangeQueue::add_placeholder() {
  if (open_.size() >= kMaxPlaceholders) close(*open_.front());
  auto placeholder = std::make_shared<Placeholder>();
  placeholder->self_ = open_.insert(open_.end(), placeholder);
  enter(placeholder);
  return placeholder;
}

void ChangeQueue::enter(SharedPlaceholder placeholder) {
  Placeholder& entered = *placeholder;
  entries_.push_back({.placeholder = std::move(placeholder)});
  entered.ticket_ = ++last_;
}

void ChangeQueue::expect(Placeholder& placeholder) {
  if (placeholder.is_open()) placeholder.state_ = Placeholder::State::expected;
}

void ChangeQueue::close(Placeholder& placeholder) {
  if (!placeholder.is_open()) return;
  placeholder.state_ = Placeholder::State::closed;
  open_.erase(placeholder.self_);
}

bool ChangeQueue::is_expecting(Ticket limit) const {
  return std::ranges::any_of(open_, [&](const SharedPlaceholder& placeholder) {
    return placeholder->state_ == Placeholder::State::expected && placeholder->ticket_ <= limit;
  });
}

ChangeQueue::Taken ChangeQueue::take(Ticket limit, std::size_t max_bytes, std::size_t max_changes) {
  limit = std::min(limit, last_);  // moved placeholders come behind it
  Taken taken;
  std::size_t bytes = 0;
  const auto take_one = [&](Change& change) {
    bytes += change.record.size();
    taken.changes.push_back(std::move(change));
  };
  while (!entries_.empty() && front_ticket() <= limit && bytes < max_bytes &&
         taken.changes.size() < max_changes) {
    Entry front = std::move(entries_.front());
    entries_.pop_front();
    if (!front.placeholder) {
      take_one(front.change);
      continue;
    }
    // The changes so far of an open one are complete: what follows was added after them.
    Placeholder& placeholder = *front.placeholder;
    std::vector<Change> changes = std::exchange(placeholder.changes_, {});
    std::ranges::for_each(changes, take_one);
    if (!placeholder.is_open()) continue;
    open_.splice(open_.end(), open_, placeholder.self_);
    enter(std::move(front.placeholder));
  }
  taken.last = last_ - entries_.size();
  return taken;
}

}  // namespace mpool::names
