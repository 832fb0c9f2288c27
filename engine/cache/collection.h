// Collections: any committed mblocks of a pool as one range of bytes (engine/cache/README.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/file/layout.h"
#include "engine/pool/pool.h"
#include "engine/refs/references.h"

namespace mpool {

// Member i begins at byte i * stride(). Behind its written length, up to the next member, there are
// zeros. As long as it lives its members are not deleted.
//
// Threads: all functions may be called at the same time.
class Collection {
 public:
  static constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 30;  // bytes, unless told otherwise

  // A member may be given more than once; their classes may differ. The references must outlive it.
  // EINVAL: no members, or an object of another type; ENOENT: one is not committed, or is being
  // deleted; E2BIG: greater than `max_size` bytes.
  Collection(References& references, std::vector<ObjectId> members,
             std::uint64_t max_size = kMaxSize);

  std::span<const ObjectId> members() const { return hold_.objects(); }
  // Bytes: the smallest power of two that holds the longest member, and a page.
  static std::uint64_t stride_of(std::uint64_t longest);
  std::uint64_t stride() const { return stride_; }
  std::uint64_t size() const { return members().size() * stride_; }
  // Bytes of content of a member, from its first on.
  std::uint64_t length(std::size_t member) const;

  // EINVAL beyond size(), EIO and others from the devices. Blocks on the device.
  void read(std::uint64_t offset, ByteSpan into) const;
  // Where the content lies, as the layout of a file of size() bytes (without an inode). nullopt:
  // a device is missing.
  std::optional<FileLayout> layout() const;

 private:
  ObjectRecord record(std::size_t member) const;

  const Pool& pool_;
  const References::GroupHold hold_;
  std::uint64_t stride_;
};

}  // namespace mpool
