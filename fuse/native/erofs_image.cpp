#include "fuse/native/erofs_image.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "fuse/native/erofs_slots.h"

namespace mpoolfs {

namespace {

using mpool::store_le;

constexpr unsigned kBlockBits = 12;
constexpr std::uint64_t kBlockSize = 1u << kBlockBits;
// Larger chunks would save nothing of importance, and all kernels and tools can shift by this.
constexpr unsigned kMaxChunkBits = 30;
constexpr std::uint64_t kMaxChunks = 1u << 20;
constexpr std::uint64_t kMaxFileSize = kMaxChunks << kMaxChunkBits;
constexpr std::size_t kMaxNameLength = 64;
constexpr std::size_t kMaxDevices = 2;
// The block number of a hole. So no block of data has it, nor any beyond.
constexpr std::uint32_t kHole = std::numeric_limits<std::uint32_t>::max();

constexpr std::size_t kSuperblockOffset = 1024;
constexpr std::uint32_t kMagic = 0xE0F5E1E2;
constexpr std::uint32_t kChunkedFiles = 0x4;  // features that a reader must know
constexpr std::uint32_t kDeviceTable = 0x8;
constexpr std::uint16_t kDeviceSlot = 16;  // of the first device
constexpr std::size_t kDeviceSlotSize = 128;

// An inode number is its position, in units of 32 bytes from here on.
constexpr std::uint64_t kInodeBlock = 1;
constexpr std::uint64_t kInodeUnit = 32;
constexpr std::uint64_t kInodeSize = 64;
constexpr std::uint64_t kRootNid = 0;
// i_format: bit 0 means 64 bytes, the bits above select the data layout.
constexpr std::uint16_t kContiguousInode = 1 | 0 << 1;
constexpr std::uint16_t kChunkInode = 1 | 4 << 1;
constexpr std::uint16_t kChunkIndexes = 0x20;  // 8 bytes a chunk, not 4
constexpr std::uint64_t kIndexSize = 8;

constexpr std::size_t kDirentSize = 12;
constexpr std::uint8_t kRegularEntry = 1;
constexpr std::uint8_t kDirectoryEntry = 2;

[[noreturn]] void refuse(const ErofsFile& file, const char* why) {
  mpool::raise(EINVAL, fmt::format("native view, file '{}'", file.name), "{}", why);
}

// Bytes [begin, end) of a file, all in a hole or contiguous on a device.
struct Run {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool hole = false;
  std::uint32_t device = 0;
  std::uint64_t device_offset = 0;
};

// A file as the fewest runs, without gaps from 0 to its size.
class Runs {
 public:
  explicit Runs(const ErofsFile& file) : file_(file) {}

  // False: no more.
  bool next(Run& run) {
    if (position_ >= file_.size) return false;
    const ErofsPiece* piece = checked_piece();
    if (piece == nullptr || piece->file_offset > position_) {
      const std::uint64_t end = piece != nullptr ? piece->file_offset : file_.size;
      run = {position_, std::min(end, file_.size), true, 0, 0};
    } else {
      run = {position_, position_, false, piece->device, piece->device_offset};
      while (piece != nullptr && continues(run, *piece)) {
        run.end += piece->length;
        ++next_;
        piece = checked_piece();
      }
      run.end = std::min(run.end, file_.size);
    }
    position_ = run.end;
    return true;
  }

 private:
  const ErofsPiece* checked_piece() const {
    if (next_ == file_.pieces.size()) return nullptr;
    const ErofsPiece& piece = file_.pieces[next_];
    if (piece.length == 0) refuse(file_, "a piece is empty");
    constexpr auto kMaxOffset = std::numeric_limits<std::uint64_t>::max();
    if (piece.length > kMaxOffset - piece.file_offset ||
        piece.length > kMaxOffset - piece.device_offset) {
      refuse(file_, "a piece ends beyond 2^64 bytes");
    }
    if (next_ > 0) {
      const ErofsPiece& last = file_.pieces[next_ - 1];
      if (piece.file_offset < last.file_offset + last.length) {
        refuse(file_, "pieces overlap or are not in order");
      }
    }
    return &piece;
  }

  static bool continues(const Run& run, const ErofsPiece& piece) {
    return piece.file_offset == run.end && piece.device == run.device &&
           piece.device_offset == run.device_offset + (run.end - run.begin);
  }

  const ErofsFile& file_;
  std::uint64_t position_ = 0;
  std::size_t next_ = 0;  // piece
};

// True if block numbers can address the run. device_size: bytes.
bool addressable(const Run& run, std::uint64_t device_size) {
  const std::uint64_t limit =
      std::min(mpool::round_down(device_size, kBlockSize), kHole * kBlockSize);
  const std::uint64_t length = mpool::round_up(run.end - run.begin, kBlockSize);
  return mpool::is_aligned(run.device_offset, kBlockSize) && run.device_offset <= limit &&
         length <= limit - run.device_offset;
}

// Linux (6.18 at least) continues a read-ahead request where the next run of the file, with or
// without a hole between, begins at the sector where the last ended, without checking that it is on
// the same device: it reads all of the data from the first.
bool misread(const Run& before, const Run& run) {
  return run.device != before.device &&
         run.device_offset == before.device_offset + (before.end - before.begin);
}

// The characters of a name sort after '.', so that "." and ".." are the first of the directory.
bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameLength &&
         std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '~'; });
}

void write_inode(mpool::ByteSpan inode, std::uint64_t nid, std::uint16_t format, std::uint16_t mode,
                 std::uint64_t size, std::uint32_t links) {
  store_le(inode, 0, format);
  store_le(inode, 4, mode);
  store_le(inode, 8, size);
  store_le(inode, 20, static_cast<std::uint32_t>(nid));  // what a 32-bit stat says
  store_le(inode, 44, links);
}

std::uint64_t index_size(const ErofsFile& file, unsigned chunk_bits) {
  return mpool::ceil_div(file.size, std::uint64_t{1} << chunk_bits) * kIndexSize;
}

// The inode of a file, and behind it the index of its chunks.
void write_chunk_file(mpool::ByteSpan bytes, std::uint64_t nid, unsigned chunk_bits,
                      const ErofsFile& file) {
  write_inode(bytes, nid, kChunkInode, S_IFREG | 0444, file.size, 1);
  store_le(bytes, 16, static_cast<std::uint16_t>(kChunkIndexes | (chunk_bits - kBlockBits)));
  std::size_t at = kInodeSize;
  const std::uint64_t chunk_size = std::uint64_t{1} << chunk_bits;
  Runs runs(file);
  for (Run run; runs.next(run);) {
    for (std::uint64_t chunk = run.begin; chunk < run.end; chunk += chunk_size, at += kIndexSize) {
      // The first 16 bits would extend the block number; that takes a newer kernel.
      const std::uint64_t block = (run.device_offset + (chunk - run.begin)) / kBlockSize;
      store_le(bytes, at + 2, static_cast<std::uint16_t>(run.hole ? 0 : run.device + 1));
      store_le(bytes, at + 4, run.hole ? kHole : static_cast<std::uint32_t>(block));
    }
  }
}

std::uint64_t slot_nid(unsigned slot) {
  return (erofs_slot_offset(slot) - kInodeBlock * kBlockSize) / kInodeUnit;
}

void check_devices(std::span<const std::uint64_t> device_sizes) {
  if (device_sizes.empty() || device_sizes.size() > kMaxDevices) {
    mpool::raise(EINVAL, "native view", "{} data devices; it takes 1 or 2", device_sizes.size());
  }
}

class ImageWriter {
 public:
  ImageWriter(std::span<const ErofsFile> files, std::span<const std::uint64_t> device_sizes)
      : files_(files), device_sizes_(device_sizes) {}

  ErofsImage write() {
    place_inodes();
    place_directory();
    image_.bytes.resize(block_count_ * kBlockSize);
    write_superblock();
    write_root();
    for (std::size_t i = 0; i < files_.size(); ++i) {
      if (image_.places[i].shown()) write_file(i);
    }
    write_directory();
    return std::move(image_);
  }

  // The files are slots.
  std::vector<std::byte> write_slots() {
    for (unsigned slot = 0; slot < files_.size(); ++slot)
      image_.places.push_back({.nid = slot_nid(slot)});
    shown_ = files_.size();
    directory_block_ = kInodeBlock + 1;
    place_directory();
    image_.bytes.resize(block_count_ * kBlockSize);
    write_root();
    write_directory();
    block_count_ = kErofsSlotsSize / kBlockSize;
    write_superblock();
    return std::move(image_.bytes);
  }

 private:
  // Entries first..end - 1 (see entry_*) fill a block of the directory; `count` of them are shown.
  struct DirectoryBlock {
    std::size_t first = 0;
    std::size_t end = 0;
    std::size_t count = 0;
  };

  void place_inodes();
  void place_directory();
  void write_superblock();
  void write_root();
  void write_file(std::size_t index);
  void write_directory();

  static std::size_t inode_offset(std::uint64_t nid) {
    return kInodeBlock * kBlockSize + nid * kInodeUnit;
  }

  // The directory's entries: ".", "..", the files, of which some are not shown.
  std::size_t entry_count() const { return files_.size() + 2; }
  std::string_view entry_name(std::size_t entry) const {
    return entry < 2 ? std::string_view("..").substr(1 - entry) : files_[entry - 2].name;
  }
  bool entry_shown(std::size_t entry) const {
    return entry < 2 || image_.places[entry - 2].shown();
  }
  std::uint64_t entry_nid(std::size_t entry) const {
    return entry < 2 ? kRootNid : image_.places[entry - 2].nid;
  }
  // The block of the directory that starts with an entry.
  DirectoryBlock directory_block(std::size_t first) const;
  void write_directory_block(const DirectoryBlock& entries, std::size_t at);

  std::span<const ErofsFile> files_;
  std::span<const std::uint64_t> device_sizes_;
  ErofsImage image_;
  std::size_t shown_ = 0;
  std::uint64_t directory_block_ = 0;
  std::uint64_t block_count_ = 0;  // in all
};

void ImageWriter::place_inodes() {
  image_.places.resize(files_.size());
  std::uint64_t end = kInodeSize;  // of the inodes placed so far, the root's being first; bytes
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const ErofsFile& file = files_[i];
    if (!is_name(file.name)) refuse(file, "the name is not 1 to 64 characters from '0' to '~'");
    if (i > 0 && !(files_[i - 1].name < file.name)) refuse(file, "names are not in order");
    const auto chunk_bits = erofs_chunk_bits(file, device_sizes_);
    if (!chunk_bits) continue;
    end = mpool::round_up(end, kInodeUnit);
    // No inode crosses a block boundary; the index behind it may.
    if (kBlockSize - end % kBlockSize < kInodeSize) end = mpool::round_up(end, kBlockSize);
    image_.places[i] = {end / kInodeUnit, *chunk_bits};
    end += kInodeSize + index_size(file, *chunk_bits);
    ++shown_;
  }
  directory_block_ = kInodeBlock + mpool::ceil_div(end, kBlockSize);
}

void ImageWriter::place_directory() {
  block_count_ = directory_block_;
  for (std::size_t next = 0; next < entry_count(); ++block_count_) {
    next = directory_block(next).end;
  }
  if (block_count_ >= kHole) {
    mpool::raise(EFBIG, "native view", "{} files need more metadata than an image can hold",
                 files_.size());
  }
}

void ImageWriter::write_superblock() {
  const mpool::ByteSpan block = mpool::ByteSpan(image_.bytes).first(kBlockSize);
  const mpool::ByteSpan super = block.subspan(kSuperblockOffset);
  store_le<std::uint32_t>(super, 0, kMagic);
  store_le<std::uint8_t>(super, 12, kBlockBits);
  store_le<std::uint16_t>(super, 14, kRootNid);
  store_le<std::uint64_t>(super, 16, shown_ + 1);  // inodes
  store_le<std::uint32_t>(super, 36, static_cast<std::uint32_t>(block_count_));
  store_le<std::uint32_t>(super, 40, kInodeBlock);
  store_le<std::uint32_t>(super, 80, kChunkedFiles | kDeviceTable);
  store_le<std::uint16_t>(super, 86, static_cast<std::uint16_t>(device_sizes_.size()));
  store_le<std::uint16_t>(super, 88, kDeviceSlot);
  for (std::size_t i = 0; i < device_sizes_.size(); ++i) {
    const std::uint64_t blocks = std::min<std::uint64_t>(device_sizes_[i] / kBlockSize, kHole);
    store_le(block, (kDeviceSlot + i) * kDeviceSlotSize + 64, static_cast<std::uint32_t>(blocks));
  }
}

void ImageWriter::write_root() {
  const mpool::ByteSpan root(image_.bytes.data() + inode_offset(kRootNid), kInodeSize);
  write_inode(root, kRootNid, kContiguousInode, S_IFDIR | 0555,
              (block_count_ - directory_block_) * kBlockSize, 2);
  store_le(root, 16, static_cast<std::uint32_t>(directory_block_));
}

void ImageWriter::write_file(std::size_t index) {
  const ErofsPlace& place = image_.places[index];
  write_chunk_file(mpool::ByteSpan(image_.bytes).subspan(inode_offset(place.nid)), place.nid,
                   place.chunk_bits, files_[index]);
}

ImageWriter::DirectoryBlock ImageWriter::directory_block(std::size_t first) const {
  DirectoryBlock block{first, first, 0};
  for (std::size_t used = 0; block.end < entry_count(); ++block.end) {
    if (!entry_shown(block.end)) continue;
    used += kDirentSize + entry_name(block.end).size();
    if (used > kBlockSize) break;
    ++block.count;
  }
  return block;
}

// First all entries of fixed size, then all names. The last name ends at a zero or the block's end.
void ImageWriter::write_directory_block(const DirectoryBlock& entries, std::size_t at) {
  const mpool::ByteSpan block(image_.bytes.data() + at, kBlockSize);
  std::size_t entry_at = 0;
  std::size_t name_at = entries.count * kDirentSize;
  for (std::size_t entry = entries.first; entry < entries.end; ++entry) {
    if (!entry_shown(entry)) continue;
    const std::string_view name = entry_name(entry);
    store_le(block, entry_at, entry_nid(entry));
    store_le(block, entry_at + 8, static_cast<std::uint16_t>(name_at));
    store_le(block, entry_at + 10, entry < 2 ? kDirectoryEntry : kRegularEntry);
    std::memcpy(block.data() + name_at, name.data(), name.size());
    entry_at += kDirentSize;
    name_at += name.size();
  }
}

void ImageWriter::write_directory() {
  std::size_t at = directory_block_ * kBlockSize;
  for (std::size_t next = 0; next < entry_count(); at += kBlockSize) {
    const DirectoryBlock block = directory_block(next);
    write_directory_block(block, at);
    next = block.end;
  }
}

}  // namespace

std::optional<std::uint8_t> erofs_chunk_bits(const ErofsFile& file,
                                             std::span<const std::uint64_t> device_sizes) {
  if (file.size == 0 || file.size > kMaxFileSize) return std::nullopt;
  // One chunk suffices as long as nothing divides the file.
  auto bits = static_cast<unsigned>(std::bit_width(file.size - 1));
  bits = std::clamp(bits, kBlockBits, kMaxChunkBits);
  std::optional<Run> before;  // the last with data
  Runs runs(file);
  for (Run run; runs.next(run);) {
    if (run.begin != 0) bits = std::min<unsigned>(bits, std::countr_zero(run.begin));
    if (bits < kBlockBits) return std::nullopt;
    if (run.hole) continue;
    if (run.device >= device_sizes.size()) refuse(file, "a piece is on a device that is not given");
    if (!addressable(run, device_sizes[run.device])) return std::nullopt;
    if (before && misread(*before, run)) return std::nullopt;
    before = run;
  }
  if (!before || mpool::ceil_div(file.size, std::uint64_t{1} << bits) > kMaxChunks) {
    return std::nullopt;
  }
  return static_cast<std::uint8_t>(bits);
}

ErofsImage build_erofs_image(std::span<const ErofsFile> files,
                             std::span<const std::uint64_t> device_sizes) {
  check_devices(device_sizes);
  return ImageWriter(files, device_sizes).write();
}

std::string erofs_slot_name(unsigned slot) {
  return fmt::format("{:03}", slot);
}

std::vector<std::byte> build_erofs_slots(std::span<const std::uint64_t> device_sizes) {
  check_devices(device_sizes);
  std::vector<std::string> names;
  for (unsigned slot = 0; slot < kErofsSlots; ++slot)
    names.push_back(erofs_slot_name(slot));
  std::vector<ErofsFile> files;
  for (const std::string& name : names)
    files.push_back({.name = name, .size = 0, .pieces = {}});
  return ImageWriter(files, device_sizes).write_slots();
}

std::vector<std::byte> build_erofs_slot(unsigned slot, const ErofsFile& file,
                                        std::span<const std::uint64_t> device_sizes) {
  const auto chunk_bits = erofs_chunk_bits(file, device_sizes);
  if (!chunk_bits) return {};
  const std::uint64_t size = kInodeSize + index_size(file, *chunk_bits);
  if (size > kErofsSlotSize) return {};
  std::vector<std::byte> bytes(size);
  write_chunk_file(bytes, slot_nid(slot), *chunk_bits, file);
  return bytes;
}

}  // namespace mpoolfs
