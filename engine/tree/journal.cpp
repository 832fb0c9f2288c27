#include "engine/tree/journal.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "engine/base/error.h"

namespace mpool::names {

Journal::Journal(References& references, RootLog& log, Options options, Owner owner)
    : references_(references),
      pool_(references.pool()),
      clock_(pool_.clock()),
      log_(log),
      mdc_(log.mdc()),
      options_(options),
      owner_(std::move(owner)),
      numbers_(pool_.metrics()),
      batch_number_(options_.first_batch),
      thread_([this] { run(); }) {}

Journal::~Journal() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wanted_ = queue_.last();
  }
  work_.notify_one();
  thread_.join();
}

void Journal::check_failed() const {
  if (has_failed()) {
    raise(EIO, "pool " + pool_.name(), "the named tree cannot be changed any more: {}", reason_);
  }
}

void Journal::enter(Condition next) {
  assert(!has_failed());
  assert(next != Condition::retrying || is_stalled());
  condition_ = next;
}

Journal::Ticket Journal::add(Change change, Placeholder* placeholder) {
  const std::lock_guard lock(mutex_);
  if (has_failed()) {
    keep_failed({&change, 1});
    refused_.push_back(std::move(change));
    check_failed();
  }
  // NOLINTNEXTLINE(bugprone-use-after-move): check_failed() has thrown
  queued_bytes_ += size_in_log(change.record.size());
  const Ticket ticket = queue_.add(std::move(change), placeholder);
  note_added();
  return ticket;
}

void Journal::note_added() {
  if (pool_.write_memory().should_write_out()) wanted_ = queue_.last();
  if (oldest_ && wanted_ != queue_.last()) return;
  oldest_ = oldest_.value_or(clock_.now());
  work_.notify_one();
}

Journal::SharedPlaceholder Journal::add_placeholder() {
  const std::lock_guard lock(mutex_);
  return has_failed() ? nullptr : queue_.add_placeholder();
}

void Journal::expect(Placeholder& placeholder) {
  const std::lock_guard lock(mutex_);
  queue_.expect(placeholder);
}

void Journal::close_placeholder(Placeholder& placeholder) {
  const std::lock_guard lock(mutex_);
  queue_.close(placeholder);
  work_.notify_one();
}

// Returns when done(); throws when that is impossible, or impossible before there is room.
template <typename Done>
void Journal::wait_until(std::unique_lock<std::mutex>& lock, Done done) {
  const std::uint64_t before = stalls_;
  request_retry();
  const auto stalled = [&] { return stalls_ > before && is_stalled(); };
  done_.wait(lock, [&] { return done() || stalled() || has_failed(); });
  if (done()) return;
  check_failed();
  raise_stalled();
}

void Journal::raise_stalled() const {
  raise(ENOSPC, "pool " + pool_.name(), "{}", reason_);
}

void Journal::wait(Ticket ticket) {
  std::unique_lock lock(mutex_);
  wait_locked(lock, ticket);
}

void Journal::wait_all() {
  std::unique_lock lock(mutex_);
  wait_locked(lock, queue_.last());
}

void Journal::wait_for_room() {
  std::unique_lock lock(mutex_);
  const WaitForRoom waiting(*this);
  wait_locked(lock, queue_.last());
}

void Journal::wait_locked(std::unique_lock<std::mutex>& lock, Ticket ticket) {
  if (ticket > wanted_) {
    wanted_ = ticket;
    work_.notify_one();
  }
  wait_until(lock, [&] { return written_ >= ticket; });
}

void Journal::sync() {
  std::unique_lock lock(mutex_);
  const Ticket last = queue_.last();
  std::uint64_t round = 0;
  // Also waits for logs of a pass in progress.
  if (logs_dirty_ || log_syncs_begun_ > log_syncs_done_) {
    round = log_syncs_begun_ + 1;
    log_syncs_wanted_ = std::max(log_syncs_wanted_, round);
  }
  wanted_ = std::max(wanted_, last);
  work_.notify_one();
  const auto done = [&] { return written_ >= last && log_syncs_done_ >= round; };
  wait_until(lock, done);
}

Journal::Ticket Journal::written() const {
  const std::lock_guard lock(mutex_);
  return written_;
}

std::uint64_t Journal::lost_changes() const {
  const std::lock_guard lock(mutex_);
  return has_failed() ? queue_.size() + failed_changes_ : 0;
}

void Journal::set_deletes(References::Deletes deletes) {
  // A compaction records what waits.
  const ChangeBarrier barrier = enter_change();
  references_.set_deletes(deletes);
  if (deletes != References::Deletes::held) queue_deletes();
}

void Journal::delete_unheld() {
  if (references_.waiting().empty()) return;
  const ChangeBarrier barrier = enter_change();
  queue_deletes();
}

// Called with the change barrier.
void Journal::queue_deletes() {
  const std::lock_guard lock(mutex_);
  if (has_failed()) return;
  // The next batch deletes it.
  queue_.add({});
  note_added();
}

void Journal::want_log_sync() {
  const std::lock_guard lock(mutex_);
  if (logs_dirty_) return;
  logs_dirty_ = clock_.now();
  work_.notify_one();
}

// Returns when there is work; false when the journal ends. Without changes it is never woken.
bool Journal::wait_for_work(std::unique_lock<std::mutex>& lock) {
  const auto urgent = [&] {
    if (stopping_) return true;
    if (is_stalled()) return condition_ == Condition::retrying;
    return compactions_wanted_ > compactions_done_ || wanted_ > written_ ||
           log_syncs_wanted_ > log_syncs_done_;
  };
  while (!urgent()) {
    if (is_stalled()) {
      const Clock::Time due = clock_.now() + pool_.tunables().journal.retry_interval;
      if (!clock_.wait_until(work_, lock, due, urgent)) break;
      continue;
    }
    if (!oldest_ && !logs_dirty_) {
      work_.wait(lock);
      continue;
    }
    const auto first =
        std::min(oldest_.value_or(Clock::Time::max()), logs_dirty_.value_or(Clock::Time::max()));
    clock_.wait_until(work_, lock, first + options_.interval);
    if (clock_.now() >= first + options_.interval) break;
  }
  return !stopping_ || queue_.size() != 0 || is_stalled();
}

// One round: a compaction if requested, a batch, the logs if they are due. A batch that waits for
// room comes first.
void Journal::work() {
  bool compaction;
  bool logs;
  bool last;
  {
    const std::lock_guard lock(mutex_);
    last = stopping_;
    compaction = compactions_wanted_ > compactions_done_;
    logs = log_syncs_wanted_ > log_syncs_done_ ||
           (logs_dirty_ && clock_.now() - *logs_dirty_ >= options_.interval);
    if (logs) {
      logs_dirty_.reset();
      ++log_syncs_begun_;
    }
  }
  if (compaction) compact();
  const Ticket limit = ask_for_expected();
  {
    std::unique_lock lock(mutex_);
    wait_for_expected(lock, limit);
  }
  Batch batch = take_batch(limit);
  const bool written = write(batch);
  if (logs) sync_logs();
  const std::lock_guard lock(mutex_);
  if (!written && last) raise_stalled();
  if (compaction_is_due()) {
    compactions_wanted_ = std::max(compactions_wanted_, compactions_done_ + 1);
  }
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
    if (!has_failed()) continue;
    work_.wait(lock, [&] { return stopping_; });
    return;
  }
}

void Journal::fail(const std::exception& error) {
  pool_.log().error("pool {}: writing the named tree failed, it is read-only from here on: {}",
                    pool_.name(), error.what());
  const std::lock_guard lock(mutex_);
  const std::string_view text = error.what();
  enter(Condition::failed);
  reason_ = text.empty() ? "unknown failure" : text;
  for (const Batch& batch : failed_batches_)
    failed_changes_ += batch.changes.size();
  if (stalled_batch_) failed_changes_ += stalled_batch_->changes.size();
  compactions_done_ = compactions_wanted_;
  done_.notify_all();
}

// Changes that come before the position returned are there, or expected.
Journal::Ticket Journal::ask_for_expected() {
  Ticket last;
  {
    const std::lock_guard lock(mutex_);
    last = queue_.last();
    if (!queue_.has_placeholders()) return last;
  }
  owner_.catch_up();
  return last;
}

bool Journal::must_wait_for_expected(Ticket last) const {
  return waiting_for_room_ == 0 && queue_.is_expecting(last);
}

void Journal::wait_for_expected(std::unique_lock<std::mutex>& lock, Ticket last) {
  work_.wait(lock, [&] { return !must_wait_for_expected(last); });
}

Journal::Batch Journal::take_batch(Ticket limit) {
  if (stalled_batch_) return *std::exchange(stalled_batch_, std::nullopt);
  const std::lock_guard lock(mutex_);
  const Tunables::Journal& limits = pool_.tunables().journal;
  ChangeQueue::Taken taken = queue_.take(limit, limits.max_batch_bytes, limits.max_batch_changes);
  if (queue_.size() == 0) oldest_.reset();
  return {.changes = std::move(taken.changes), .last = taken.last};
}

// False when it found no room, and is kept for a retry.
bool Journal::write(Batch& batch) {
  try {
    if (!batch.changes.empty()) {
      const Clock::Time begun = clock_.now();
      write_stages(batch);
      numbers_.durations.record(clock_.now() - begun);
      numbers_.batches.add();
      numbers_.changes.add(batch.changes.size());
    }
  } catch (const Error& error) {
    if (may_pass(batch, error)) {
      stall(std::move(batch), error);
      return false;
    }
    keep_failed(batch.changes);
    failed_batches_.push_back(std::move(batch));
    throw;
  } catch (...) {
    keep_failed(batch.changes);
    failed_batches_.push_back(std::move(batch));
    throw;
  }
  std::uint64_t bytes = 0;
  for (const Change& change : batch.changes)
    bytes += size_in_log(change.record.size());
  {
    const std::lock_guard lock(mutex_);
    queued_bytes_ -= std::min(queued_bytes_, bytes);
    written_ = batch.last;
    if (is_stalled()) enter(Condition::writing);
    done_.notify_all();
  }
  owner_.written(batch.last);
  return true;
}

void Journal::keep_failed(std::span<const Change> changes) {
  std::vector<ObjectId> objects;
  for (const Change& change : changes) {
    for (const SealedMblock& mblock : change.mblocks)
      objects.push_back(mblock.object.id);
    if (change.mlog) objects.push_back(change.mlog->id);
  }
  references_.keep_failed(objects);
}

// True if a failed batch can be retried: there was no room, and nothing else failed. If half of its
// records were in the log, they would be there twice.
bool Journal::may_pass(const Batch& batch, const Error& error) const {
  if (error.code() != ENOSPC || batch.stage == Stage::records) return false;
  return std::ranges::all_of(pool_.classes(), [this](MediaClass media_class) {
    return pool_.class_info(media_class).online;
  });
}

void Journal::stall(Batch batch, const Error& error) {
  stalled_batch_ = std::move(batch);
  const std::lock_guard lock(mutex_);
  if (!is_stalled()) {
    pool_.log().error("pool {}: what was written waits for room: {}", pool_.name(), error.what());
  }
  enter(Condition::stalled);
  reason_ = error.what();
  ++stalls_;
  done_.notify_all();
}

void Journal::request_retry() {
  if (!is_stalled()) return;
  enter(Condition::retrying);
  work_.notify_one();
}

// While a batch waits for room: returns after another attempt.
void Journal::await_retry(std::unique_lock<std::mutex>& lock) {
  if (!is_stalled()) return;
  const std::uint64_t before = stalls_;
  request_retry();
  done_.wait(lock, [&] { return !is_stalled() || stalls_ > before; });
}

}  // namespace mpool::names
