#include "engine/cache/collection.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "engine/object/mblock.h"

namespace mpool {

namespace {

constexpr const char* kMapSubject = "map";

std::vector<ObjectId> checked_members(std::vector<ObjectId> members) {
  if (members.empty()) raise(EINVAL, kMapSubject, "it has no members");
  for (const ObjectId id : members) {
    if (!id.is_mblock()) {
      raise(EINVAL, "object " + id.to_string(), "a member of a map must be an mblock");
    }
  }
  return members;
}

}  // namespace

Collection::Collection(References& references, std::vector<ObjectId> members,
                       std::uint64_t max_size)
    : pool_(references.pool()),
      hold_(references, ObjectHolder::map, checked_members(std::move(members))) {
  std::uint64_t longest = 0;
  const std::size_t count = hold_.objects().size();
  for (std::size_t i = 0; i < count; ++i)
    longest = std::max(longest, length(i));
  stride_ = stride_of(longest);
  if (count > max_size / stride_) {
    raise(E2BIG, kMapSubject, "{} members of {} bytes each are more than {} bytes, the largest map",
          count, stride_, max_size);
  }
}

std::uint64_t Collection::stride_of(std::uint64_t longest) {
  return std::bit_ceil(std::max<std::uint64_t>(longest, kPageSize));
}

// A held object stays.
ObjectRecord Collection::record(std::size_t member) const {
  return pool_.find(members()[member]).value();
}

// The written length comes from the media.
std::uint64_t Collection::length(std::size_t member) const {
  const ObjectRecord object = record(member);
  if (!pool_.has_class(object.media_class)) return object.written_length;
  return std::min(object.written_length, pool_.capacity_of(object));
}

void Collection::read(std::uint64_t offset, ByteSpan into) const {
  if (offset > size() || into.size() > size() - offset) {
    raise(EINVAL, kMapSubject, "{} bytes at {} are not inside its {} bytes", into.size(), offset,
          size());
  }
  while (!into.empty()) {
    const std::size_t member = offset / stride_;
    const std::uint64_t start = offset % stride_;
    const ByteSpan part = into.first(std::min<std::uint64_t>(into.size(), stride_ - start));
    const std::uint64_t written = length(member);
    const std::size_t content =
        start < written ? std::min<std::uint64_t>(part.size(), written - start) : 0;
    if (content > 0) read_mblock(pool_, record(member), start, part.first(content));
    std::ranges::fill(part.subspan(content), std::byte{0});
    offset += part.size();
    into = into.subspan(part.size());
  }
}

std::optional<FileLayout> Collection::layout() const {
  FileLayout layout{.inode = 0, .size = size(), .pieces = {}};
  for (std::size_t i = 0; i < members().size(); ++i) {
    const ObjectRecord object = record(i);
    if (!pool_.has_class(object.media_class)) return std::nullopt;
    if (length(i) == 0) continue;
    layout.pieces.push_back({.file_offset = i * stride_,
                             .length = length(i),
                             .media_class = object.media_class,
                             .device_offset = pool_.offset_of(object)});
  }
  return layout;
}

}  // namespace mpool
