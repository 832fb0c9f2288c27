#include "engine/object/log_part.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include <fmt/format.h>

#include "engine/base/error.h"

namespace mpool {
namespace {

// The index has a position in an mlog for about every this many bytes of payload.
constexpr std::uint64_t kIndexInterval = 64u << 10;

ObjectRecord find_mlog(const Pool& pool, ObjectId id) {
  const auto record = id.is_mlog() ? pool.find(id) : std::nullopt;
  if (!record) {
    raise(ENOENT, fmt::format("mlog {} of pool {}", id.to_string(), pool.name()), "does not exist");
  }
  if (!pool.has_class(record->media_class)) {
    raise(EIO, fmt::format("mlog {} of pool {}", id.to_string(), pool.name()),
          "the {} device is missing", to_string(record->media_class));
  }
  return *record;
}

}  // namespace

LogPart::LogPart(References& references, ObjectId object, std::uint64_t content_start,
                 std::optional<std::uint64_t> length)
    : id(object),
      start(content_start),
      hold_(references, ObjectHolder::log, object),
      record_(find_mlog(references.pool(), object)),
      location_(references.pool().mlog_location(record_)),
      recorded_length_(length) {
  length_ = length ? *length : mlog().payload_bytes();
}

Mlog& LogPart::mlog() const {
  const std::lock_guard lock(open_mutex_);
  if (!mlog_) mlog_ = Mlog::open(location_, CompactionSemantics::off, OnDamage::report);
  return *mlog_;
}

std::string LogPart::damage() const {
  if (sound_) return {};
  const Mlog& log = mlog();
  if (!log.opened().damage.empty()) return fmt::format("{}: {}", name(), log.opened().damage);
  if (recorded_length_ && log.payload_bytes() < *recorded_length_) {
    return describe_lost_end(*recorded_length_);
  }
  if (recorded_length_ && log.payload_bytes() > *recorded_length_) {
    return fmt::format("{}: holds {} bytes of content, but {} were recorded", name(),
                       log.payload_bytes(), *recorded_length_);
  }
  sound_ = true;
  return {};
}

std::string LogPart::describe_lost_end(std::uint64_t length) const {
  const Mlog& log = mlog();
  return fmt::format(
      "{}: ends before log block {} (byte {} of {}) after {} bytes of content, but {} were "
      "durable: the block is damaged",
      name(), log.used() / location_.sector_size, location_.offset + log.used(),
      location_.device->name(), start + log.payload_bytes(), start + length);
}

LogPart::IndexEntry LogPart::entry_before(std::uint64_t payload) const {
  const std::lock_guard lock(index_mutex_);
  auto it = std::upper_bound(
      index_.begin(), index_.end(), payload,
      [](std::uint64_t value, const IndexEntry& location) { return value < location.payload; });
  return it == index_.begin() ? IndexEntry{} : *std::prev(it);
}

void LogPart::learn(std::uint64_t payload, MlogPosition position) const {
  const std::lock_guard lock(index_mutex_);
  const std::uint64_t last = index_.empty() ? 0 : index_.back().payload;
  if (payload >= last + kIndexInterval) index_.push_back({payload, position});
}

void LogCursor::read(std::uint64_t from, std::size_t length, ByteSpan& into) {
  while (length > 0) {
    if (from >= start_ + record_.size()) {
      next_record();
      continue;
    }
    const std::size_t at = from - start_;
    const std::size_t count = std::min(length, record_.size() - at);
    std::memcpy(into.data(), record_.data() + at, count);
    from += count;
    length -= count;
    into = into.subspan(count);
  }
}

void LogCursor::next_record() {
  start_ += record_.size();
  record_.clear();
  part_.learn(start_, reader_.position());
  if (!reader_.next(record_)) {
    raise(EIO, part_.name(), "ends after {} bytes of records, expected {}", start_, part_.length());
  }
}

}  // namespace mpool
