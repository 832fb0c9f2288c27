#include "engine/file/write_behind.h"

#include <cstring>
#include <utility>

#include "engine/base/error.h"
#include "engine/io/device.h"

namespace mpool {

void begin_transfer(IoRing& ring, DeviceTransfer& transfer, StartedWrite& write) {
  try {
    write.device->start_write(ring, transfer, write.offset, write.memory);
  } catch (const Error& error) {
    end_write(write, error.code());
    write = {};
    throw;
  }
}

struct WriteBehind::Slot final : DeviceTransfer {
  Slot(WriteBehind& all, std::size_t which) : owner(all), number(which) {}

  void done(int error) noexcept override {
    end_write(write, error);
    write = {};
    owner.free_.push_back(this);
    --owner.pending_;
  }

  WriteBehind& owner;
  const std::size_t number;  // below the number of slots
  StartedWrite write;
};

WriteBehind::WriteBehind(IoRing& ring, WriteMemory& budget, const Tunables::WriteBehind& tunables)
    : tunables_(tunables), ring_(ring), memory_(budget) {
  free_.reserve(tunables_.slots);
  for (std::size_t i = 0; i < tunables_.slots; ++i) {
    slots_.push_back(std::make_unique<Slot>(*this, i));
    free_.push_back(slots_.back().get());
  }
}

WriteBehind::~WriteBehind() = default;

bool WriteBehind::take(StartedWrite& write, std::size_t most) {
  if (pending_ >= most || free_.empty() || write.memory.size() > tunables_.max_size) return false;
  Slot& slot = *free_.back();
  // Gathered data is a copy already, and belongs to the write.
  if (write.gathered.empty()) {
    if (!memory_.allocate(tunables_.slots * tunables_.max_size)) return false;
    const ByteSpan copy = memory_.span(slot.number * tunables_.max_size, write.memory.size());
    std::memcpy(copy.data(), write.memory.data(), copy.size());
    write.memory = copy;
  }
  begin_transfer(ring_, slot, write);
  slot.write = std::move(write);
  free_.pop_back();
  ++pending_;
  return true;
}

void WriteBehind::abandon(int error) noexcept {
  for (const auto& slot : slots_) {
    if (slot->write.device != nullptr) slot->done(error);
  }
}

void WriteBehind::trim() noexcept {
  if (pending_ == 0) memory_.free();
}

}  // namespace mpool
