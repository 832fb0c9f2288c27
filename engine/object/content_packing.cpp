// Small files: their content stays in memory until a seal, and goes into a pack.
#include <cassert>
#include <utility>

#include "engine/object/content_writer_impl.h"

namespace mpool {

// Takes room for content up to `end`; false: content goes to mblocks from here on. The lock may be
// released.
bool ContentWriter::Impl::stays_in_pack(Lock& lock, std::uint64_t end) {
  while (can_pack(end)) {
    if (try_reserve(end)) return true;
    const Unlocked unlocked(lock);
    pack_->prepare(end);
  }
  leave_pack(lock);
  return false;
}

// From here on content goes to mblocks: those for what is in memory are allocated now, so that a
// full pool fails a write, not the commit. Counted as a user, or exclusive.
void ContentWriter::Impl::leave_pack(Lock& lock) {
  if (!std::exchange(packing_, false)) return;
  const RangeSet held = fresh_;
  std::vector<Range> ranges;
  held.for_each_range(0, kMaxContentLength, [&](std::uint64_t begin, std::uint64_t end) {
    ranges.push_back({begin, end});
  });
  for (const Range& range : ranges)
    open_windows(lock, range.begin, range.end - range.begin);
}

// Bytes that are only held have their place already: a full pool fails the write, not the commit.
void ContentWriter::Impl::find_place(Lock& lock, std::uint64_t offset, std::uint64_t length) {
  if (!stays_in_pack(lock, offset + length)) open_windows(lock, offset, length);
}

// The content from its first byte on, gaps as zeros.
std::vector<std::byte> ContentWriter::Impl::packed_content(std::uint64_t first) const {
  std::vector<std::byte> content(fresh_.end() - first);
  fresh_.for_each_range(first, kMaxContentLength, [&](std::uint64_t begin, std::uint64_t end) {
    held_.copy(begin, ByteSpan(content).subspan(begin - first, end - begin));
  });
  return content;
}

// Non-blocking; nullopt: it would block, and nothing is done.
std::optional<ContentWriter::Sealed> ContentWriter::Impl::try_seal_packed(bool last) {
  if (fresh_.empty()) return end_packed({}, 0, last);
  const std::uint64_t begin = fresh_.begin();
  std::vector<std::byte> content = packed_content(begin);
  const auto packed = pack_->try_append(content);
  if (!packed) return std::nullopt;
  return end_packed(*packed, begin, last);
}

// Access is exclusive.
ContentWriter::Sealed ContentWriter::Impl::seal_packed(Lock& lock, bool last) {
  if (auto sealed = try_seal_packed(last)) return *std::move(sealed);
  const std::uint64_t begin = fresh_.begin();
  std::vector<std::byte> content = packed_content(begin);
  PackRoom::Packed packed;
  {
    const Unlocked unlocked(lock);
    packed = pack_->append(std::move(content));
  }
  return end_packed(packed, begin, last);
}

ContentWriter::Sealed ContentWriter::Impl::end_packed(const PackRoom::Packed& packed,
                                                      std::uint64_t begin, bool last) {
  Sealed sealed;
  if (packed.pack) {
    const PackedRecord record{packed.position, fresh_.end() - begin};
    sealed.extents.push_back({begin, packed.pack->id(), record.position, record.length});
    sealed.packed = packed;
    sealed_parts_[begin] = {
        .length = record.length, .deferred = nullptr, .pack = packed.pack, .record = record};
    sealed_.unite(begin, fresh_.end());
    fresh_.clear();
    packing_ = false;
  }
  held_.clear();
  soft_.clear();
  account();
  ended_ = ended_ || last;
  sealed.length = length();
  return sealed;
}

}  // namespace mpool
