// A device transfer under way on a ring.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/clock.h"
#include "engine/io/io_ring.h"

namespace mpool {

class Device;

// The caller's state of one Device::start_read or start_write. The caller owns it. It and the
// memory must not move until done() is called; it can be reused from then on, even in done().
//
// Threads: the ring's.
class DeviceTransfer : public RingOperation {
 public:
  // Called once, on the ring's thread, from IoRing::run_completions(). error: 0 when all bytes are
  // transferred, or the errno of the failure. May start further transfers and destroy this one.
  virtual void done(int error) noexcept = 0;

  void completed(std::int32_t result) noexcept final;

 protected:
  DeviceTransfer() = default;
  DeviceTransfer(const DeviceTransfer&) = default;
  DeviceTransfer& operator=(const DeviceTransfer&) = default;
  virtual ~DeviceTransfer() = default;

 private:
  friend class Device;
  friend class FileDevice;
  friend class OverlayDevice;

  Device* device_ = nullptr;
  IoRing* ring_ = nullptr;
  std::byte* memory_ = nullptr;  // of the rest; a write only reads it
  std::uint64_t offset_ = 0;     // on the device, of what is left
  std::size_t left_ = 0;         // bytes not transferred yet
  std::size_t length_ = 0;       // bytes of the whole
  bool write_ = false;
  Clock::Time begun_{};
};

}  // namespace mpool
