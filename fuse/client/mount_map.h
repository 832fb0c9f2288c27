// The mblocks of a map through a mount: a map of the daemon (mpoolfs(8), "MAPS").
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "fuse/client/backend.h"
#include "fuse/client/mount_session.h"

namespace libmpool {

// One file, whose name is unique and goes with the session, and one mapping. As long as the name is
// there, or the mapping, the mblocks are not deleted.
class MountMap : public PinnedMblocks {
 public:
  // The session must outlive it.
  MountMap(MountSession& session, std::string name, std::span<const std::uint64_t> ids,
           mpc_vma_advice advice);
  // Call it when the memory is unmapped: then the mblocks can be deleted at once.
  ~MountMap() override;
  MountMap(const MountMap&) = delete;
  MountMap& operator=(const MountMap&) = delete;

  std::size_t count() const override { return count_; }
  std::uint64_t length(std::size_t index) const override;
  std::uint64_t stride() const override { return stride_; }
  void map_all(std::byte* base) override;
  bool is_one_mapping() const override { return true; }
  void drop_cached() override;
  std::optional<std::size_t> resident_pages() const override;

 private:
  // A call that names the map.
  template <typename Structure>
  void call(unsigned long command, Structure& structure) const;
  void fetch_lengths() const;

  MountSession& session_;
  const std::string name_;
  const std::size_t count_;
  std::uint64_t stride_ = 0;
  mutable std::once_flag fetched_;
  mutable std::vector<std::uint64_t> lengths_;  // from the first call of length() on
};

}  // namespace libmpool
