#include "engine/mlog/mlog.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/mlog/mlog_impl.h"

namespace mpool {
namespace {

// No record is accepted when fewer flush-set ids than this remain; data in memory can still be
// flushed (4 GiB are 4096 flush sets).
constexpr std::uint32_t kFlushSetReserve = 1u << 16;

void check_location(const MlogLocation& location) {
  if (location.sector_size != 512 && location.sector_size != kPageSize) {
    raise(EINVAL, location.name, "log block size {}, expected 512 or 4096", location.sector_size);
  }
  const std::uint64_t device_size = location.device->size();
  if (location.capacity == 0 || !is_aligned(location.offset | location.capacity, kPageSize) ||
      location.offset > device_size || location.capacity > device_size - location.offset) {
    raise(EINVAL, location.name, "log of {} bytes at {} does not lie inside {} of {} bytes",
          location.capacity, location.offset, location.device->name(), device_size);
  }
  if (location.capacity / location.sector_size > UINT32_MAX) {
    raise(EINVAL, location.name, "log of {} bytes has too many blocks", location.capacity);
  }
}

}  // namespace

// Iterates over the bytes of a record's parts in order.
class Gather {
 public:
  explicit Gather(std::span<const ConstByteSpan> parts) : parts_(parts) {}

  void take(std::byte* into, std::size_t length) {
    while (length > 0) {
      const ConstByteSpan rest = parts_.front().subspan(used_);
      const std::size_t count = std::min(length, rest.size());
      std::copy_n(rest.data(), count, into);
      into += count;
      length -= count;
      used_ += count;
      if (used_ == parts_.front().size()) {
        parts_ = parts_.subspan(1);
        used_ = 0;
      }
    }
  }

 private:
  std::span<const ConstByteSpan> parts_;
  std::size_t used_ = 0;  // of the first part
};

void LogPages::copy(std::uint64_t from, ByteSpan into) const {
  assert(from >= start && from - start + into.size() <= buffer.size());
  std::ranges::copy(buffer.span(static_cast<std::size_t>(from - start), into.size()), into.data());
}

Mlog::Impl::Impl(const MlogLocation& location, CompactionSemantics semantics)
    : location_(location),
      semantics_(semantics),
      block_size_(location.sector_size),
      block_limit_(static_cast<std::uint32_t>(location.capacity / location.sector_size)),
      generation_(location.generation) {}

void Mlog::Impl::check_usable() const {
  if (!failure_.empty()) {
    raise(EIO, location_.name, "no appends after a failed flush, or to a damaged log ({})",
          failure_);
  }
}

std::size_t Mlog::Impl::room() const {
  if (fill_ == 0) return 0;
  const std::size_t rest = block_size_ - fill_;
  return rest < ChunkHeader::kSize ? 0 : rest;
}

bool Mlog::Impl::fits_locked(std::uint64_t length) const {
  if (next_set_ > UINT32_MAX - kFlushSetReserve) return false;
  const std::uint64_t per_block = block_size_ - LogBlockHeader::kSize - ChunkHeader::kSize;
  const std::uint64_t blocks_left = block_limit_ - end_;
  if (room() == 0) return std::max<std::uint64_t>(1, ceil_div(length, per_block)) <= blocks_left;
  const std::uint64_t here = room() - ChunkHeader::kSize;
  return length <= here || ceil_div(length - here, per_block) <= blocks_left;
}

bool Mlog::Impl::fits(std::uint64_t length) const {
  const std::lock_guard lock(mutex_);
  return fits_locked(length);
}

Mlog::Impl::Counts Mlog::Impl::counts() const {
  const std::lock_guard lock(mutex_);
  return {.generation = generation_,
          .used = bytes(end_),
          .records = records_,
          .payload = payload_,
          .has_start = has_start_,
          .has_end = has_end_};
}

Mlog::Ticket Mlog::Impl::appended() const {
  const std::lock_guard lock(mutex_);
  return appended_;
}

Mlog::Stats Mlog::Impl::stats() const {
  const std::lock_guard lock(mutex_);
  return {.blocks = first_unwritten_,
          .last_flush_set = previous_set_,
          .next_flush_set = next_set_,
          .has_compaction_start = has_start_,
          .has_compaction_end = has_end_};
}

// True when no further block fits into tail_; all its blocks are then full.
bool Mlog::Impl::tail_full() const {
  return bytes(end_) - tail_.start == kFlushSetSize;
}

void Mlog::Impl::begin_block() {
  const std::size_t at = static_cast<std::size_t>(bytes(end_) - tail_.start);
  if (at == tail_.buffer.size()) {
    const std::size_t size = std::min(kFlushSetSize, std::max(kPageSize, 2 * at));
    AlignedBuffer larger = AlignedBuffer::zeroed(size);
    std::ranges::copy(tail_.buffer.span(), larger.data());
    tail_.buffer = std::move(larger);
  }
  ++end_;
  fill_ = LogBlockHeader::kSize;
}

void Mlog::Impl::put_chunk(ChunkType type, std::uint32_t record_length, std::size_t length,
                           Gather& from) {
  const auto block_at = static_cast<std::size_t>(bytes(end_ - 1) - tail_.start);
  const ByteSpan block = tail_.buffer.span(block_at, block_size_);
  ChunkHeader{.record_length = record_length,
              .chunk_length = static_cast<std::uint16_t>(length),
              .type = type}
      .store(block, fill_);
  fill_ += ChunkHeader::kSize;
  from.take(block.data() + fill_, length);
  fill_ += length;
  dirty_ = true;
}

Mlog::Ticket Mlog::Impl::append(ChunkType kind, std::span<const ConstByteSpan> parts) {
  const std::uint64_t length = length_of(parts);
  if (length > UINT32_MAX) raise(EINVAL, location_.name, "record of {} bytes", length);

  const std::lock_guard one_record(append_mutex_);
  Lock lock(mutex_);
  check_usable();
  if (!fits_locked(length)) {
    raise(EFBIG, location_.name, "no room for a record of {} bytes: {} of {} bytes used", length,
          bytes(end_), location_.capacity);
  }
  Gather from(parts);
  std::uint64_t left = length;
  bool first = true;
  do {
    if (room() == 0) {
      try {
        write_until(
            lock, false, [&] { return !tail_full(); }, [] { return false; });
      } catch (const Error& error) {
        // The rest of the record is missing: nothing can follow what was written of it.
        if (!first && failure_.empty()) failure_ = error.what();
        throw;
      }
      begin_block();
    }
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(left, room() - ChunkHeader::kSize));
    left -= count;
    ChunkType type = kind;
    if (!first) {
      type = left == 0 ? ChunkType::data_last : ChunkType::data_middle;
    } else if (left > 0) {
      type = ChunkType::data_first;
    }
    put_chunk(type, static_cast<std::uint32_t>(length), count, from);
    first = false;
  } while (left > 0);

  if (kind == ChunkType::compaction_start) {
    has_start_ = true;
  } else if (kind == ChunkType::compaction_end) {
    has_end_ = true;
  } else {
    ++records_;
    payload_ += length;
  }
  return ++appended_;
}

void Mlog::Impl::sync(Ticket ticket) {
  Lock lock(mutex_);
  ticket = std::min(ticket, appended_);
  write_until(
      lock, true, [&] { return durable_ >= ticket; },
      [&] { return flushing_ && writing_upto_ >= ticket; });
}

std::optional<Mlog::Written> Mlog::Impl::write(Ticket ticket) {
  Lock lock(mutex_);
  ticket = std::min(ticket, appended_);
  write_until(
      lock, false, [&] { return written_ >= ticket; }, [&] { return writing_upto_ >= ticket; });
  if (durable_ >= ticket) return std::nullopt;
  check_usable();  // the state of data whose flush failed after the write is unknown
  return Written{
      .device = location_.device, .ticket = written_, .flush_set = written_end_.flush_set};
}

void Mlog::Impl::flushed(const Written& written) {
  const std::lock_guard lock(mutex_);
  if (written.ticket <= durable_) return;
  durable_ = written.ticket;
  durable_set_ = written.flush_set;
}

// Writes the headers of the unwritten blocks, all of one flush set.
void Mlog::Impl::stamp_flush_set() {
  const std::uint32_t set = next_set_++;
  std::uint32_t previous = previous_set_;
  for (std::uint32_t block = first_unwritten_; block < end_; ++block) {
    const auto at = static_cast<std::size_t>(bytes(block) - tail_.start);
    LogBlockHeader{.magic = location_.uuid,
                   .previous_flush_set = previous,
                   .flush_set = set,
                   .generation = generation_}
        .store(tail_.buffer.span(at, block_size_));
    previous = set;
  }
  if (room() == 0) {
    first_unwritten_ = end_;
    previous_set_ = set;
  } else {
    // The last block is written again, with the same previous id, after it grew.
    if (end_ - first_unwritten_ > 1) previous_set_ = set;
    first_unwritten_ = end_ - 1;
  }
}

// Moves tail_ to in_flight_, which is empty, and starts a new tail_ with the last page, if blocks
// in it are still to be written.
void Mlog::Impl::begin_flush() {
  const std::uint64_t log_end = bytes(end_);
  const std::uint64_t new_start = round_down(bytes(end_ - (room() == 0 ? 0 : 1)), kPageSize);
  LogPages new_tail{.buffer = AlignedBuffer::zeroed(new_start < log_end ? kPageSize : 0),
                    .start = new_start};
  stamp_flush_set();
  if (!new_tail.buffer.empty()) tail_.copy(new_start, new_tail.buffer.span());
  in_flight_ = std::move(tail_);
  tail_ = std::move(new_tail);
  dirty_ = false;
  flight_ = {.length = static_cast<std::size_t>(round_up(log_end, kPageSize) - in_flight_.start),
             .ticket = appended_,
             .end = {end_, next_set_ - 1}};
}

struct Mlog::Impl::Failure {
  std::string what;  // not empty
  bool no_room;      // nothing but the write failed, and for want of room
};

// The I/O of write_out(), without mutex_. Returns the reason of a failure, or an empty string.
std::optional<Mlog::Impl::Failure> Mlog::Impl::do_io(std::size_t length, bool flush_first,
                                                     bool make_durable) {
  bool no_room = false;
  try {
    Device& device = *location_.device;
    if (flush_first) device.flush();
    if (length > 0) {
      try {
        device.write(location_.offset + in_flight_.start, in_flight_.buffer.span(0, length));
      } catch (const Error& error) {
        no_room = error.code() == ENOSPC;
        throw;
      }
    }
    if (make_durable) device.flush();
    return std::nullopt;
  } catch (const std::exception& error) {
    const std::string_view text = error.what();
    return Failure{std::string(text.empty() ? "unknown failure" : text), no_room};
  }
}

// Writes, or blocks on the thread that writes, until done(). covered(): the write in progress
// suffices. The end of a write wakes all threads for which it sufficed, and one of the others,
// which writes for all of them. A woken thread with nothing left to write wakes the next.
template <typename Done, typename Covered>
void Mlog::Impl::write_until(Lock& lock, bool make_durable, Done done, Covered covered) {
  struct Turn {
    Impl& log;
    bool taken = false;
    ~Turn() {
      if (taken && !log.writing_) log.write_ended_[(log.writes_ + 1) % 2].notify_one();
    }
  } turn{*this};
  while (!done()) {
    if (writing_) {
      write_ended_[(writes_ + (covered() ? 0 : 1)) % 2].wait(lock);
      turn.taken = true;
    } else {
      write_out(lock, make_durable);
      turn.taken = false;
    }
  }
}

// Writes the data in memory and, with `make_durable`, flushes the device: for all appends so far,
// or for those of the previous write if the device had no room for it. writing_ is false.
void Mlog::Impl::write_out(Lock& lock, bool make_durable) {
  check_usable();
  const Ticket written = written_;
  const std::uint32_t set_before = written_end_.flush_set;
  if (in_flight_.buffer.empty() && dirty_) begin_flush();
  if (in_flight_.buffer.empty()) flight_ = {.length = 0, .ticket = appended_, .end = written_end_};
  const Flight flight = flight_;
  // The earlier flush sets must be durable. Only then does a block of this set prove that they were
  // complete once, and a crash can tear one set only (open() finds its ids within kFlushSetSize
  // past the end).
  const bool flush_first = flight.length > 0 && set_before != durable_set_;
  ++writes_;
  writing_ = true;
  writing_upto_ = flight.ticket;
  flushing_ = make_durable;
  lock.unlock();
  std::optional<Failure> failure = do_io(flight.length, flush_first, make_durable);
  lock.lock();
  writing_ = false;
  write_ended_[writes_ % 2].notify_all();
  write_ended_[(writes_ + 1) % 2].notify_one();
  if (failure) {
    // A log with compaction semantics promises its owner that a record which failed never comes.
    if (failure->no_room && semantics_ == CompactionSemantics::off) {
      raise(ENOSPC, location_.name, "{}", failure->what);
    }
    failure_ = std::move(failure->what);
    check_usable();
  }
  in_flight_ = {};
  if (flush_first) {
    durable_ = std::max(durable_, written);
    durable_set_ = set_before;
  }
  written_ = flight.ticket;
  written_end_ = flight.end;
  if (make_durable) {
    durable_ = written_;
    durable_set_ = flight.end.flush_set;
  }
}

void Mlog::Impl::reset(std::uint64_t generation) {
  const std::lock_guard one_record(append_mutex_);
  const std::lock_guard lock(mutex_);
  if (generation <= generation_) {
    raise(EINVAL, location_.name, "new generation {} is not above {}", generation, generation_);
  }
  generation_ = generation;
  has_start_ = has_end_ = dirty_ = false;
  records_ = payload_ = 0;
  failure_.clear();
  tail_ = {};
  in_flight_ = {};
  fill_ = 0;
  end_ = first_unwritten_ = 0;
  written_end_ = {};
  durable_set_ = 0;
  previous_set_ = 0;
  next_set_ = 1;
  written_ = durable_ = appended_;
}

Mlog::End Mlog::Impl::end() const {
  const std::lock_guard lock(mutex_);
  return written_end_;
}

Mlog::Impl::Window Mlog::Impl::fetch(std::uint64_t from, ByteSpan into) const {
  std::size_t on_device = 0;
  Window window;
  {
    const std::lock_guard lock(mutex_);
    window = {.end = end_,
              .generation = generation_,
              .memory_start = in_flight_.buffer.empty() ? tail_.start : in_flight_.start};
    const std::uint64_t log_end = round_up(bytes(end_), kPageSize);
    if (from >= log_end) return window;
    const auto length =
        static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), log_end - from));
    const auto upto = [&](std::uint64_t byte) {
      return byte <= from ? 0
                          : static_cast<std::size_t>(std::min<std::uint64_t>(length, byte - from));
    };
    on_device = upto(window.memory_start);
    const std::size_t before_tail = std::max(on_device, upto(tail_.start));
    if (before_tail > on_device) {
      in_flight_.copy(from + on_device, into.subspan(on_device, before_tail - on_device));
    }
    if (length > before_tail) {
      tail_.copy(from + before_tail, into.subspan(before_tail, length - before_tail));
    }
  }
  if (on_device > 0) location_.device->read(location_.offset + from, into.first(on_device));
  return window;
}

Mlog::Mlog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Mlog::~Mlog() = default;

std::unique_ptr<Mlog> Mlog::open(const MlogLocation& location, CompactionSemantics semantics,
                                 OnDamage on_damage) {
  check_location(location);
  auto impl = std::make_unique<Impl>(location, semantics);
  impl->load(on_damage);
  return std::unique_ptr<Mlog>(new Mlog(std::move(impl)));
}

Mlog::Ticket Mlog::append(std::span<const ConstByteSpan> parts) {
  return impl_->append(ChunkType::data_full, parts);
}
Mlog::Ticket Mlog::append_compaction_start() {
  return impl_->append(ChunkType::compaction_start, {});
}
Mlog::Ticket Mlog::append_compaction_end() {
  return impl_->append(ChunkType::compaction_end, {});
}

void Mlog::sync(Ticket ticket) {
  impl_->sync(ticket);
}
void Mlog::sync() {
  impl_->sync(impl_->appended());
}
std::optional<Mlog::Written> Mlog::write(Ticket ticket) {
  return impl_->write(ticket);
}
void Mlog::flushed(const Written& written) {
  impl_->flushed(written);
}
void Mlog::reset(std::uint64_t generation) {
  impl_->reset(generation);
}

bool Mlog::empty() const {
  const Impl::Counts counts = impl_->counts();
  return counts.records == 0 && !counts.has_start && !counts.has_end;
}
std::uint64_t Mlog::generation() const {
  return impl_->counts().generation;
}
const std::string& Mlog::name() const {
  return impl_->location_.name;
}
std::string Mlog::begin() const {
  return fmt::format("byte {} of {}", impl_->location_.offset, impl_->location_.device->name());
}
std::uint64_t Mlog::capacity() const {
  return impl_->location_.capacity;
}
std::uint64_t Mlog::used() const {
  return impl_->counts().used;
}
std::uint64_t Mlog::record_count() const {
  return impl_->counts().records;
}
std::uint64_t Mlog::payload_bytes() const {
  return impl_->counts().payload;
}
bool Mlog::fits(std::uint64_t length) const {
  return impl_->fits(length);
}
Mlog::Stats Mlog::stats() const {
  return impl_->stats();
}
const Mlog::OpenInfo& Mlog::opened() const {
  return impl_->opened();
}
Mlog::End Mlog::end() const {
  return impl_->end();
}

}  // namespace mpool
