// Reading the content of write-once files (engine/file/README.md, "Open files").
#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/file/file_table.h"

namespace mpool::names {

std::unique_ptr<const ReadMap> FileTable::make_read_map(const Inode& inode) {
  auto map = std::make_unique<ReadMap>();
  map->size = inode.size;
  if (!inode.extents) return map;
  map->pieces.reserve(inode.extents->size());
  for (const Extent& extent : *inode.extents) {
    const auto mblock = committer_.find_object(extent.object);
    if (mblock && is_packed(extent)) {
      map->pieces.push_back(make_packed_piece(extent, *mblock));
      continue;
    }
    if (!mblock) {
      refuse_inode(EIO, inode.number,
                   fmt::format("{} {} of its content does not exist",
                               is_packed(extent) ? "pack" : "mblock", extent.object.to_string()));
    }
    map->pieces.push_back(make_piece(extent, *mblock));
  }
  return map;
}

ReadMap::Piece FileTable::make_piece(const Extent& extent, const ObjectRecord& mblock) const {
  ReadMap::Piece piece{.file_offset = extent.file_offset,
                       .length = extent.length,
                       .position = extent.position,
                       .mblock = mblock};
  if (!pool_.has_class(mblock.media_class)) return piece;
  // As in read_mblock(): lengths come from the media.
  const std::uint64_t readable = std::min(mblock.written_length, pool_.capacity_of(mblock));
  if (piece.position > readable || piece.length > readable - piece.position) return piece;
  piece.device = &pool_.device(mblock.media_class);
  piece.device_offset = pool_.offset_of(mblock) + piece.position;
  return piece;
}

// Called with the tree's lock: the pack is not released before the piece holds it.
ReadMap::Piece FileTable::make_packed_piece(const Extent& extent, const ObjectRecord& pack) const {
  if (!pool_.has_class(pack.media_class)) {
    raise(EIO, fmt::format("pack {} of pool {}", pack.id.to_string(), pool_.name()),
          "the {} device is missing", to_string(pack.media_class));
  }
  std::shared_ptr<Pack> open = packs_.find(pack.id);
  if (open && !open->holds(extent.position)) open = nullptr;
  return {.file_offset = extent.file_offset,
          .length = extent.length,
          .position = extent.position,
          .mblock = pack,
          .packed = std::make_shared<PackedContent>(
              tree_.references(), pack.id, pool_.mlog_location(pack),
              PackedRecord{extent.position, extent.length}, std::move(open))};
}

std::optional<FileLayout> FileTable::layout(InodeNumber number) {
  const TreeReadLock lock(tree_.mutex());
  const Inode* inode = tree_.find(number);
  if (inode == nullptr || !committer_.is_on_device(*inode)) return std::nullopt;
  std::unique_ptr<const ReadMap> map;
  try {
    map = make_read_map(*inode);
  } catch (const Error&) {
    return std::nullopt;  // reading the file reports the fault
  }
  FileLayout layout{.inode = number, .size = map->size, .pieces = {}};
  layout.pieces.reserve(map->pieces.size());
  for (const ReadMap::Piece& piece : map->pieces) {
    if (piece.device == nullptr) return std::nullopt;
    layout.pieces.push_back({.file_offset = piece.file_offset,
                             .length = piece.length,
                             .media_class = piece.mblock.media_class,
                             .device_offset = piece.device_offset});
  }
  return layout;
}

const ReadMap* FileTable::need_read_map(InodeNumber number, ActiveInode& state) {
  for (;;) {
    if (const ReadMap* map = state.read_map()) return map;
    std::vector<std::shared_ptr<DeferredWrite>> deferred;
    {
      const TreeLock lock(tree_.mutex());
      const Inode& inode = tree_.get(number);
      if (!is_committed(inode)) return nullptr;
      if (const ReadMap* map = state.read_map()) return map;
      // Read together with the writer: the file may have been committed a moment ago.
      deferred = committer_.deferred_writes_of(inode);
      if (deferred.empty()) return &state.set_read_map(make_read_map(inode));
    }
    for (const auto& write : deferred)
      write->write_out();
  }
}

std::size_t FileTable::read_content(InodeNumber number, ActiveInode& state, std::uint64_t offset,
                                    ByteSpan into) {
  for (;;) {
    if (const ReadMap* map = state.read_map()) return read_mapped(*map, offset, into);
    {
      const std::shared_lock content(state.content_lock);
      if (const auto writer = state.current_writer()) return writer->read(offset, into);
    }
    if (const ReadMap* map = need_read_map(number, state)) return read_mapped(*map, offset, into);
    TreeLock lock(tree_.mutex());
    const Inode& inode = tree_.get(number);
    // Opened for writing, or committed, a moment ago.
    if (is_being_written(inode) || inode.kind == FileKind::write_once) continue;
    if (inode.kind == FileKind::empty) {
      return read_mapped({.size = inode.size, .pieces = {}}, offset, into);
    }
    // It was not committed when it was opened, was left empty, and has become a log.
    lock.unlock();
    return logs_.read(number, state, offset, into);
  }
}

std::size_t FileTable::read_mapped(const ReadMap& map, std::uint64_t offset, ByteSpan into) const {
  if (offset >= map.size) return 0;
  into = into.first(std::min<std::uint64_t>(into.size(), map.size - offset));
  const std::uint64_t end = offset + into.size();
  std::uint64_t at = offset;
  for (auto piece = map.first_at(offset); piece != map.pieces.end() && piece->file_offset < end;
       ++piece) {
    const std::uint64_t begin = std::max(at, piece->file_offset);
    const std::uint64_t stop = std::min(end, piece->file_offset + piece->length);
    if (begin >= stop) continue;
    std::memset(into.data() + (at - offset), 0, begin - at);
    const ByteSpan part = into.subspan(begin - offset, stop - begin);
    if (piece->packed) {
      piece->packed->read(begin - piece->file_offset, part);
    } else {
      read_mblock(pool_, piece->mblock, piece->position + (begin - piece->file_offset), part);
    }
    at = stop;
  }
  std::memset(into.data() + (at - offset), 0, end - at);
  return into.size();
}

namespace {

// The first hole at or after `at`, or the end of the extents.
std::uint64_t end_of_data(const std::vector<Extent>& extents, std::uint64_t at) {
  for (const Extent& extent : extents) {
    if (extent.file_offset > at) return at;
    at = std::max(at, extent.file_offset + extent.length);
  }
  return at;
}

std::optional<std::uint64_t> begin_of_data(const std::vector<Extent>& extents, std::uint64_t at) {
  const auto next = std::ranges::find_if(
      extents, [&](const Extent& extent) { return extent.file_offset + extent.length > at; });
  if (next == extents.end()) return std::nullopt;
  return std::max(at, next->file_offset);
}

}  // namespace

std::optional<std::uint64_t> FileTable::seek(InodeNumber number, ActiveInode& state,
                                             std::uint64_t offset, SeekFor what) {
  committer_.wait_for_release(number);
  std::uint64_t size = 0;
  bool is_log = false;  // also a file that was left empty, and has become one since it was opened
  {
    const TreeReadLock lock(tree_.mutex());
    const Inode& inode = tree_.get(number);
    is_log = inode.kind == FileKind::log;
    size = inodes_.describe(inode).size;
    if (!is_being_written(inode) && !is_log) {
      if (offset >= size) return std::nullopt;
      const Extents extents = inode.extents;
      if (what == SeekFor::hole) return extents ? end_of_data(*extents, offset) : offset;
      return extents ? begin_of_data(*extents, offset) : std::nullopt;
    }
  }
  if (is_log) size = logs_.size(number, state);
  if (offset >= size) return std::nullopt;
  return what == SeekFor::data ? offset : size;
}

bool FileTable::plan_content(InodeNumber number, ActiveInode& state, std::uint64_t offset,
                             std::size_t length, ByteSpan memory, ReadPlan& plan) {
  const ReadMap* map = state.read_map();
  if (map == nullptr) {
    // A file that is being written or was left empty has no map; read() distinguishes them.
    {
      const TreeReadLock lock(tree_.mutex());
      if (!committer_.is_on_device(tree_.get(number))) return false;
    }
    map = need_read_map(number, state);
    if (map == nullptr) return false;
  }
  plan.count = 0;
  plan.length = 0;
  if (offset >= map->size) return true;
  plan.length = std::min<std::uint64_t>(length, map->size - offset);
  const std::uint64_t end = offset + plan.length;
  std::size_t covered = 0;  // bytes of the memory, up to the end of the previous piece
  for (auto piece = map->first_at(offset); piece != map->pieces.end() && piece->file_offset < end;
       ++piece) {
    const std::uint64_t begin = std::max(offset, piece->file_offset);
    const std::uint64_t stop = std::min(end, piece->file_offset + piece->length);
    if (begin >= stop) continue;
    const std::size_t at = begin - offset;
    const std::uint64_t from = piece->device_offset + (begin - piece->file_offset);
    // No page may be shared by two transfers, or by a transfer and a gap.
    if (piece->device == nullptr || plan.count == ReadPlan::kMaxTransfers || at < covered ||
        !is_aligned(covered, kPageSize) || !is_aligned(at, kPageSize) ||
        !is_aligned(from, kPageSize)) {
      return false;
    }
    std::memset(memory.data() + covered, 0, at - covered);
    plan.transfers[plan.count++] = {piece->device, from, at, round_up(stop - begin, kPageSize)};
    covered = stop - offset;
  }
  if (covered == plan.length) return true;
  std::memset(memory.data() + covered, 0, plan.length - covered);
  return is_aligned(covered, kPageSize);
}

}  // namespace mpool::names
