// The calls of `.mpool/ctl` that concern maps (fuse/client/include/mpool/ioctl.h).
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <vector>

#include <mpool/ioctl.h>

#include "engine/base/bytes.h"
#include "fuse/control/maps.h"

namespace mpoolfs {

class ProgramObjects;

// Of one session. Threads: all functions may be called at the same time. mutex_ is a leaf.
class MapCalls {
 public:
  // Both must outlive it.
  MapCalls(ProgramObjects& objects, Maps& maps) : objects_(objects), maps_(maps) {}
  ~MapCalls();  // removes the names of its maps

  // nullopt: another call. `buffer`: of the session.
  std::optional<std::vector<std::byte>> ioctl(unsigned command, mpool::ConstByteSpan in,
                                              mpool::ConstByteSpan buffer);

 private:
  void create(mpool_ioc_map_create& create, mpool::ConstByteSpan buffer);
  void call(mpool_ioc_map& map);
  void call(mpool_ioc_map_members& members);
  void call(const mpool_ioc_map_range& range);
  void call(mpool_ioc_map_residency& residency);
  void add_member(const mpool_ioc_member& member, std::vector<mpool::ObjectId>& members);

  ProgramObjects& objects_;
  Maps& maps_;
  std::mutex mutex_;
  std::vector<Maps::Node> own_;  // of MPOOL_IOC_MAP_OF_SESSION
};

}  // namespace mpoolfs
