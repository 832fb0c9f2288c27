#include "engine/refs/pack_account.h"

#include <algorithm>
#include <cassert>

namespace mpool {

void PackAccount::remove_pack(ObjectId pack) {
  assert(!packs_.contains(pack) || packs_.at(pack).extents == 0);
  packs_.erase(pack);
}

void PackAccount::add(ObjectId pack, std::uint64_t position, std::uint64_t bytes) {
  Usage& usage = packs_.at(pack);
  usage.live += bytes;
  ++usage.extents;
  usage.end = std::max(usage.end, position + bytes);
  live_ += bytes;
}

void PackAccount::drop(ObjectId pack, std::uint64_t bytes) {
  Usage& usage = packs_.at(pack);
  assert(usage.extents > 0);
  usage.live -= bytes;
  --usage.extents;
  live_ -= bytes;
  if (on_garbage_) on_garbage_();
}

}  // namespace mpool
