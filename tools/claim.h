// Taking a device or file for a new pool.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "engine/device/device.h"

namespace mpool::tools {

// An image file made for a pool; removed again at the end of its life unless keep() was called.
class NewImage {
 public:
  // Errors: those of create_image_file; EINVAL under /dev, where a mistyped device name would leave
  // a file in memory.
  NewImage(std::string path, std::uint64_t size);
  ~NewImage();
  NewImage(const NewImage&) = delete;
  NewImage& operator=(const NewImage&) = delete;

  void keep() { kept_ = true; }

 private:
  std::string path_;
  bool kept_ = false;
};

// Whether two paths name one file or device.
bool same_file(const std::string& a, const std::string& b);
// Throws EEXIST when a block device other than `ours` holds a pool of that name: neither of the two
// could be mounted by name.
void refuse_taken_name(const std::string& name, std::span<const std::string> ours);

// Opens the device for activation (EBUSY when anything uses it, forced or not), and makes sure that
// it holds nothing anybody knows: EEXIST, naming what was found, unless `force`. Nothing is
// written. ENOSPC when there is not even room for superblocks.
std::unique_ptr<Device> claim_device(const std::string& path, bool force);

// Removes what libblkid recognises, and superblocks of pools that it does not. The device is
// claimed.
void wipe_device(std::unique_ptr<Device>& device);

}  // namespace mpool::tools
