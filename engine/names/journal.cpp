#include "engine/names/journal.h"

#include <algorithm>
#include <array>
#include <iterator>
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

// Of the capacity of the MDC, in percent: what changes may fill, and what those may that free
// space.
constexpr std::uint64_t kFillPercent = 85;
constexpr std::uint64_t kFillFreeingPercent = 95;
// A tree that fills the MDC is compacted again only when this part of the capacity was written
// since: else every name refused would cost the writing of all of them.
constexpr std::uint64_t kWorthwhileDivisor = 1024;
// A compaction that was under way when room was asked for may have begun too early for it.
constexpr int kCompactionAttempts = 2;

// While a compacted log is read at mount, its records are held back only until the next BATCH.
constexpr std::size_t kSnapshotBatch = 4096;

// Bounds what one batch holds back from those who wait for its first change.
constexpr std::size_t kMaxBatchBytes = 1u << 20;
constexpr std::size_t kMaxBatchChanges = 1024;

Nanoseconds wall_clock() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Journal::Journal(Pool& pool, Mdc& mdc, Options options, Owner owner)
    : pool_(pool),
      mdc_(mdc),
      options_(std::move(options)),
      owner_(std::move(owner)),
      hold_deletes_(options_.hold_deletes),
      held_(options_.held),
      batch_number_(options_.first_batch),
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

bool Journal::has_room(std::size_t record_size, bool frees) const {
  const std::lock_guard lock(mutex_);
  return failure_.empty() && room(frees) >= size_in_log(record_size);
}

bool Journal::worth_compacting() const {
  const std::uint64_t written = mdc_.used() + queued_bytes_ - used_when_compacted_;
  return written > mdc_.capacity() / kWorthwhileDivisor;
}

void Journal::make_room(std::size_t record_size, bool frees) {
  const std::uint64_t needed = size_in_log(record_size);
  std::unique_lock lock(mutex_);
  check_failed();
  for (int attempt = 0; attempt < kCompactionAttempts && room(frees) < needed; ++attempt) {
    if (!frees && !worth_compacting()) break;
    const std::uint64_t mine = compactions_done_ + 1;
    compactions_wanted_ = std::max(compactions_wanted_, mine);
    work_.notify_one();
    done_.wait(lock, [&] { return compactions_done_ >= mine || !failure_.empty(); });
    check_failed();
  }
  if (room(frees) >= needed) return;
  raise(ENOSPC, "pool " + pool_.name(),
        "the root MDC of {} bytes has no room for more names: delete files, or make the pool anew "
        "with a larger one",
        mdc_.capacity());
}

Journal::Ticket Journal::add(Change change) {
  const std::lock_guard lock(mutex_);
  return add_locked(std::move(change));
}

Journal::Ticket Journal::add_locked(Change change) {
  if (!failure_.empty()) {
    queue_.push_back(std::move(change));  // as in lost_
    check_failed();
  }
  queued_bytes_ += size_in_log(change.record.size());
  queue_.push_back(std::move(change));
  ++added_;
  if (DeferredWrite::many()) wanted_ = added_;
  if (!oldest_ || wanted_ == added_) {
    oldest_ = oldest_.value_or(Clock::now());
    work_.notify_one();
  }
  return added_;
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

void Journal::sync() {
  std::unique_lock lock(mutex_);
  const Ticket last = added_;
  std::uint64_t round = 0;
  // Logs that an earlier round is at are waited for, too.
  if (logs_dirty_ || log_syncs_begun_ > log_syncs_done_) {
    round = log_syncs_begun_ + 1;
    log_syncs_wanted_ = std::max(log_syncs_wanted_, round);
  }
  wanted_ = std::max(wanted_, last);
  work_.notify_one();
  const auto done = [&] { return written_ >= last && log_syncs_done_ >= round; };
  done_.wait(lock, [&] { return done() || !failure_.empty(); });
  if (!done()) check_failed();
}

Journal::Ticket Journal::written() const {
  const std::lock_guard lock(mutex_);
  return written_;
}

std::uint64_t Journal::lost_changes() const {
  const std::lock_guard lock(mutex_);
  return failure_.empty() ? 0 : added_ - written_;
}

void Journal::hold_deletes(bool hold) {
  // What a compaction is to record is either held or queued.
  const Gate gate = open_gate();
  const std::lock_guard lock(mutex_);
  hold_deletes_ = hold;
  if (hold || held_.empty() || !failure_.empty()) return;
  add_locked({.record = {}, .mblocks = {}, .mlog = {}, .deletes = std::exchange(held_, {})});
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
    return stopping_ || compactions_wanted_ > compactions_done_ || wanted_ > written_ ||
           log_syncs_wanted_ > log_syncs_done_;
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
    logs = log_syncs_wanted_ > log_syncs_done_ ||
           (logs_dirty_ && Clock::now() - *logs_dirty_ >= options_.interval);
    if (logs) {
      logs_dirty_.reset();
      ++log_syncs_begun_;
    }
  }
  if (compaction) compact();
  Batch batch = take_batch();
  write(batch);
  if (logs) sync_logs();
}

void Journal::sync_logs() {
  owner_.write_logs();
  owner_.make_logs_durable({});
  const std::lock_guard lock(mutex_);
  log_syncs_done_ = log_syncs_begun_;
  done_.notify_all();
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
    work_.wait(lock, [&] { return stopping_; });
    return;
  }
}

void Journal::fail(const std::exception& error) {
  spdlog::error("pool {}: writing the named tree failed, it is read-only from here on: {}",
                pool_.name(), error.what());
  const std::lock_guard lock(mutex_);
  const std::string_view text = error.what();
  failure_ = text.empty() ? "unknown failure" : text;
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
  std::uint64_t bytes = 0;
  try {
    flush_content(batch);
    bytes = append_records(batch);
    // They pin their mlogs.
    for (Change& change : batch.changes)
      change.log_size.reset();
    commit_objects(batch);
    remove_objects(batch);
  } catch (...) {
    lost_.push_back(std::move(batch));
    throw;
  }
  {
    const std::lock_guard lock(mutex_);
    queued_bytes_ -= std::min(queued_bytes_, bytes);
    written_ = batch.last;
    done_.notify_all();
  }
  owner_.written(batch.last);
}

// The content of the batch's objects, and what was appended to logs before its changes were queued:
// no change is on the media without the appends that came before it.
void Journal::flush_content(const Batch& batch) {
  const bool has_records = std::ranges::any_of(
      batch.changes, [](const Change& change) { return !change.record.empty(); });
  if (has_records) owner_.write_logs();
  std::array<bool, kMediaClassCount> written{};
  for (const Change& change : batch.changes) {
    for (const auto& mblock : change.mblocks) {
      if (mblock->deferred()) mblock->deferred()->write_out();
      written[static_cast<std::size_t>(mblock->finish().media_class)] = true;
    }
  }
  std::vector<Device*> flushed;
  for (const MediaClass media_class : {MediaClass::staging, MediaClass::capacity}) {
    if (!written[static_cast<std::size_t>(media_class)]) continue;
    flushed.push_back(&pool_.device(media_class));
    flushed.back()->flush();
  }
  if (has_records) owner_.make_logs_durable(flushed);
}

// Returns what the batch counted for in queued_bytes_.
std::uint64_t Journal::append_records(const Batch& batch) {
  std::uint64_t bytes = 0;
  std::optional<Mdc::Ticket> ticket;
  for (const Change& change : batch.changes) {
    bytes += size_in_log(change.record.size());
    if (change.record.empty()) continue;
    // Its device failed, or it is deleted by a change that follows.
    if (const auto& size = change.log_size; size && !size->log->are_durable(size->appends)) {
      owner_.log_size_left_out(size->inode);
      continue;
    }
    if (!ticket) append_mark();
    ticket = mdc_.append(change.record);
  }
  if (ticket) mdc_.sync(*ticket);
  return bytes;
}

// Begins a new batch on the media: the one before it is complete.
Mdc::Ticket Journal::append_mark() {
  const Mdc::Ticket ticket = mdc_.append(
      encode({wall_clock(), BatchRecord{batch_number_++, promised_inode(owner_.next_inode())}}));
  last_commits_.clear();
  return ticket;
}

void Journal::commit_objects(const Batch& batch) {
  std::vector<ObjectRecord> commits;
  for (const Change& change : batch.changes) {
    for (const auto& mblock : change.mblocks)
      commits.push_back(mblock->finish());
    if (change.mlog) commits.push_back(*change.mlog);
  }
  if (commits.empty()) return;
  pool_.commit(commits);
  for (const Change& change : batch.changes) {
    for (const auto& mblock : change.mblocks)
      mblock->release();
  }
  for (const ObjectRecord& object : commits)
    last_commits_.insert(object.id);
  owner_.committed(commits);
}

void Journal::remove_objects(const Batch& batch) {
  std::vector<ObjectId> deletes;
  for (const Change& change : batch.changes) {
    // An object can be missing only where the media lost it: its name is gone all the same.
    std::ranges::copy_if(change.deletes, std::back_inserter(deletes),
                         [&](ObjectId object) { return pool_.find(object).has_value(); });
  }
  if (deletes.empty() || hold_back(deletes)) return;
  // A mount that finds an object of the last batch missing takes the batch for incomplete: before
  // one of those is deleted the batch must be followed by another.
  if (std::ranges::any_of(deletes,
                          [&](ObjectId object) { return last_commits_.contains(object); })) {
    mdc_.sync(append_mark());
  }
  pool_.remove(deletes);
}

// False when they are to be deleted now.
bool Journal::hold_back(const std::vector<ObjectId>& deletes) {
  const std::lock_guard lock(mutex_);
  if (hold_deletes_) held_.insert(held_.end(), deletes.begin(), deletes.end());
  return hold_deletes_;
}

// The records of the tree, and of what no name in it tells of any more.
std::vector<std::vector<std::byte>> Journal::snapshot() {
  std::vector<std::vector<std::byte>> records = owner_.snapshot();
  const std::lock_guard lock(mutex_);
  if (!held_.empty()) records.push_back(encode({0, OrphanRecord{held_}}));
  return records;
}

void Journal::compact() {
  std::vector<std::vector<std::byte>> records;
  {
    const std::unique_lock gate(gate_);
    for (Batch batch = take_batch(); !batch.changes.empty(); batch = take_batch())
      write(batch);
    records = snapshot();
  }
  try {
    mdc_.compact([&](const Mdc::Append& append) {
      const auto mark = [&] {
        append(encode(
            {wall_clock(), BatchRecord{batch_number_, promised_inode(owner_.next_inode())}}));
      };
      for (std::size_t i = 0; i < records.size(); ++i) {
        append(records[i]);
        if ((i + 1) % kSnapshotBatch == 0) mark();
      }
      mark();
    });
    ++batch_number_;
    last_commits_.clear();
  } catch (const Error& error) {
    // The tree does not fit: the old log stays in force, and make_room() finds no room.
    if (error.code() != EFBIG) throw;
  }
  const std::lock_guard lock(mutex_);
  used_when_compacted_ = mdc_.used();
  compactions_done_ = compactions_wanted_;
  done_.notify_all();
}

}  // namespace mpool::names
