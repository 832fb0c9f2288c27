// The metadata of a view: an EROFS image whose files are pieces of other block devices.
//
// The kernel mounts the image with these devices (device=, in the same order) and reads the files'
// bytes from them; the image holds no data. Layout: block 0 has the superblock at byte 1024 and the
// table of devices at byte 2048; inodes from block 1 on, each file's followed by an index of its
// chunks; then the one directory. Little endian, blocks of 4 KiB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace mpoolfs {

// `length` bytes (not 0) of a file from byte `file_offset` on lie on a device from byte
// `device_offset` on.
struct ErofsPiece {
  std::uint64_t file_offset = 0;
  std::uint64_t length = 0;
  std::uint32_t device = 0;  // index into the image's devices
  std::uint64_t device_offset = 0;
};

// Refers to memory of the caller.
struct ErofsFile {
  std::string_view name;  // 1..64 characters '0'..'~' of ASCII
  std::uint64_t size = 0;
  // By file_offset, not overlapping. Gaps read as zeros; bytes behind `size` are not used.
  std::span<const ErofsPiece> pieces;
};

// The location of a file in the image.
struct ErofsPlace {
  std::uint64_t nid = 0;        // st_ino of the mounted file; 0 (the root's): omitted
  std::uint8_t chunk_bits = 0;  // chunks of 2^chunk_bits bytes

  bool shown() const { return nid != 0; }
};

struct ErofsImage {
  std::vector<std::byte> bytes;    // whole blocks of 4 KiB
  std::vector<ErofsPlace> places;  // in the order of the given files
};

// The greatest size of chunks, as an exponent of 2 (12..30), such that each chunk of the file lies
// in one run of one device, or in one hole; pieces that are contiguous on the device count as one.
// The kernel maps, and reads without a page cache, a chunk at a time.
// nullopt: the file cannot be shown, that is
// - a run starts or ends within a block of 4 KiB of the file or of the device (except at the end of
//   the file), or exceeds the device (in whole blocks) or its first 16 TiB,
// - a run starts at the very offset of its device where the run before, with or without a hole
//   between, ends on the other device: the kernel would read it from there,
// - it has no pieces,
// - it would take more than 2^20 chunks.
// device_sizes: bytes. Throws Error EINVAL for pieces that break the rules above. Any thread.
std::optional<std::uint8_t> erofs_chunk_bits(const ErofsFile& file,
                                             std::span<const std::uint64_t> device_sizes);

// An image of a root directory (0555) with the given files (0444, all of uid and gid 0, no times),
// without those that erofs_chunk_bits refuses. The same input gives the same bytes.
// files: sorted by name (bytes), each name once. device_sizes: bytes, 1 or 2 devices.
// The bytes behind a file's end in its last block come from the device: a mapping shows them, so
// the writer of the file must have zeroed them.
// Throws Error EINVAL for input that breaks these rules, EFBIG beyond 16 TiB of metadata. No I/O;
// any thread. 100,000 files of one piece take a few milliseconds and 12 MB.
ErofsImage build_erofs_image(std::span<const ErofsFile> files,
                             std::span<const std::uint64_t> device_sizes);

}  // namespace mpoolfs
