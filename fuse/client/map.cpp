#include "fuse/client/map.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include <sys/mman.h>

#include "engine/base/error.h"
#include "fuse/client/params.h"

namespace libmpool {

namespace {

constexpr std::size_t kMaxMapSize = std::size_t{1} << kMaxMapShift;

void check(int result, const char* operation) {
  if (result != 0) mpool::raise_system(errno, "map", operation);
}

}  // namespace

MappedRange::MappedRange(std::size_t size)
    // Zeros behind the members.
    : base_(static_cast<std::byte*>(
          ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))),
      size_(size) {
  if (base_ == MAP_FAILED) mpool::raise_system(errno, "map", "mmap");
}

MappedRange::~MappedRange() {
  ::munmap(base_, size_);
}

Map::Map(const PoolUse& pool, std::span<const std::uint64_t> ids, mpc_vma_advice advice)
    : pool_(pool.another()) {
  if (ids.empty()) mpool::raise(EINVAL, "map", "a map has members");
  if (ids.size() > kMaxMapSize / mpool::kPageSize) mpool::raise(E2BIG, "map", "too many members");
  members_ = pool_->pin(ids, advice);
  stride_ = members_->stride();
  if (members() > kMaxMapSize / stride_) {
    mpool::raise(E2BIG, "map", "{} members of {} bytes", members(), stride_);
  }
  range_ = std::make_unique<MappedRange>(size());
  members_->map_all(range_->base());
  check(::madvise(range_->base(), range_->size(), MADV_RANDOM), "madvise");
}

std::uint64_t Map::length(std::size_t member) const {
  return mpool::round_up(members_->length(member), mpool::kPageSize);
}

void Map::advise(std::size_t member, std::uint64_t offset, std::size_t length, int advice) {
  const bool to_the_end = length == std::numeric_limits<std::size_t>::max();
  if (member >= members() || offset > stride_ || (!to_the_end && length > stride_ - offset)) {
    mpool::raise(EINVAL, "map", "no such range");
  }
  // Refuses an advice that is none, and an offset that is not of a page.
  check(::madvise(address(member) + offset, 0, advice), "madvise");
  // Read-ahead of a part of a mapping makes it several ones.
  const bool of_mapping =
      advice == MADV_NORMAL || advice == MADV_RANDOM || advice == MADV_SEQUENTIAL;
  if (to_the_end && of_mapping && members_->is_one_mapping()) {
    std::byte* const begin = address(member) + offset;
    const auto rest = static_cast<std::size_t>(range_->base() + size() - begin);
    return check(::madvise(begin, rest, advice), "madvise");
  }
  const std::size_t last = to_the_end ? members() : member + 1;
  for (; member < last; ++member, offset = 0) {
    const std::uint64_t written = this->length(member);
    if (offset >= written) continue;
    const std::uint64_t part = std::min<std::uint64_t>(length, written - offset);
    check(::madvise(address(member) + offset, part, advice), "madvise");
  }
}

void Map::purge() {
  advise(0, 0, std::numeric_limits<std::size_t>::max(), MADV_DONTNEED);
  members_->drop_cached();
}

std::size_t Map::resident_pages() const {
  if (const auto known = members_->resident_pages()) return *known;
  std::array<unsigned char, 4096> pages;
  constexpr std::uint64_t kStep = pages.size() * mpool::kPageSize;
  std::size_t resident = 0;
  for (std::size_t i = 0; i < members(); ++i) {
    const std::uint64_t written = length(i);
    for (std::uint64_t at = 0; at < written; at += kStep) {
      const std::uint64_t length = std::min(kStep, written - at);
      check(::mincore(address(i) + at, length, pages.data()), "mincore");
      resident += static_cast<std::size_t>(std::count_if(
          pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(length / mpool::kPageSize),
          [](unsigned char page) { return (page & 1) != 0; }));
    }
  }
  return resident;
}

}  // namespace libmpool
