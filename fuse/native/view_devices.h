// The block devices through which views read the devices of a pool.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/file/layout.h"
#include "engine/pool/pool.h"
#include "fuse/native/erofs_image.h"
#include "fuse/native/loop_device.h"

namespace mpoolfs {

// Threads: attach() on one, before other threads use the members it changes; all else on any.
class ViewDevices {
 public:
  explicit ViewDevices(const mpool::Pool& pool);

  // True if another process has views of the pool: readers that outlived an earlier daemon. If
  // false, the devices are claimed on return. Must not be called while this process has views,
  // which look the same.
  bool has_other_readers() const;

  // Claims the pool's block devices (Device::claim), or releases the claims: a view cannot be made
  // of a claimed device, and claims it itself.
  void claim() const;
  void release_claims() const;
  // No device of the pool can be claimed.
  bool only_files() const;

  // Makes loop devices, with direct I/O, of a pool's files: reads through the page cache would not
  // see data that the daemon writes past it. Errors as LoopDevice.
  void attach();

  // After attach(): the devices for a View, and sizes in bytes.
  std::span<const std::string> paths() const { return paths_; }
  std::span<const std::uint64_t> sizes() const { return sizes_; }
  // The content of a file on these devices.
  std::vector<ErofsPiece> pieces_of(const mpool::FileLayout& layout) const;

 private:
  struct Member {
    mpool::MediaClass media_class;
    mpool::Device* device;  // the pool's
    std::string path;
    bool is_file;
  };
  mpool::Logger logger_;
  std::vector<Member> members_;
  std::vector<LoopDevice> loops_;
  std::vector<std::string> paths_;
  std::vector<std::uint64_t> sizes_;
};

// True if a block device is held exclusively by views only, which do not change it. Needs
// CAP_SYS_ADMIN, false without.
bool is_held_by_views(const std::string& path, const mpool::Logger& logger);

}  // namespace mpoolfs
