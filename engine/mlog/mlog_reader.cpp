#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/mlog/chunks.h"
#include "engine/mlog/mlog.h"
#include "engine/mlog/mlog_impl.h"

namespace mpool {
namespace {

constexpr std::uint64_t kReadAhead = 128u << 10;

// Collects a record in a vector. The vector grows with the chunks that exist, not by the claimed
// length.
class VectorSink {
 public:
  explicit VectorSink(std::vector<std::byte>& into) : into_(into) {}
  void restart() { into_.clear(); }
  void add(ConstByteSpan chunk) { into_.insert(into_.end(), chunk.begin(), chunk.end()); }

 private:
  std::vector<std::byte>& into_;
};

// Collects a record in the caller's memory as far as it fits, and counts all bytes.
class SpanSink {
 public:
  explicit SpanSink(ByteSpan into) : into_(into) {}
  void restart() { length_ = 0; }
  void add(ConstByteSpan chunk) {
    if (length_ < into_.size()) {
      const ConstByteSpan fits = chunk.first(std::min(chunk.size(), into_.size() - length_));
      std::ranges::copy(fits, into_.data() + length_);
    }
    length_ += chunk.size();
  }
  std::size_t length() const { return length_; }

 private:
  ByteSpan into_;
  std::size_t length_ = 0;
};

}  // namespace

struct MlogReader::Impl {
  explicit Impl(const Mlog::Impl& of)
      : log(of),
        cache(std::min(of.location_.capacity, kReadAhead)),
        generation(of.counts().generation) {}

  // Reads the next complete record into `sink`; false at the end. Sets `record_at` to the position
  // of its first chunk.
  template <typename Sink>
  bool read(Sink& sink, MlogPosition& record_at) {
    using Event = ChunkOrder::Event;
    ChunkOrder order;
    MlogPosition cursor = at;
    while (const auto chunk = next_chunk(cursor)) {
      const Event event = order.accept(log.location_.name, cursor.block, *chunk);
      if (event == Event::record || event == Event::record_begins) {
        record_at = {cursor.block, static_cast<std::uint32_t>(chunk->offset)};
        sink.restart();
      }
      cursor.offset = static_cast<std::uint32_t>(chunk->end);
      if (event == Event::compaction_start || event == Event::compaction_end) continue;
      sink.add(chunk->payload);
      if (event == Event::record || event == Event::record_ends) {
        at = cursor;
        return true;
      }
    }
    return false;  // a record without its last chunks is torn, or being appended
  }

  // The chunk at `cursor`, or the first of the next block; moves `cursor` to it. nullopt at the
  // end.
  std::optional<Chunk> next_chunk(MlogPosition& cursor) {
    bool fresh = false;
    for (;;) {
      if (cursor.block < first || cursor.block >= end) {
        if (!load(cursor.block)) return std::nullopt;
        fresh = true;
      }
      const std::size_t offset = cursor.offset == 0 ? LogBlockHeader::kSize : cursor.offset;
      auto chunk = chunk_at(log.location_.name, cursor.block, block(cursor.block), offset);
      if (chunk) return chunk;
      if (cursor.block + 1 < log_end) {
        cursor = {cursor.block + 1, 0};
      } else if (fresh) {
        return std::nullopt;
      } else {
        // Since the fetch, the last block may have grown, and blocks may follow it.
        first = end = 0;
      }
    }
  }

  // Fetches blocks from the page of `index` on; false when the log ends before it.
  bool load(std::uint32_t index) {
    first = end = 0;
    const std::uint64_t from = round_down(std::uint64_t{index} * log.block_size_, kPageSize);
    const Mlog::Impl::Window window = log.fetch(from, cache.span());
    if (window.generation != generation) {
      raise(ESTALE, log.location_.name,
            "log was reset to generation {} below a reader of generation {}", window.generation,
            generation);
    }
    log_end = window.end;
    if (index >= log_end) return false;
    first = static_cast<std::uint32_t>(from / log.block_size_);
    end = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(log_end, first + cache.size() / log.block_size_));
    check_headers(window.memory_start);
    return true;
  }

  // Blocks from the device must still be those that open() found or a flush wrote.
  void check_headers(std::uint64_t memory_start) {
    if (!log.opened().damage.empty()) return;  // open() accepted damaged ones
    for (std::uint32_t index = first; index < end; ++index) {
      if (std::uint64_t{index} * log.block_size_ >= memory_start) return;
      const auto header = LogBlockHeader::load(block(index));
      if (!header || header->magic != log.location_.uuid || header->generation != generation) {
        end = first;
        raise_corrupt({log.location_.name, index, 0},
                      "not a block of this log and generation any more");
      }
    }
  }

  ConstByteSpan block(std::uint32_t index) const {
    return cache.span(std::size_t{index - first} * log.block_size_, log.block_size_);
  }

  const Mlog::Impl& log;
  AlignedBuffer cache;
  std::uint32_t first = 0;  // blocks [first, end) of the log are in the cache
  std::uint32_t end = 0;
  std::uint32_t log_end = 0;  // blocks of the log when the cache was filled
  std::uint64_t generation;
  MlogPosition at;
};

MlogReader::MlogReader(const Mlog& log) : impl_(std::make_unique<Impl>(*log.impl_)) {}
MlogReader::MlogReader(MlogReader&& other) noexcept = default;
MlogReader::~MlogReader() = default;

bool MlogReader::next(std::vector<std::byte>& record) {
  VectorSink sink(record);
  MlogPosition record_at;
  const bool found = impl_->read(sink, record_at);
  if (!found) record.clear();
  return found;
}

std::optional<std::size_t> MlogReader::next(ByteSpan into) {
  SpanSink sink(into);
  MlogPosition record_at;
  if (!impl_->read(sink, record_at)) return std::nullopt;
  if (sink.length() > into.size()) {
    impl_->at = record_at;
    raise(EOVERFLOW, impl_->log.location_.name, "record of {} bytes, buffer of {}", sink.length(),
          into.size());
  }
  return sink.length();
}

std::optional<std::size_t> MlogReader::skip() {
  SpanSink counter({});
  MlogPosition record_at;
  if (!impl_->read(counter, record_at)) return std::nullopt;
  return counter.length();
}

MlogPosition MlogReader::position() const {
  return impl_->at;
}

void MlogReader::seek(MlogPosition position) {
  const Mlog::Impl& log = impl_->log;
  const bool offset_ok = position.offset == 0 || (position.offset >= LogBlockHeader::kSize &&
                                                  position.offset <= log.block_size_);
  if (!offset_ok || position.block >= log.block_limit_) {
    raise(EINVAL, log.location_.name, "no position in the log: block {} offset {}", position.block,
          position.offset);
  }
  if (const std::uint64_t generation = log.counts().generation; generation != impl_->generation) {
    impl_->generation = generation;
    impl_->first = impl_->end = 0;
  }
  impl_->at = position;
}

}  // namespace mpool
