#include "fuse/runtime/read_ahead.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "engine/base/aligned_buffer.h"
#include "engine/io/device.h"
#include "fuse/runtime/planned_read.h"

namespace mpoolfs {

// The transfers belong to the ring that prefetches; the store's mutex guards everything else.
struct ReadAhead::Place final : PlannedRead {
  enum class State : std::uint8_t { empty, coming, full, lent };

  Place(Store& all, std::size_t which) : store(all), number(which) {}

  mpool::ByteSpan buffer() { return store.memory_.span(number * kMaxSize, kMaxSize); }
  mpool::ConstByteSpan data() { return buffer().first(error == 0 ? length : 0); }

  bool holds(mpool::InodeNumber of, std::uint64_t at, std::size_t bytes) const {
    return (state == State::coming || state == State::full) && inode == of && offset == at &&
           size == bytes;
  }

  void done(int code) noexcept override {
    ReadAhead& ring = *std::exchange(fetcher, nullptr);
    --ring.pending_;
    Reader* waiting = nullptr;
    bool here = false;
    {
      const std::lock_guard lock(store.mutex_);
      error = code;
      waiting = reader;
      here = reader_ring == &ring;
      // A reader that requests failed data later meets the error itself.
      state = waiting != nullptr ? State::lent : code == 0 ? State::full : State::empty;
    }
    if (waiting == nullptr) return;
    if (!here) return waiting->wake();
    deliver();
  }

  // Called on the thread of the reader's ring.
  void deliver() noexcept {
    reader->fetched(data(), error);
    give_back();
  }

  void give_back() noexcept {
    const std::lock_guard lock(store.mutex_);
    reader = nullptr;
    state = State::empty;
  }

  Store& store;
  const std::size_t number;  // in Store::places_
  State state = State::empty;
  mpool::InodeNumber inode = 0;
  std::uint64_t offset = 0;          // bytes
  std::size_t size = 0;              // bytes requested
  std::size_t length = 0;            // bytes present
  int error = 0;                     // 0 or an errno, once it is done
  ReadAhead* fetcher = nullptr;      // coming: the ring that prefetches
  Reader* reader = nullptr;          // waits for the data
  ReadAhead* reader_ring = nullptr;  // the ring of the reader
};

void ReadAhead::GiveBack::operator()(Place* place) const noexcept {
  place->give_back();
}

ReadAhead::Fetched ReadAhead::fetch(mpool::OpenFile& file, std::uint64_t offset, std::size_t size,
                                    bool alone, Reader& reader) {
  if (size < kMinSize || size > kMaxSize || !mpool::is_aligned(size, mpool::kPageSize)) return {};
  Fetched answer;
  bool started = false;
  {
    const std::lock_guard lock(store_.mutex_);
    Store::Stream& stream = store_.follow(file.inode(), offset, size);
    stream.alone = alone ? stream.alone + 1 : 0;
    Place* const place = store_.find(file.inode(), offset, size);
    if (place != nullptr && place->state == Place::State::full) {
      place->state = Place::State::lent;
      answer.state = Fetched::State::here;
      answer.data = place->data();
      answer.loan.reset(place);
    } else if (place != nullptr && place->reader == nullptr) {
      place->reader = &reader;
      place->reader_ring = this;
      answer.state = Fetched::State::coming;
    }
    // Now, so that the device works while the kernel copies.
    if (stream.alone >= kAlone) started = store_.fetch_next(*this, file, offset + size, size);
  }
  if (started) submit();
  return answer;
}

// A failure of the ring is left to its thread, which meets it again: the caller has its answer, or
// will be called with it.
void ReadAhead::submit() noexcept {
  try {
    ring_.submit();
  } catch (const std::exception&) {
  }
}

void ReadAhead::collect(Reader& reader) noexcept {
  Place* place = nullptr;
  {
    const std::lock_guard lock(store_.mutex_);
    const auto found = std::ranges::find_if(store_.places_, [&](const auto& candidate) {
      return candidate->reader == &reader && candidate->state == Place::State::lent;
    });
    place = found->get();
  }
  place->deliver();
}

void ReadAhead::trim() noexcept {
  const std::lock_guard lock(store_.mutex_);
  std::ranges::fill(store_.streams_, Store::Stream());
  bool used = false;
  for (const auto& place : store_.places_) {
    if (place->state == Place::State::full) place->state = Place::State::empty;
    used |= place->state != Place::State::empty;
  }
  if (!used) store_.memory_ = {};
}

ReadAhead::Store::Store(std::size_t rings) : streams_(rings * kStreams) {
  for (std::size_t i = 0; i < rings * kPlaces; ++i)
    places_.push_back(std::make_unique<Place>(*this, i));
}

ReadAhead::Store::~Store() = default;

// The stream that the read continues, or begins.
ReadAhead::Store::Stream& ReadAhead::Store::follow(mpool::InodeNumber inode, std::uint64_t offset,
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

ReadAhead::Place* ReadAhead::Store::find(mpool::InodeNumber inode, std::uint64_t offset,
                                         std::size_t size) {
  const auto found = std::ranges::find_if(
      places_, [&](const auto& place) { return place->holds(inode, offset, size); });
  return found == places_.end() ? nullptr : found->get();
}

// A place without data, or without data that a followed reader will request.
ReadAhead::Place* ReadAhead::Store::free_place() {
  const auto wanted = [&](const Place& place) {
    return std::ranges::any_of(streams_, [&](const Stream& stream) {
      return stream.inode == place.inode && place.offset >= stream.next &&
             place.offset - stream.next < kAhead * place.size;
    });
  };
  const auto found = std::ranges::find_if(places_, [&](const auto& place) {
    return place->state == Place::State::empty ||
           (place->state == Place::State::full && !wanted(*place));
  });
  return found == places_.end() ? nullptr : found->get();
}

bool ReadAhead::Store::fetch_next(ReadAhead& fetcher, mpool::OpenFile& file, std::uint64_t offset,
                                  std::size_t size) {
  bool started = false;
  for (std::size_t i = 0; i < kAhead; ++i, offset += size) {
    if (find(file.inode(), offset, size) != nullptr) continue;
    Place* const place = free_place();
    if (place == nullptr || !start(fetcher, *place, file, offset, size)) break;
    started = true;
  }
  return started;
}

// Errors here are not returned: the present request does not depend on this data. A later request
// for it meets the error itself.
bool ReadAhead::Store::start(ReadAhead& fetcher, Place& place, mpool::OpenFile& file,
                             std::uint64_t offset, std::size_t size) noexcept {
  place.state = Place::State::empty;
  try {
    if (memory_.empty()) memory_ = mpool::HugeMemory(places_.size() * kMaxSize);
    mpool::ReadPlan plan;
    if (!file.plan_read(offset, size, place.buffer(), plan) || plan.count == 0) return false;
    // A prefetch would only add a copy.
    if (plan.transfers[0].device->properties().in_memory) return false;
    place.start(fetcher.ring_, plan, place.buffer());
    place.length = plan.length;
  } catch (const std::exception&) {
    return false;
  }
  place.state = Place::State::coming;
  place.inode = file.inode();
  place.offset = offset;
  place.size = size;
  place.fetcher = &fetcher;
  ++fetcher.pending_;
  return true;
}

}  // namespace mpoolfs
