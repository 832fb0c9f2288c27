#include "engine/names/change_queue.h"

#include <algorithm>
#include <utility>

namespace mpool::names {

ChangeQueue::Ticket ChangeQueue::add(Change change) {
  entries_.push_back({.change = std::move(change), .place = nullptr});
  return ++last_;
}

ChangeQueue::Ticket ChangeQueue::add(Change change, Place* place) {
  if (place == nullptr || !place->is_open()) return add(std::move(change));
  place->changes_.push_back(std::move(change));
  return place->ticket_;
}

ChangeQueue::SharedPlace ChangeQueue::hold_place() {
  if (open_.size() >= kMaxPlaces) finish(*open_.front());
  auto place = std::make_shared<Place>();
  place->self_ = open_.insert(open_.end(), place);
  enter(place);
  return place;
}

void ChangeQueue::enter(SharedPlace place) {
  Place& entered = *place;
  entries_.push_back({.change = {}, .place = std::move(place)});
  entered.ticket_ = ++last_;
}

void ChangeQueue::expect(Place& place) {
  if (place.is_open()) place.state_ = Place::State::expected;
}

void ChangeQueue::finish(Place& place) {
  if (!place.is_open()) return;
  place.state_ = Place::State::closed;
  open_.erase(place.self_);
}

bool ChangeQueue::is_expecting(Ticket limit) const {
  return std::ranges::any_of(open_, [&](const SharedPlace& place) {
    return place->state_ == Place::State::expected && place->ticket_ <= limit;
  });
}

ChangeQueue::Taken ChangeQueue::take(Ticket limit, std::size_t max_bytes, std::size_t max_changes) {
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
    if (!front.place) {
      take_one(front.change);
    } else if (front.place->is_open()) {
      // Its changes so far are complete: what follows in the queue was added after them.
      for (Change& change : front.place->changes_)
        take_one(change);
      front.place->changes_.clear();
      open_.splice(open_.end(), open_, front.place->self_);
      enter(std::move(front.place));
    } else {
      std::ranges::for_each(front.place->changes_, take_one);
    }
  }
  taken.last = last_ - entries_.size();
  return taken;
}

}  // namespace mpool::names
