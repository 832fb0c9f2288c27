#include "fuse/runtime/write_behind.h"

#include <cstring>
#include <utility>

#include "engine/base/error.h"
#include "engine/io/device.h"

namespace mpoolfs {

struct WriteBehind::Place final : mpool::DeviceTransfer {
  Place(WriteBehind& all, std::size_t which) : owner(all), number(which) {}

  void done(int error) noexcept override {
    mpool::end_write(write, error);
    write = {};
    owner.free_.push_back(this);
    --owner.pending_;
  }

  WriteBehind& owner;
  const std::size_t number;  // below kPlaces
  mpool::StartedWrite write;
};

WriteBehind::WriteBehind(mpool::IoRing& ring) : ring_(ring) {
  free_.reserve(kPlaces);
  for (std::size_t i = 0; i < kPlaces; ++i) {
    places_.push_back(std::make_unique<Place>(*this, i));
    free_.push_back(places_.back().get());
  }
}

WriteBehind::~WriteBehind() = default;

bool WriteBehind::take(mpool::StartedWrite& write, std::size_t most) {
  if (pending_ >= most || free_.empty() || write.memory.size() > kMaxSize) return false;
  Place& place = *free_.back();
  // Gathered data is a copy already, and belongs to the write.
  if (write.gathered.empty()) {
    if (!have_memory()) return false;
    const mpool::ByteSpan copy = memory_.span(place.number * kMaxSize, write.memory.size());
    std::memcpy(copy.data(), write.memory.data(), copy.size());
    write.memory = copy;
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

bool WriteBehind::have_memory() noexcept {
  try {
    if (memory_.empty()) memory_ = mpool::HugeMemory(kPlaces * kMaxSize);
    return true;
  } catch (const mpool::Error&) {
    return false;
  }
}

void WriteBehind::abandon(int error) noexcept {
  for (const auto& place : places_) {
    if (place->write.device != nullptr) place->done(error);
  }
}

void WriteBehind::trim() noexcept {
  if (pending_ == 0) memory_ = {};
}

}  // namespace mpoolfs
