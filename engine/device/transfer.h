// A device transfer under way on a ring.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/device/io_ring.h"

namespace mpool {

class Device;

// What the caller of Device::start_read or start_write gives for the time of the transfer. It
// belongs to the caller, must stay where it is, as must the memory, until done() is called, and can
// be used again from then on, in done() already.
//
// Threads: the ring's.
class DeviceTransfer : public RingOperation {
 public:
  // All bytes are transferred (0), or the errno of the failure. Called once, on the ring's thread,
  // from IoRing::run_completions(). May start further transfers and destroy this one.
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
  std::byte* memory_ = nullptr;  // of what is left; only read from by a write
  std::uint64_t offset_ = 0;     // on the device, of what is left
  std::size_t left_ = 0;         // bytes not transferred yet
  std::size_t length_ = 0;       // bytes of the whole
  bool write_ = false;
};

}  // namespace mpool
