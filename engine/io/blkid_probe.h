// Owns a probe of libblkid.
#pragma once

#include <memory>
#include <type_traits>

#include <blkid/blkid.h>

namespace mpool {

struct FreeBlkidProbe {
  void operator()(blkid_probe probe) const { blkid_free_probe(probe); }
};
using BlkidProbe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, FreeBlkidProbe>;

}  // namespace mpool
