// Opening a log: one pass over its blocks that finds the end, checks the chunks and chooses the
// next flush-set id (on-media-format, "Reading (open)").
#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/mlog/chunks.h"
#include "engine/mlog/mlog_impl.h"

namespace mpool {
namespace {

// How far past the end flush-set ids of failed flushes are looked for: the most that the writer
// leaves written but not durable (Mlog::Impl::write_out).
constexpr std::uint64_t kStaleWindow = Mlog::kFlushSetSize;
constexpr std::uint64_t kReadSize = 1u << 20;

// What the pass has found so far.
class Scan {
 public:
  Scan(const MlogPlace& place, CompactionSemantics semantics)
      : place_(place), semantics_(semantics) {}

  // Takes block `index`; false when it does not belong to the log.
  bool take(std::uint32_t index, ConstByteSpan block) {
    const auto header = own_header(block);
    if (!header || header->previous_flush_set != last_set) return false;
    last_set = header->flush_set;
    greatest_set = std::max(greatest_set, last_set);
    blocks = index + 1;
    std::size_t offset = LogBlockHeader::kSize;
    while (const auto chunk = chunk_at(place_.name, index, block, offset)) {
      take_chunk(index, *chunk);
      offset = chunk->end;
    }
    return true;
  }

  // A block past the end: counts only for the flush-set ids.
  void take_stale(ConstByteSpan block) {
    if (const auto header = own_header(block)) {
      greatest_set = std::max(greatest_set, header->flush_set);
    }
  }

  void finish() const {
    if (has_start && !has_end) {
      raise(EMSGSIZE, place_.name, "compaction did not finish: no end marker in {} blocks", blocks);
    }
  }

  std::uint32_t blocks = 0;
  std::uint32_t last_set = 0;
  std::uint32_t greatest_set = 0;
  bool has_start = false;
  bool has_end = false;
  std::uint64_t records = 0;
  std::uint64_t payload = 0;

 private:
  std::optional<LogBlockHeader> own_header(ConstByteSpan block) const {
    auto header = LogBlockHeader::load(block);
    if (header && (header->magic != place_.uuid || header->generation != place_.generation)) {
      header.reset();
    }
    return header;
  }

  void take_chunk(std::uint32_t index, const Chunk& chunk) {
    using Event = ChunkOrder::Event;
    const Event event = order_.accept(place_.name, index, chunk);
    const LogSite site{place_.name, index, chunk.offset};
    const bool marker = event == Event::compaction_start || event == Event::compaction_end;
    if (semantics_ == CompactionSemantics::off) {
      if (marker) raise_corrupt(site, "compaction marker in a log without compaction");
    } else {
      check_marker(site, event);
    }
    if (event == Event::record || event == Event::record_ends) {
      ++records;
      payload += chunk.header.record_length;
    }
  }

  void check_marker(const LogSite& site, ChunkOrder::Event event) {
    if (event == ChunkOrder::Event::compaction_start) {
      if (has_start) raise_corrupt(site, "second compaction start marker");
      if (site.block != 0 || site.offset != LogBlockHeader::kSize) {
        raise_corrupt(site, "compaction start marker not at the start of the log");
      }
      has_start = true;
    } else if (!has_start) {
      raise_corrupt(site, "log does not begin with a compaction start marker");
    } else if (event == ChunkOrder::Event::compaction_end) {
      if (has_end) raise_corrupt(site, "second compaction end marker");
      has_end = true;
    }
  }

  const MlogPlace& place_;
  CompactionSemantics semantics_;
  ChunkOrder order_;
};

}  // namespace

// The log ends at byte `log_end`; `last_page` is what it has in the page where the next block goes.
// The next flush writes that page again, these blocks unchanged.
void Mlog::Impl::start_tail(std::uint64_t log_end, ConstByteSpan last_page) {
  tail_.start = round_down(log_end, kPageSize);
  if (last_page.empty()) return;
  tail_.buffer = AlignedBuffer::zeroed(kPageSize);
  std::ranges::copy(last_page, tail_.buffer.data());
}

void Mlog::Impl::load() {
  Scan scan(place_, semantics_);
  AlignedBuffer chunk(std::min(place_.capacity, kReadSize));
  bool at_end = false;
  std::uint64_t limit = place_.capacity;
  for (std::uint64_t from = 0; from < limit;) {
    const auto length =
        static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), limit - from));
    place_.device->read(place_.offset + from, chunk.span(0, length));
    std::size_t at = 0;
    const auto block = [&] { return ConstByteSpan(chunk.span(at, block_size_)); };
    const auto index = [&] { return static_cast<std::uint32_t>((from + at) / block_size_); };
    if (!at_end) {
      while (at < length && scan.take(index(), block()))
        at += block_size_;
      if (at < length) {
        at_end = true;
        limit = round_up(std::min(place_.capacity, from + at + kStaleWindow), kPageSize);
        const std::size_t page_at = round_down(at, kPageSize);
        start_tail(from + at, chunk.span(page_at, at - page_at));
      }
    }
    for (; at < length; at += block_size_)
      scan.take_stale(block());
    from += length;
  }
  scan.finish();
  if (!at_end) start_tail(place_.capacity, {});
  end_ = first_unwritten_ = written_blocks_ = scan.blocks;
  previous_set_ = scan.last_set;
  next_set_ = scan.greatest_set == UINT32_MAX ? UINT32_MAX : scan.greatest_set + 1;
  has_start_ = scan.has_start;
  has_end_ = scan.has_end;
  records_ = scan.records;
  payload_ = scan.payload;
}

}  // namespace mpool
