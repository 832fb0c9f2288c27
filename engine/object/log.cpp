#include "engine/object/log.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/object/log_part.h"

namespace mpool {
namespace {

// Readers kept for reads that continue where an earlier one ended.
constexpr std::size_t kMaxCursors = 8;

[[noreturn]] void refuse_record(const Mlog& log, std::size_t length) {
  raise(EFBIG, log.name(), "record of {} bytes does not fit in an empty log of {} bytes", length,
        log.capacity());
}

}  // namespace

// Locks, in this order:
//   append_mutex_   one append at a time
//   parts_mutex_    the vector parts_ (it is changed under append_mutex_ too)
//   cursors_mutex_  cursors_
//   damage_mutex_   damage_, readable_size_
struct Log::Impl {
  Impl(References& references, AddMlog add_mlog)
      : references_(references), add_mlog_(std::move(add_mlog)) {}

  void load(std::span<const Extent> mlogs, std::uint64_t least_size);
  bool check_end(std::uint64_t least_size);
  bool load_part(ObjectId id, std::optional<std::uint64_t> length);
  std::string damage() const;
  std::uint64_t readable_size() const;
  void note_damage(std::uint64_t readable_size, std::string what) const;
  void check_undamaged() const;
  LogPart& add_part(ObjectId id, std::optional<std::uint64_t> length);
  Mlog& mlog_with_room(std::size_t length);
  std::uint64_t append(ConstByteSpan record);
  void sync();
  std::optional<Written> write();
  void flushed(const Written& written);
  std::size_t read(std::uint64_t offset, ByteSpan into);

  // The part that holds byte `offset` of the content, and the end of its content.
  std::pair<const LogPart*, std::uint64_t> part_at(std::uint64_t offset, std::uint64_t size) const;
  void check_part(const LogPart& part, std::uint64_t payload) const;
  void read_part(const LogPart& part, std::uint64_t payload, std::size_t length, ByteSpan& into);
  std::list<LogCursor> take_cursor(const LogPart& part, std::uint64_t payload);
  LogPart* last_part() const;
  void mark_synced(std::uint64_t count);

  References& references_;
  const AddMlog add_mlog_;
  std::uint64_t least_size_ = 0;  // constant once the log is open

  mutable std::mutex damage_mutex_;
  mutable std::string damage_;  // not empty: of the chain, that at the least offset found so far
  mutable std::uint64_t readable_size_ = UINT64_MAX;  // bytes of content before it

  std::mutex append_mutex_;
  mutable std::mutex parts_mutex_;
  std::vector<std::unique_ptr<LogPart>> parts_;
  std::optional<ObjectId> added_;  // by add_mlog_, but could not be opened yet

  std::mutex cursors_mutex_;
  std::list<LogCursor> cursors_;  // unused cursors, the most recently used first

  std::atomic<std::uint64_t> size_ = 0;  // bytes of content
  // Numbers of appends. Only the last mlog has appends that are not durable.
  std::atomic<std::uint64_t> appended_ = 0;
  std::atomic<std::uint64_t> synced_ = 0;
};

void Log::Impl::load(std::span<const Extent> mlogs, std::uint64_t least_size) {
  least_size_ = least_size;
  for (std::size_t i = 0; i < mlogs.size(); ++i) {
    const std::uint64_t start = mlogs[i].file_offset;
    const bool known = start != 0;
    if (known && !check_end(start)) return;
    if (known && size_ > start) {
      note_damage(start, fmt::format("the mlogs before {} hold {} bytes of content, but {} were "
                                     "recorded",
                                     mlogs[i].object.to_string(), size_.load(), start));
      return;
    }
    std::optional<std::uint64_t> length;
    if (i + 1 < mlogs.size() && mlogs[i + 1].file_offset > size_) {
      length = mlogs[i + 1].file_offset - size_;
    }
    if (!load_part(mlogs[i].object, length)) return;
  }
  // It may be in the device's cache only.
  if (size_ != 0) appended_ = 1;
  check_end(least_size);
}

// The mlogs up to here must hold this many bytes; false when they do not.
bool Log::Impl::check_end(std::uint64_t least_size) {
  if (size_ >= least_size) return true;
  if (parts_.empty()) {
    note_damage(0, fmt::format("it had {} bytes, but has no mlog", least_size));
    return false;
  }
  const LogPart& last = *parts_.back();
  note_damage(size_, last.describe_lost_end(least_size - last.start));
  return false;
}

// False when the content ends there: the mlog is damaged.
bool Log::Impl::load_part(ObjectId id, std::optional<std::uint64_t> length) {
  try {
    const LogPart& part = add_part(id, length);
    if (length) return true;
    std::string damage = part.damage();
    if (damage.empty()) return true;
    note_damage(size_, std::move(damage));
  } catch (const Error& error) {
    note_damage(size_, error.what());
  }
  return false;
}

std::string Log::Impl::damage() const {
  const std::lock_guard lock(damage_mutex_);
  return damage_;
}

std::uint64_t Log::Impl::readable_size() const {
  const std::lock_guard lock(damage_mutex_);
  return std::min(readable_size_, size_.load());
}

void Log::Impl::note_damage(std::uint64_t readable_size, std::string what) const {
  const std::lock_guard lock(damage_mutex_);
  if (!damage_.empty() && readable_size >= readable_size_) return;
  damage_ = std::move(what);
  readable_size_ = readable_size;
}

void Log::Impl::check_undamaged() const {
  const std::string found = damage();
  if (!found.empty()) raise(EIO, "append-only file", "{}", found);
}

LogPart& Log::Impl::add_part(ObjectId id, std::optional<std::uint64_t> length) {
  auto made = std::make_unique<LogPart>(references_, id, size_.load(), length);
  LogPart& part = *made;
  {
    const std::lock_guard lock(parts_mutex_);
    parts_.push_back(std::move(made));
  }
  size_ += part.length();
  return part;
}

// The mlog of the last part, or a new one when that has no room. append_mutex_ is held.
Mlog& Log::Impl::mlog_with_room(std::size_t length) {
  // The start of the content of the added mlog is recorded: no more content may go before it.
  if (!parts_.empty() && !added_) {
    Mlog& last = parts_.back()->mlog();
    if (last.fits(length)) return last;
    if (last.empty()) refuse_record(last, length);
    // A later record must never be durable while an earlier one is not.
    const std::uint64_t appended = appended_.load();
    last.sync();
    mark_synced(appended);
  }
  if (!added_) added_ = add_mlog_(size_.load()).id;
  Mlog& added = add_part(*added_, std::nullopt).mlog();
  added_.reset();
  if (!added.fits(length)) refuse_record(added, length);
  return added;
}

std::uint64_t Log::Impl::append(ConstByteSpan record) {
  check_undamaged();
  const std::lock_guard lock(append_mutex_);
  mlog_with_room(record.size()).append(record);
  ++appended_;
  return size_ += record.size();
}

void Log::Impl::mark_synced(std::uint64_t count) {
  std::uint64_t synced = synced_.load();
  while (synced < count && !synced_.compare_exchange_weak(synced, count)) {
  }
}

void Log::Impl::sync() {
  const std::uint64_t appended = appended_.load();
  const LogPart* last = last_part();
  if (last == nullptr) return;
  last->mlog().sync();
  mark_synced(appended);
}

std::optional<Log::Written> Log::Impl::write() {
  // Read before the part is looked up: appends to an earlier part are durable by then.
  const std::uint64_t appended = appended_.load();
  const LogPart* last = last_part();
  if (last == nullptr) return std::nullopt;
  const auto in_mlog = last->mlog().write(UINT64_MAX);
  if (!in_mlog) {
    mark_synced(appended);
    return std::nullopt;
  }
  return Written{.mlog = &last->mlog(), .in_mlog = *in_mlog, .appends = appended};
}

void Log::Impl::flushed(const Written& written) {
  written.mlog->flushed(written.in_mlog);
  mark_synced(written.appends);
}

LogPart* Log::Impl::last_part() const {
  const std::lock_guard lock(parts_mutex_);
  return parts_.empty() ? nullptr : parts_.back().get();
}

std::pair<const LogPart*, std::uint64_t> Log::Impl::part_at(std::uint64_t offset,
                                                            std::uint64_t size) const {
  const std::lock_guard lock(parts_mutex_);
  const auto next =
      std::upper_bound(parts_.begin(), parts_.end(), offset,
                       [](std::uint64_t value, const auto& part) { return value < part->start; });
  return {std::prev(next)->get(), next == parts_.end() ? size : std::min(size, (*next)->start)};
}

std::size_t Log::Impl::read(std::uint64_t offset, ByteSpan into) {
  const std::uint64_t size = size_.load();
  if (offset >= size) {
    check_undamaged();
    return 0;
  }
  const std::size_t wanted = std::min<std::uint64_t>(into.size(), size - offset);
  ByteSpan rest = into.first(wanted);
  try {
    while (!rest.empty()) {
      const std::uint64_t at = offset + (wanted - rest.size());
      const auto [part, end] = part_at(at, size);
      read_part(*part, at - part->start, std::min<std::uint64_t>(rest.size(), end - at), rest);
    }
  } catch (const Error& error) {
    // A block became unreadable since the log was opened. The content before it is returned first.
    if (rest.size() == wanted) raise(EIO, "append-only file", "{}", error.what());
  }
  return wanted - rest.size();
}

void Log::Impl::read_part(const LogPart& part, std::uint64_t payload, std::size_t length,
                          ByteSpan& into) {
  check_part(part, payload);
  std::list<LogCursor> cursor = take_cursor(part, payload);
  cursor.front().read(payload, length, into);
  const std::lock_guard lock(cursors_mutex_);
  cursors_.splice(cursors_.begin(), cursor);
  if (cursors_.size() > kMaxCursors) cursors_.pop_back();
}

// EIO when a part that is opened only now is damaged before `payload`.
void Log::Impl::check_part(const LogPart& part, std::uint64_t payload) const {
  std::string damage;
  std::uint64_t readable = 0;
  try {
    damage = part.damage();
    if (damage.empty()) return;
    readable = std::min(part.mlog().payload_bytes(), part.length());
  } catch (const Error& error) {
    damage = error.what();
  }
  note_damage(part.start + readable, damage);
  if (payload >= readable) raise(EIO, part.name(), "{}", damage);
}

// A list of one: the cursor closest before `payload`.
std::list<LogCursor> Log::Impl::take_cursor(const LogPart& part, std::uint64_t payload) {
  const LogPart::IndexEntry place = part.entry_before(payload);
  std::list<LogCursor> taken;
  {
    const std::lock_guard lock(cursors_mutex_);
    auto best = cursors_.end();
    for (auto it = cursors_.begin(); it != cursors_.end(); ++it) {
      if (&it->part() != &part || it->start() > payload || it->start() < place.payload) continue;
      if (best == cursors_.end() || it->start() > best->start()) best = it;
    }
    if (best != cursors_.end()) taken.splice(taken.begin(), cursors_, best);
  }
  if (taken.empty()) taken.emplace_back(part, place);
  return taken;
}

Log::Log(References& references, std::span<const Extent> mlogs, std::uint64_t least_size,
         AddMlog add_mlog)
    : impl_(std::make_unique<Impl>(references, std::move(add_mlog))) {
  impl_->load(mlogs, least_size);
}

Log::~Log() = default;

std::string Log::damage() const {
  return impl_->damage();
}
std::uint64_t Log::readable_size() const {
  return impl_->readable_size();
}
void Log::check_undamaged() const {
  impl_->check_undamaged();
}
std::uint64_t Log::known_size() const {
  return impl_->damage().empty() ? size() : std::max(size(), impl_->least_size_);
}

std::uint64_t Log::append(ConstByteSpan record) {
  return impl_->append(record);
}
void Log::sync() {
  impl_->sync();
}
std::optional<Log::Written> Log::write() {
  return impl_->write();
}
void Log::flushed(const Written& written) {
  impl_->flushed(written);
}
std::uint64_t Log::appends() const {
  return impl_->appended_.load();
}
bool Log::are_durable(std::uint64_t appends) const {
  return impl_->synced_.load() >= appends;
}
bool Log::dirty() const {
  return impl_->synced_.load() < impl_->appended_.load();
}
std::uint64_t Log::size() const {
  return impl_->size_.load();
}
std::size_t Log::read(std::uint64_t offset, ByteSpan into) const {
  return impl_->read(offset, into);
}

}  // namespace mpool
