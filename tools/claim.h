// Claims a device or file for a new pool.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "engine/io/device.h"

namespace mpool::tools {

// An image file made for a pool; removed by the destructor unless keep() was called.
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

// True if two paths name one file or device.
bool same_file(const std::string& a, const std::string& b);
// Throws EEXIST when a block device other than `ours` holds a pool of that name: neither pool could
// then be mounted by name.
void refuse_taken_name(const std::string& name, std::span<const std::string> ours);

// Opens the device for activation (EBUSY when it is in use, forced or not), and checks that it has
// no known signature: EEXIST with the signature unless `force`. Writes nothing. ENOSPC when there
// is not even room for superblocks.
std::unique_ptr<Device> claim_device(const std::string& path, bool force);

// Removes signatures that libblkid recognises, and superblocks of pools that it does not. The
// device must be claimed.
void wipe_device(std::unique_ptr<Device>& device);

}  // namespace mpool::tools
