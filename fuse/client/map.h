// Maps of committed mblocks (fuse/client/README.md, "Maps").
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "fuse/client/pool_table.h"

namespace libmpool {

// Reserved memory.
class MappedRange {
 public:
  explicit MappedRange(std::size_t size);
  ~MappedRange();
  MappedRange(const MappedRange&) = delete;
  MappedRange& operator=(const MappedRange&) = delete;
  std::byte* base() const { return base_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* base_;
  const std::size_t size_;
};

// Member i, read-only, at base + i * stride. A use of its pool; pins its members.
//
// Threads: all functions may be called at the same time.
class Map {
 public:
  // EINVAL no members, or an id of another type; ENOENT a member is not committed; E2BIG.
  Map(const PoolUse& pool, std::span<const std::uint64_t> ids, mpc_vma_advice advice);
  Map(const Map&) = delete;
  Map& operator=(const Map&) = delete;

  std::size_t members() const { return members_->count(); }
  std::size_t size() const { return members_->count() * stride_; }
  std::byte* address(std::size_t member) const { return range_->base() + member * stride_; }
  // madvise(2) on what is written of a range of a member; length SIZE_MAX: to the end of the map.
  void advise(std::size_t member, std::uint64_t offset, std::size_t length, int advice);
  // Drops the members' pages, as far as no other map has them.
  void purge();
  std::size_t resident_pages() const;

 private:
  // Bytes of whole pages.
  std::uint64_t length(std::size_t member) const;

  // The memory goes first, then the pins, then the pool.
  PoolUse pool_;
  std::unique_ptr<PinnedMblocks> members_;
  std::size_t stride_ = 0;
  std::unique_ptr<MappedRange> range_;
};

}  // namespace libmpool
