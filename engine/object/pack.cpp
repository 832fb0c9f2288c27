#include "engine/object/pack.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "engine/format/log_block.h"

namespace mpool {

Pack::Pack(ObjectId id, MediaClass media_class, const MlogLocation& log, WriteMemory& memory)
    : id_(id),
      media_class_(media_class),
      log_(log),
      memory_(memory),
      mlog_(Mlog::open(log, CompactionSemantics::off)),
      end_(mlog_->used()) {}

Pack::~Pack() {
  for (const auto& [position, held] : held_)
    memory_.end_deferral(held->deferred);
}

std::uint64_t Pack::used() const {
  const std::lock_guard lock(mutex_);
  return end_;
}

std::uint64_t Pack::free_locked() const {
  const std::uint64_t rest = fill_ == 0 ? 0 : log_.sector_size - fill_;
  const std::uint64_t taken = end_ - rest + reserved_;
  if (closed_ || taken >= log_.capacity) return 0;
  return log_.capacity - taken;
}

bool Pack::has_room(std::uint64_t bytes) const {
  const std::lock_guard lock(mutex_);
  return free_locked() >= bytes;
}

bool Pack::enter(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (closed_ || free_locked() < bytes) return false;
  ++users_;
  reserved_ += bytes;
  return true;
}

bool Pack::grow(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  assert(users_ > 0);
  if (free_locked() < bytes) return false;
  reserved_ += bytes;
  return true;
}

void Pack::leave(std::uint64_t unused) {
  const std::lock_guard lock(mutex_);
  assert(users_ > 0 && reserved_ >= unused);
  --users_;
  reserved_ -= unused;
}

void Pack::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

bool Pack::close_if_unused() {
  const std::lock_guard lock(mutex_);
  if (users_ > 0) return false;
  closed_ = true;
  return true;
}

// Follows the rules of Mlog::append() for the places of chunks; write() compares.
std::uint64_t Pack::append(std::vector<std::byte> content, std::uint64_t room,
                           std::size_t deferred) {
  const std::uint64_t sector = log_.sector_size;
  const auto needs_block = [&] { return fill_ == 0 || sector - fill_ < ChunkHeader::kSize; };
  const std::lock_guard lock(mutex_);
  assert(reserved_ >= room);
  if (!failure_.empty()) raise(EIO, log_.name, "it takes no content any more: {}", failure_);
  reserved_ -= room;
  std::uint64_t left = content.size();
  std::optional<std::uint64_t> position;
  do {
    if (needs_block()) {
      end_ += sector;
      fill_ = LogBlockHeader::kSize;
    }
    if (!position) position = end_ - sector + fill_;
    const std::uint64_t count = std::min(left, sector - fill_ - ChunkHeader::kSize);
    fill_ += ChunkHeader::kSize + count;
    left -= count;
  } while (left > 0);
  assert(end_ <= log_.capacity);
  held_[*position] = std::make_shared<const Held>(Held{std::move(content), end_, deferred});
  return *position;
}

std::shared_ptr<const Pack::Held> Pack::find(std::uint64_t position) const {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(position);
  return found == held_.end() ? nullptr : found->second;
}

bool Pack::holds(std::uint64_t position) const {
  return find(position) != nullptr;
}

// False: it is not in memory.
bool Pack::read_held(const PackedRecord& record, std::uint64_t offset, ByteSpan into) const {
  const auto held = find(record.position);
  if (!held) return false;
  if (record.length > held->content.size() || offset > record.length ||
      into.size() > record.length - offset) {
    raise(EIO, log_.name, "the record at {} has {} bytes, expected {}", record.position,
          held->content.size(), record.length);
  }
  std::memcpy(into.data(), held->content.data() + offset, into.size());
  return true;
}

void Pack::read(const PackedRecord& record, std::uint64_t offset, ByteSpan into) const {
  if (!read_held(record, offset, into)) read_packed(log_, record, offset, into);
}

// The first record at or behind that position; null: there is none.
Pack::HeldRecords::value_type Pack::next_from(std::uint64_t position) const {
  const std::lock_guard lock(mutex_);
  const auto next = held_.lower_bound(position);
  return next == held_.end() ? HeldRecords::value_type{} : *next;
}

// The records before that position are on the device.
void Pack::forget_written(std::uint64_t position) {
  const std::lock_guard lock(mutex_);
  const auto stop = held_.lower_bound(position);
  for (auto record = held_.begin(); record != stop; ++record)
    memory_.end_deferral(record->second->deferred);
  held_.erase(held_.begin(), stop);
}

std::optional<Mlog::Written> Pack::write(std::uint64_t position) {
  const std::lock_guard one(write_mutex_);
  // Content behind it may lack room, which is no concern of the caller.
  if (position < written_position_) return mlog_->write(written_ticket_);
  try {
    for (;;) {
      const auto [next, held] = next_from(appended_position_);
      if (!held) break;
      appended_ticket_ = mlog_->append(held->content);
      appended_position_ = next + 1;
      if (mlog_->used() != held->end) {
        raise(EIO, log_.name, "a record ends at {}, expected {}", mlog_->used(), held->end);
      }
    }
    auto written = mlog_->write(appended_ticket_);
    written_position_ = appended_position_;
    written_ticket_ = appended_ticket_;
    forget_written(written_position_);
    return written;
  } catch (const Error& error) {
    if (error.code() == ENOSPC) throw;
    const std::lock_guard lock(mutex_);
    closed_ = true;
    failure_ = error.what();
    throw;
  }
}

void Pack::flushed(const Mlog::Written& written) {
  mlog_->flushed(written);
}

}  // namespace mpool
