// The block devices through which views read the devices of a pool.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/pool/pool.h"
#include "fuse/view/loop_device.h"

namespace mpoolfs {

// Threads: attach() on one, before the others use what it changes; all else on any.
class ViewDevices {
 public:
  explicit ViewDevices(const mpool::Pool& pool);

  // Whether another process has views of the pool: readers that outlived an earlier daemon. Where
  // not, the devices are claimed on return. Not to be asked while this process has views, which
  // look the same.
  bool has_other_readers() const;

  // Claims the pool's block devices (Device::claim), or gives the claims up: a view cannot be made
  // of a device that is claimed, and claims it itself.
  void claim() const;
  void release_claims() const;
  // No device of the pool can be claimed.
  bool only_files() const;

  // Makes loop devices, with direct I/O, of a pool's files: what the daemon writes past the page
  // cache would not be seen by reads from it. Errors as LoopDevice.
  void attach();

  // After attach(), in the order of index_of(): what a View takes, and sizes in bytes.
  std::span<const std::string> paths() const { return paths_; }
  std::span<const std::uint64_t> sizes() const { return sizes_; }
  std::uint32_t index_of(mpool::MediaClass media_class) const;

 private:
  struct Member {
    mpool::MediaClass media_class;
    mpool::Device* device;  // the pool's
    std::string path;
    bool is_file;
  };
  std::vector<Member> members_;
  std::vector<LoopDevice> loops_;
  std::vector<std::string> paths_;
  std::vector<std::uint64_t> sizes_;
};

// Whether a block device that is held exclusively is held by views, which do not change it. Needs
// CAP_SYS_ADMIN, false without.
bool is_held_by_views(const std::string& path);

}  // namespace mpoolfs
