// An EROFS image with room for files that are added while it is mounted.
//
// The kernel reads an inode, and the index of its chunks, when the file is looked up first. So the
// directory and its names are there from the beginning, and each inode has a place of its own, a
// slot, which is written before that. Between the slots nothing is used: what other programs read
// at the ends of a block device does not touch a slot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fuse/native/erofs_image.h"

namespace mpoolfs {

inline constexpr unsigned kErofsSlots = 512;
// Bytes: room for an inode and 2^18 chunks, such as those of 1 GiB in blocks.
inline constexpr std::uint64_t kErofsSlotSize = (std::uint64_t{2} << 20) + 4096;
inline constexpr std::uint64_t kErofsSlotsMargin = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kErofsSlotsSize =
    2 * kErofsSlotsMargin + kErofsSlots * kErofsSlotSize;  // of the image

std::string erofs_slot_name(unsigned slot);
constexpr std::uint64_t erofs_slot_offset(unsigned slot) {
  return kErofsSlotsMargin + slot * kErofsSlotSize;
}

// The beginning of the image; the rest, to kErofsSlotsSize, is zero. Otherwise as
// build_erofs_image().
std::vector<std::byte> build_erofs_slots(std::span<const std::uint64_t> device_sizes);

// What a slot has for a file, whose name does not count. Empty: erofs_chunk_bits() refuses it, or
// its index is too large.
std::vector<std::byte> build_erofs_slot(unsigned slot, const ErofsFile& file,
                                        std::span<const std::uint64_t> device_sizes);

}  // namespace mpoolfs
