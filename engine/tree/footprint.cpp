#include "engine/tree/footprint.h"

#include "engine/tree/records.h"

namespace mpool::names {
namespace {

// Bytes of records without their names, values and extents.
constexpr std::uint64_t kCreateSize = 87;
constexpr std::uint64_t kLinkSize = 34;
constexpr std::uint64_t kXattrSize = 31;
constexpr std::uint64_t kPackSize = 24;
constexpr std::uint64_t kAttributesSize = 61;  // of a directory, after its content

}  // namespace

std::uint64_t footprint_of_name(std::size_t length) {
  return bytes_in_log(length) - bytes_in_log(0);
}

std::uint64_t footprint_of_extents(std::size_t count) {
  return bytes_in_log(count * kExtentSize) - bytes_in_log(0);
}

std::uint64_t footprint_of_link() {
  return bytes_in_log(kLinkSize);
}

std::uint64_t footprint_of_pack() {
  return bytes_in_log(kPackSize);
}

std::uint64_t footprint_of_xattr(std::size_t name_length, std::size_t value_length) {
  return bytes_in_log(kXattrSize + name_length + value_length);
}

std::uint64_t footprint_of(const Inode& inode) {
  std::uint64_t bytes = bytes_in_log(kCreateSize + (inode.target ? inode.target->size() : 0));
  if (inode.extents) bytes += footprint_of_extents(inode.extents->size());
  if (inode.is_directory()) bytes += bytes_in_log(kAttributesSize);
  if (inode.xattrs) {
    for (const auto& [name, value] : *inode.xattrs)
      bytes += footprint_of_xattr(name.size(), value.size());
  }
  return bytes;
}

}  // namespace mpool::names
