#include "fuse/reactor/write_behind.h"

#include <cstring>
#include <utility>

#include "engine/base/error.h"
#include "engine/device/device.h"

namespace mpoolfs {

struct WriteBehind::Place final : mpool::DeviceTransfer {
  explicit Place(WriteBehind& all) : owner(all) {}

  void done(int error) noexcept override {
    mpool::end_write(write, error);
    write = {};
    owner.free_.push_back(this);
    --owner.pending_;
  }

  WriteBehind& owner;
  mpool::AlignedBuffer buffer;  // made when it is needed first
  mpool::StartedWrite write;
};

WriteBehind::WriteBehind(mpool::IoRing& ring) : ring_(ring) {
  free_.reserve(kPlaces);
  for (std::size_t i = 0; i < kPlaces; ++i) {
    places_.push_back(std::make_unique<Place>(*this));
    free_.push_back(places_.back().get());
  }
}

WriteBehind::~WriteBehind() = default;

bool WriteBehind::take(mpool::StartedWrite& write, std::size_t most) {
  if (pending_ >= most || free_.empty() || write.memory.size() > kMaxSize) return false;
  Place& place = *free_.back();
  // What was gathered is a copy already, and goes with the write.
  if (write.gathered.empty()) {
    if (place.buffer.empty()) place.buffer = mpool::AlignedBuffer(kMaxSize);
    std::memcpy(place.buffer.data(), write.memory.data(), write.memory.size());
    write.memory = place.buffer.span(0, write.memory.size());
  }
  try {
    write.device->start_write(ring_, place, write.offset, write.memory);
  } catch (const mpool::Error& error) {
    mpool::end_write(write, error.code());
    throw;
  }
  place.write = std::move(write);
  free_.pop_back();
  ++pending_;
  return true;
}

void WriteBehind::trim() noexcept {
  for (Place* const place : free_)
    place->buffer = {};
}

}  // namespace mpoolfs
