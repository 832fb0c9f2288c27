#include "engine/names/journal.h"

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"

namespace mpool::names {
namespace {

using Clock = std::chrono::steady_clock;

// A log block of 512 bytes has 40 bytes of header, a record 8 of descriptor per block it touches,
// and a flush may leave part of a block unused.
std::uint64_t size_in_log(std::uint64_t record_size) {
  return record_size + record_size / 8 + 64;
}

// Of the capacity of the MDC, in percent: what changes may fill, what those may that free space,
// and what a compaction must win for it to be worth doing before every few changes.
constexpr std::uint64_t kFillPercent = 85;
constexpr std::uint64_t kFillFreeingPercent = 95;
constexpr std::uint64_t kWorthwhilePercent = 5;

// Bounds what one batch holds back from those who wait for its first change.
constexpr std::size_t kMaxBatchBytes = 1u << 20;
constexpr std::size_t kMaxBatchChanges = 4096;

// Inode numbers promised by a BATCH record beyond the last one handed out: more than are handed out
// until the next one.
constexpr InodeNumber kInodeReserve = 1u << 20;

Nanoseconds wall_clock() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Journal::Journal(Pool& pool, Mdc& mdc, Options options, Owner owner)
    : pool_(pool),
      mdc_(mdc),
      options_(options),
      owner_(std::move(owner)),
      batch_number_(options.first_batch),
      thread_([this] { run(); }) {}

Journal::~Journal() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wanted_ = added_;
  }
  work_.notify_one();
  thread_.join();
}

void Journal::check_failed() const {
  if (!failure_.empty()) {
    raise(EIO, "pool " + pool_.name(), "the named tree cannot be changed any more: {}", failure_);
  }
}

std::uint64_t Journal::room(bool frees) const {
  const std::uint64_t limit = mdc_.capacity() / 100 * (frees ? kFillFreeingPercent : kFillPercent);
  const std::uint64_t used = mdc_.used() + queued_bytes_;
  return limit > used ? limit - used : 0;
}

void Journal::make_room(std::size_t record_size, bool frees) {
  const std::uint64_t needed = size_in_log(record_size);
  std::unique_lock lock(mutex_);
  check_failed();
  if (room(frees) >= needed) return;
  const std::uint64_t mine = compactions_done_ + 1;
  compactions_wanted_ = std::max(compactions_wanted_, mine);
  work_.notify_one();
  done_.wait(lock, [&] { return compactions_done_ >= mine || !failure_.empty(); });
  check_failed();
  const std::uint64_t worthwhile = frees ? 0 : mdc_.capacity() / 100 * kWorthwhilePercent;
  if (room(frees) < std::max(needed, worthwhile)) {
    raise(
        ENOSPC, "pool " + pool_.name(),
        "the root MDC of {} bytes has no room for more names: delete files, or make the pool anew "
        "with a larger one",
        mdc_.capacity());
  }
}

Journal::Ticket Journal::add(Change change) {
  const std::lock_guard lock(mutex_);
  check_failed();
  queued_bytes_ += size_in_log(change.record.size());
  queue_.push_back(std::move(change));
  if (!oldest_) {
    oldest_ = Clock::now();
    work_.notify_one();
  }
  return ++added_;
}

void Journal::wait(Ticket ticket) {
  std::unique_lock lock(mutex_);
  if (ticket > wanted_) {
    wanted_ = ticket;
    work_.notify_one();
  }
  done_.wait(lock, [&] { return written_ >= ticket || !failure_.empty(); });
  if (written_ < ticket) check_failed();
}

void Journal::wait_all() {
  Ticket last;
  {
    const std::lock_guard lock(mutex_);
    last = added_;
  }
  wait(last);
}

void Journal::want_log_sync() {
  const std::lock_guard lock(mutex_);
  if (logs_dirty_) return;
  logs_dirty_ = Clock::now();
  work_.notify_one();
}

// Returns when there is something to do; false when the journal ends. Without changes nothing wakes
// it.
bool Journal::wait_for_work(std::unique_lock<std::mutex>& lock) {
  const auto urgent = [&] {
    return stopping_ || compactions_wanted_ > compactions_done_ || wanted_ > written_;
  };
  while (!urgent()) {
    if (!oldest_ && !logs_dirty_) {
      work_.wait(lock);
      continue;
    }
    const auto first = std::min(oldest_.value_or(Clock::time_point::max()),
                                logs_dirty_.value_or(Clock::time_point::max()));
    if (work_.wait_until(lock, first + options_.interval) == std::cv_status::timeout) break;
  }
  return !(stopping_ && queue_.empty());
}

// One round: a compaction if one is wanted, a batch, the logs if it is time for them.
void Journal::work() {
  bool compaction;
  bool logs;
  {
    const std::lock_guard lock(mutex_);
    compaction = compactions_wanted_ > compactions_done_;
    logs = logs_dirty_ && Clock::now() - *logs_dirty_ >= options_.interval;
    if (logs) logs_dirty_.reset();
  }
  if (compaction) compact();
  Batch batch = take_batch();
  write(batch);
  if (logs) owner_.sync_logs();
}

void Journal::run() {
  std::unique_lock lock(mutex_);
  while (wait_for_work(lock)) {
    lock.unlock();
    try {
      work();
    } catch (const std::exception& error) {
      fail(error);
    }
    lock.lock();
    if (failure_.empty()) continue;
    const std::deque<Change> lost = std::exchange(queue_, {});
    work_.wait(lock, [&] { return stopping_; });
    lock.unlock();
    return;
  }
}

void Journal::fail(const std::exception& error) {
  spdlog::error("pool {}: writing the named tree failed, it is read-only from here on: {}",
                pool_.name(), error.what());
  const std::lock_guard lock(mutex_);
  failure_ = error.what();
  compactions_done_ = compactions_wanted_;
  done_.notify_all();
}

Journal::Batch Journal::take_batch() {
  const std::lock_guard lock(mutex_);
  Batch batch;
  std::size_t bytes = 0;
  while (!queue_.empty() && bytes < kMaxBatchBytes && batch.changes.size() < kMaxBatchChanges) {
    bytes += queue_.front().record.size();
    batch.changes.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  batch.last = added_ - queue_.size();
  if (queue_.empty()) oldest_.reset();
  return batch;
}

void Journal::write(Batch& batch) {
  if (batch.changes.empty()) return;
  std::array<bool, kMediaClassCount> written{};
  for (Change& change : batch.changes) {
    for (const auto& mblock : change.mblocks) {
      written[static_cast<std::size_t>(mblock->finish().media_class)] = true;
    }
  }
  for (const MediaClass media_class : {MediaClass::staging, MediaClass::capacity}) {
    if (written[static_cast<std::size_t>(media_class)]) pool_.device(media_class).flush();
  }

  const auto recorded = [](const Change& change) { return !change.record.empty(); };
  std::uint64_t bytes = 0;
  if (std::ranges::any_of(batch.changes, recorded)) {
    Mdc::Ticket ticket = append_mark();
    for (const Change& change : batch.changes) {
      if (recorded(change)) ticket = mdc_.append(change.record);
      bytes += size_in_log(change.record.size());
    }
    mdc_.sync(ticket);
  }
  commit_objects(batch);

  const std::lock_guard lock(mutex_);
  queued_bytes_ -= std::min(queued_bytes_, bytes);
  written_ = batch.last;
  done_.notify_all();
}

Mdc::Ticket Journal::append_mark() {
  return mdc_.append(
      encode({wall_clock(), BatchRecord{batch_number_++, owner_.next_inode() + kInodeReserve}}));
}

void Journal::commit_objects(Batch& batch) {
  std::vector<ObjectRecord> commits;
  std::vector<ObjectId> deletes;
  for (Change& change : batch.changes) {
    for (const auto& mblock : change.mblocks)
      commits.push_back(mblock->finish());
    if (change.mlog) commits.push_back(*change.mlog);
    for (const ObjectId object : change.deletes) {
      deletes.push_back(object);
    }
  }
  if (!commits.empty()) {
    pool_.commit(commits);
    owner_.committed(commits);
  }
  for (Change& change : batch.changes) {
    for (const auto& mblock : change.mblocks)
      mblock->release();
  }
  // An object can be missing only where the media lost it: its name is gone all the same.
  std::erase_if(deletes, [&](ObjectId object) { return !pool_.find(object); });
  // A mount that finds one of this batch's objects missing takes the batch for incomplete: what is
  // deleted at once must first be in a batch that is followed by another.
  std::unordered_set<ObjectId> fresh;
  for (const ObjectRecord& object : commits) fresh.insert(object.id);
  const auto of_this_batch = [&](ObjectId object) { return fresh.contains(object); };
  if (std::ranges::any_of(deletes, of_this_batch)) mdc_.sync(append_mark());
  if (!deletes.empty()) pool_.remove(deletes);
}

void Journal::compact() {
  std::vector<std::vector<std::byte>> records;
  {
    const std::unique_lock gate(gate_);
    for (Batch batch = take_batch(); !batch.changes.empty(); batch = take_batch())
      write(batch);
    records = owner_.snapshot();
  }
  records.push_back(
      encode({wall_clock(), BatchRecord{batch_number_++, owner_.next_inode() + kInodeReserve}}));
  try {
    mdc_.compact([&](const Mdc::Append& append) {
      for (const auto& record : records)
        append(record);
    });
  } catch (const Error& error) {
    // The tree does not fit: the old log stays in force, and make_room() finds no room.
    if (error.code() != EFBIG) throw;
  }
  const std::lock_guard lock(mutex_);
  compactions_done_ = compactions_wanted_;
  done_.notify_all();
}

}  // namespace mpool::names
