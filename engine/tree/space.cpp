// The room shown by statfs(2) and the status: of the content's class and of the root MDC.
#include <algorithm>

#include "engine/tree/recorded_tree.h"

namespace mpool::names {
namespace {

// Bytes of a small file in the root MDC.
constexpr std::uint64_t kMinFileFootprint = 160;

}  // namespace

SpaceStats RecordedTree::space(InodeNumber number) {
  MediaClass media_class;
  std::uint64_t files;
  {
    const TreeReadLock lock(mutex_);
    const Inode* inode = find(number);
    media_class = inode != nullptr ? inode->media_class : MediaClass::capacity;
    files = inodes().size();
  }
  const Pool::ClassInfo info = pool_.class_info(media_class);
  const bool packs = options_.pack_max.value_or(pool_.tunables().packing.max_size) > 0;
  const std::uint64_t files_in_a_zone = packs ? info.params.zone_size() / kPageSize : 1;
  const std::uint64_t free = std::uint64_t{info.space.free_usable} + info.space.pending;
  return {.block_size = info.params.zone_size(),
          .blocks = info.space.total,
          .free = free + info.space.free_spare,
          .available = free,
          .files = files,
          .available_files = std::min(free * files_in_a_zone, files_with_room(files))};
}

// The number of further files of the present average size that users can create, limited by the
// root MDC.
std::uint64_t RecordedTree::files_with_room(std::uint64_t files) const {
  if (!journal_ || files == 0) return 0;
  const std::uint64_t room = journal_->free_for(RoomFor::names);
  // Too little for any file.
  if (room < size_in_log(kSmallRecord)) return 0;
  return room / std::max(footprint() / files, kMinFileFootprint);
}

MetadataStats RecordedTree::metadata() const {
  return {.capacity = root_log_->capacity(),
          .used = root_log_->used(),
          .live = footprint(),
          .possible_capacity = root_log_->possible_capacity()};
}

}  // namespace mpool::names
