// How much of each pack is in use (engine/refs/README.md, "Packs").
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "engine/format/object_id.h"

namespace mpool {

// The packs of a tree, and the bytes of content that files have in them. A file that has the same
// bytes as another one counts for itself.
//
// Not thread-safe: the owner of the tree guards it.
class PackAccount {
 public:
  struct Usage {
    std::uint64_t live = 0;     // bytes of content
    std::uint64_t extents = 0;  // of files
    std::uint64_t end = 0;      // bytes: content, garbage included, lies before it
  };
  using Packs = std::map<ObjectId, Usage>;

  // Called when content of a pack is not needed any more: must not call back.
  void on_garbage(std::function<void()> call) { on_garbage_ = std::move(call); }

  void add_pack(ObjectId pack) { packs_.try_emplace(pack); }
  // No file uses it.
  void remove_pack(ObjectId pack);
  bool contains(ObjectId pack) const { return packs_.contains(pack); }
  const Packs& packs() const { return packs_; }

  // An extent of that many bytes, at that position of the pack, which must exist, comes or goes.
  void add(ObjectId pack, std::uint64_t position, std::uint64_t bytes);
  void drop(ObjectId pack, std::uint64_t bytes);
  std::uint64_t live() const { return live_; }  // bytes, of all packs

 private:
  Packs packs_;
  std::uint64_t live_ = 0;
  std::function<void()> on_garbage_;
};

}  // namespace mpool
