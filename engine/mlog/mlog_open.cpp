// Opening a log: one pass over its blocks that finds the end, checks the chunks, tells damage from
// what a crash leaves, and chooses the next flush-set id (engine/mlog/README.md, "Flush sets";
// engine/format/README.md, "Reading (open)").
#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/mlog/chunks.h"
#include "engine/mlog/mlog_impl.h"

namespace mpool {
namespace {

// Distance past the end, and past each block of the log found there, in which further blocks are
// searched: the maximum size of a flush.
constexpr std::uint64_t kStaleWindow = Mlog::kFlushSetSize;
constexpr std::uint64_t kReadSize = 256u << 10;  // larger: more fresh memory, no less time

// Bytes of the header of a log block.
constexpr std::size_t kMagicEnd = 2 + Uuid::kSize;
constexpr std::size_t kFlushSetAt = 28;

// The content of the blocks up to some point.
struct Content {
  std::uint32_t blocks = 0;
  std::uint32_t last_set = 0;
  bool has_start = false;
  bool has_end = false;
  bool records_after_end = false;
  std::uint64_t records = 0;
  std::uint64_t payload = 0;
  ChunkOrder order;
};

// The state of the pass.
class Scan {
 public:
  Scan(const MlogLocation& location, CompactionSemantics semantics, OnDamage on_damage)
      : location_(location), semantics_(semantics), on_damage_(on_damage) {}

  // Takes block `index`. False when the log ends before it: the block does not belong to the log,
  // or its chunks are invalid (which is then the damage).
  bool take(std::uint32_t index, ConstByteSpan block) {
    auto header = own_header(block);
    if (!header) header = header_with_flipped_bits(index, block);
    if (!header || header->previous_flush_set != content_.last_set) return false;
    const Content before = content_;
    try {
      take_chunks(index, block, header->previous_flush_set == header->flush_set);
    } catch (const Error& error) {
      content_ = before;
      note_damage(fmt::format("{} ({})", error.detail(), site(index)));
      return false;
    }
    content_.last_set = header->flush_set;
    greatest_set_ = std::max(greatest_set_, header->flush_set);
    content_.blocks = index + 1;
    return true;
  }

  // Examines a block past the end. True when it belongs to the log.
  bool look_past(std::uint32_t index, ConstByteSpan block) {
    const auto header = LogBlockHeader::load(block);
    if (!header || header->magic != location_.uuid || header->generation < location_.generation) {
      return false;
    }
    const std::uint32_t end = content_.blocks;
    if (header->generation > location_.generation) {
      note_damage(
          fmt::format("log block {} ({}) has generation {}, but the generation recorded for "
                      "the log is {}: that record, or the block, is damaged",
                      index, site(index), header->generation, location_.generation));
      return false;
    }
    greatest_set_ = std::max(greatest_set_, header->flush_set);
    torn_blocks_ = true;
    // It begins a flush set, so the sets before it were durable: no flush tore them.
    if (header->previous_flush_set != header->flush_set) {
      note_damage(fmt::format("log block {} ({}) is damaged{}: log block {} continues the log", end,
                              site(end), index > end ? "" : ", or the one before it is", index));
    }
    return true;
  }

  // Throws if the log cannot be opened.
  void check() const {
    if (!damage_.empty()) raise(ENODATA, location_.name, "{}", damage_);
    if (content_.has_start && !content_.has_end) {
      raise(EMSGSIZE, location_.name, "compaction did not finish: no end marker in {} blocks",
            content_.blocks);
    }
  }

  const Content& content() const { return content_; }
  std::uint32_t greatest_set() const { return greatest_set_; }
  Mlog::OpenInfo info() const {
    return {.damage = damage_,
            .torn_blocks = torn_blocks_,
            .records_after_compaction_end = content_.records_after_end};
  }

 private:
  std::string site(std::uint32_t index) const {
    return fmt::format("byte {} of {}",
                       location_.offset + std::uint64_t{index} * location_.sector_size,
                       location_.device->name());
  }

  void note_damage(std::string what) {
    if (damage_.empty()) damage_ = std::move(what);
  }

  std::optional<LogBlockHeader> own_header(ConstByteSpan block) const {
    auto header = LogBlockHeader::load(block);
    if (header && (header->magic != location_.uuid || header->generation != location_.generation)) {
      header.reset();
    }
    return header;
  }

  // The header of a block that would be the next one of the log, except for a few bits of its
  // version or magic: that can only be damage. For inspection of the log it is accepted
  // nevertheless.
  std::optional<LogBlockHeader> header_with_flipped_bits(std::uint32_t index, ConstByteSpan block) {
    constexpr int kMaxFlippedBits = 4;
    LogBlockHeader header{.magic = location_.uuid,
                          .previous_flush_set = content_.last_set,
                          .generation = location_.generation};
    std::array<std::byte, LogBlockHeader::kSize> expected;
    header.store(expected);
    int bits = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (i >= kFlushSetAt && i < kFlushSetAt + sizeof(header.flush_set)) continue;
      const int flipped = std::popcount(std::to_integer<unsigned>(expected[i] ^ block[i]));
      if (flipped != 0 && i >= kMagicEnd) return std::nullopt;
      bits += flipped;
    }
    if (bits > kMaxFlippedBits) return std::nullopt;
    note_damage(fmt::format("log block {} ({}) is damaged: {} flipped bits in its header", index,
                            site(index), bits));
    if (on_damage_ == OnDamage::refuse) return std::nullopt;
    header.flush_set = load_le<std::uint32_t>(block, kFlushSetAt);
    return header;
  }

  // inside_set: the previous block is of the same flush set.
  void take_chunks(std::uint32_t index, ConstByteSpan block, bool inside_set) {
    std::size_t offset = LogBlockHeader::kSize;
    while (const auto chunk = chunk_at(location_.name, index, block, offset)) {
      take_chunk(index, *chunk, inside_set);
      offset = chunk->end;
    }
    if (block.size() - offset < ChunkHeader::kSize) return;
    const ConstByteSpan rest = block.subspan(offset);
    if (std::ranges::any_of(rest, [](std::byte byte) { return byte != std::byte{0}; })) {
      raise_corrupt({location_.name, index, offset}, "bytes after the last record of the block");
    }
  }

  void take_chunk(std::uint32_t index, const Chunk& chunk, bool inside_set) {
    using Event = ChunkOrder::Event;
    const LogSite site{location_.name, index, chunk.offset};
    const bool in_record = content_.order.in_record();
    const Event event = content_.order.accept(location_.name, index, chunk);
    const bool begins = event == Event::record || event == Event::record_begins;
    if (in_record && begins && inside_set) {
      raise_corrupt(site, "new record where the one before it goes on");
    }
    const bool marker = event == Event::compaction_start || event == Event::compaction_end;
    if (semantics_ == CompactionSemantics::off) {
      if (marker) raise_corrupt(site, "compaction marker in a log without compaction");
    } else {
      check_marker(site, event);
    }
    if (event == Event::record || event == Event::record_ends) {
      ++content_.records;
      content_.payload += chunk.header.record_length;
      content_.records_after_end |= content_.has_end;
    }
  }

  void check_marker(const LogSite& site, ChunkOrder::Event event) {
    if (event == ChunkOrder::Event::compaction_start) {
      if (content_.has_start) raise_corrupt(site, "second compaction start marker");
      if (site.block != 0 || site.offset != LogBlockHeader::kSize) {
        raise_corrupt(site, "compaction start marker not at the start of the log");
      }
      content_.has_start = true;
    } else if (!content_.has_start) {
      raise_corrupt(site, "log does not begin with a compaction start marker");
    } else if (event == ChunkOrder::Event::compaction_end) {
      if (content_.has_end) raise_corrupt(site, "second compaction end marker");
      content_.has_end = true;
    }
  }

  const MlogLocation& location_;
  const CompactionSemantics semantics_;
  const OnDamage on_damage_;
  Content content_;
  std::uint32_t greatest_set_ = 0;
  bool torn_blocks_ = false;
  std::string damage_;
};

}  // namespace

// The log ends at byte `log_end`; `last_page` is its content of the page of the next block. The
// next flush writes that page again, with these blocks unchanged.
void Mlog::Impl::start_tail(std::uint64_t log_end, ConstByteSpan last_page) {
  tail_.start = round_down(log_end, kPageSize);
  if (last_page.empty()) return;
  tail_.buffer = AlignedBuffer::zeroed(kPageSize);
  std::ranges::copy(last_page, tail_.buffer.data());
}

void Mlog::Impl::load(OnDamage on_damage) {
  Scan scan(location_, semantics_, on_damage);
  AlignedBuffer buffer(std::min(location_.capacity, kReadSize));
  bool at_end = false;
  std::uint64_t limit = location_.capacity;
  const auto window_from = [&](std::uint64_t byte) {
    return round_up(std::min(location_.capacity, byte + kStaleWindow), kPageSize);
  };
  for (std::uint64_t from = 0; from < limit;) {
    const auto length =
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), limit - from));
    location_.device->read(location_.offset + from, buffer.span(0, length));
    for (std::size_t at = 0; at < length; at += block_size_) {
      const auto index = static_cast<std::uint32_t>((from + at) / block_size_);
      const ConstByteSpan block = buffer.span(at, block_size_);
      if (!at_end && scan.take(index, block)) continue;
      if (!at_end) {
        at_end = true;
        limit = window_from(from + at);
        const std::size_t page_at = round_down(at, kPageSize);
        start_tail(from + at, buffer.span(page_at, at - page_at));
      }
      if (scan.look_past(index, block)) limit = std::max(limit, window_from(from + at));
    }
    from += length;
  }
  if (on_damage == OnDamage::refuse) scan.check();
  if (!at_end) start_tail(location_.capacity, {});
  const Content& found = scan.content();
  opened_ = scan.info();
  if (!opened_.damage.empty()) failure_ = opened_.damage;
  end_ = first_unwritten_ = found.blocks;
  written_end_ = {found.blocks, found.last_set};
  previous_set_ = found.last_set;
  next_set_ = scan.greatest_set() == UINT32_MAX ? UINT32_MAX : scan.greatest_set() + 1;
  has_start_ = found.has_start;
  has_end_ = found.has_end;
  records_ = found.records;
  payload_ = found.payload;
  if (found.blocks == 0) return;
  written_ = ++appended_;
  // Otherwise it may be in the device's cache only: the first sync or write flushes it.
  if (location_.flushed) {
    durable_ = written_;
    durable_set_ = found.last_set;
  }
}

}  // namespace mpool
