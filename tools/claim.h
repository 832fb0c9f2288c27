// Claims a device or file for a new pool.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/pool/claim.h"

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

// claim_device() of the engine, with advice for the user of a command in its messages.
std::unique_ptr<Device> claim_device(const std::string& path, bool force);

}  // namespace mpool::tools
