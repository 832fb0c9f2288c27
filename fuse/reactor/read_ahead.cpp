#include "fuse/reactor/read_ahead.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "engine/base/aligned_buffer.h"
#include "engine/device/device.h"
#include "fuse/reactor/planned_read.h"

namespace mpoolfs {

struct ReadAhead::Place final : PlannedRead {
  Place(ReadAhead& all, std::size_t which) : owner(all), number(which) {}

  mpool::ByteSpan buffer() { return owner.memory_.span(number * kMost, kMost); }

  bool holds(mpool::InodeNumber of, std::uint64_t at, std::size_t bytes) const {
    return inode == of && offset == at && size == bytes;
  }

  void done(int error) noexcept override {
    --owner.pending_;
    // Who asks later for what failed meets the error himself.
    if (reader != nullptr || error != 0) inode = 0;
    if (reader != nullptr) {
      std::exchange(reader, nullptr)->fetched(buffer().first(length), error);
    }
  }

  ReadAhead& owner;
  const std::size_t number;      // below kPlaces
  mpool::InodeNumber inode = 0;  // 0: holds nothing
  std::uint64_t offset = 0;      // bytes
  std::size_t size = 0;          // bytes asked for
  std::size_t length = 0;        // bytes that there are
  Reader* reader = nullptr;      // waits for it
};

ReadAhead::ReadAhead(mpool::IoRing& ring) : ring_(ring) {
  for (std::size_t i = 0; i < kPlaces; ++i)
    places_.push_back(std::make_unique<Place>(*this, i));
}

ReadAhead::~ReadAhead() = default;

ReadAhead::Fetched ReadAhead::fetch(mpool::OpenFile& file, std::uint64_t offset, std::size_t size,
                                    bool alone, Reader& reader) {
  lent_ = nullptr;
  if (size < kLeast || size > kMost || !mpool::is_aligned(size, mpool::kPageSize)) return {};
  Stream& stream = follow(file.inode(), offset, size);
  stream.alone = alone ? stream.alone + 1 : 0;
  Fetched answer;
  Place* const place = find(file.inode(), offset, size);
  if (place != nullptr && !place->under_way()) {
    answer = {.state = Fetched::State::here, .data = place->buffer().first(place->length)};
    place->inode = 0;
    lent_ = place;
  } else if (place != nullptr && place->reader == nullptr) {
    place->reader = &reader;
    answer.state = Fetched::State::coming;
  }
  // Now: the device is to work while the caller copies.
  if (stream.alone >= kAlone) fetch_next(file, offset + size, size);
  return answer;
}

// That which the read goes on, or begins.
ReadAhead::Stream& ReadAhead::follow(mpool::InodeNumber inode, std::uint64_t offset,
                                     std::size_t size) {
  Stream* found = nullptr;
  Stream* oldest = streams_.data();
  for (Stream& stream : streams_) {
    if (stream.inode == inode && stream.next == offset) found = &stream;
    if (stream.used < oldest->used) oldest = &stream;
  }
  Stream& stream = found != nullptr ? *found : *oldest;
  if (found == nullptr) stream = {.inode = inode, .next = 0, .used = 0, .alone = 0};
  stream.next = offset + size;
  stream.used = ++clock_;
  return stream;
}

ReadAhead::Place* ReadAhead::find(mpool::InodeNumber inode, std::uint64_t offset,
                                  std::size_t size) {
  const auto found = std::ranges::find_if(
      places_, [&](const auto& place) { return place->holds(inode, offset, size); });
  return found == places_.end() ? nullptr : found->get();
}

// One that holds nothing, or nothing that a reader who is followed will ask for.
ReadAhead::Place* ReadAhead::free_place() {
  const auto wanted = [&](const Place& place) {
    return std::ranges::any_of(streams_, [&](const Stream& stream) {
      return stream.inode == place.inode && place.offset >= stream.next &&
             place.offset - stream.next < kAhead * place.size;
    });
  };
  const auto found = std::ranges::find_if(places_, [&](const auto& place) {
    return !place->under_way() && place.get() != lent_ && (place->inode == 0 || !wanted(*place));
  });
  return found == places_.end() ? nullptr : found->get();
}

void ReadAhead::fetch_next(mpool::OpenFile& file, std::uint64_t offset, std::size_t size) {
  bool started = false;
  for (std::size_t i = 0; i < kAhead; ++i, offset += size) {
    if (find(file.inode(), offset, size) != nullptr) continue;
    Place* const place = free_place();
    if (place == nullptr || !start(*place, file, offset, size)) break;
    started = true;
  }
  if (started) ring_.submit();
}

// What goes wrong here is for who asks for it, if anybody does: that is another request than the
// one that is being answered.
bool ReadAhead::start(Place& place, mpool::OpenFile& file, std::uint64_t offset,
                      std::size_t size) noexcept {
  place.inode = 0;
  try {
    if (memory_.empty()) memory_ = mpool::HugeMemory(kPlaces * kMost);
    mpool::ReadPlan plan;
    if (!file.plan_read(offset, size, place.buffer(), plan) || plan.count == 0) return false;
    // A copy more is all that would come of it.
    if (plan.transfers[0].device->properties().in_memory) return false;
    place.start(ring_, plan, place.buffer());
    place.length = plan.length;
  } catch (const std::exception&) {
    return false;
  }
  place.inode = file.inode();
  place.offset = offset;
  place.size = size;
  ++pending_;
  return true;
}

void ReadAhead::trim() noexcept {
  lent_ = nullptr;
  streams_ = {};
  for (const auto& place : places_) {
    if (!place->under_way()) place->inode = 0;
  }
  if (pending_ == 0) memory_ = {};
}

}  // namespace mpoolfs
