#include "engine/cache/reaper.h"

#include <utility>

#include "engine/base/error.h"

namespace mpool {

std::unique_ptr<MemorySource> Reaper::system_memory(const std::string& cgroup) {
  return std::make_unique<SystemMemory>(cgroup);
}

Reaper::Reaper(JobScheduler& scheduler, ReaperSettings settings, const ReaperPolicy& policy,
               MemoryOf memory_of, Logger logger)
    : policy_(policy),
      memory_of_(std::move(memory_of)),
      logger_(std::move(logger)),
      lists_(scheduler.clock(), policy),
      settings_(std::move(settings)),
      memory_(memory_of_(settings_.cgroup)) {
  job_.emplace(scheduler, JobOptions{.name = "reaper", .priority = JobPriority::high},
               [this](JobOrder order) { return step(order); });
  alarm_ = memory_->make_alarm([this] { note_use(); });
}

void Reaper::stop() {
  std::shared_ptr<MemoryAlarm> alarm;
  {
    const std::lock_guard lock(mutex_);
    alarm.swap(alarm_);
  }
  job_->stop();
}

void Reaper::add(std::vector<std::shared_ptr<CachedChunk>> chunks) {
  {
    const std::lock_guard lock(mutex_);
    added_.insert(added_.end(), std::make_move_iterator(chunks.begin()),
                  std::make_move_iterator(chunks.end()));
  }
  note_use();
}

void Reaper::note_use() {
  noted_ = true;
  job_->request(Clock::Duration(policy_.round) / policy_.lists);
}

void Reaper::on_read_ahead_cut(std::function<void(ReadAheadCut)> callback) {
  const std::lock_guard lock(mutex_);
  on_cut_ = std::move(callback);
}

ReaperSettings Reaper::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

void Reaper::set(std::string_view name, std::string_view value) {
  ReaperSettings changed = settings();
  apply(changed, name, value);
  std::shared_ptr<MemorySource> memory;
  std::shared_ptr<MemoryAlarm> alarm;
  if (changed.cgroup != settings().cgroup) {
    memory = memory_of_(changed.cgroup);
    alarm = memory->make_alarm([this] { note_use(); });
  }
  {
    const std::lock_guard lock(mutex_);
    apply(settings_, name, value);  // others may have changed meanwhile
    if (memory) {
      memory_.swap(memory);
      alarm_.swap(alarm);
    }
  }
  note_use();
}

ReaperStats Reaper::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

JobStep Reaper::step(JobOrder order) {
  // First: whatever was changed before a note is seen by this look, or by one that is requested.
  const bool noted = noted_.exchange(false);
  if (order == JobOrder::cancel) return {};
  try {
    if (noted) lists_.note_activity();
    look(settings());
  } catch (const std::exception& error) {
    logger_.error("reaper: {}", error.what());
  }
  return {};
}

void Reaper::look(const ReaperSettings& settings) {
  std::vector<std::shared_ptr<CachedChunk>> added;
  std::shared_ptr<MemorySource> memory;
  {
    const std::lock_guard lock(mutex_);
    added.swap(added_);
    memory = memory_;
  }
  for (std::shared_ptr<CachedChunk>& chunk : added)
    lists_.add(std::move(chunk));
  const ReapCounts before = lists_.counts();
  std::optional<Clock::Duration> next;
  // Without an end to what may be used there is nothing to do.
  if (settings.percent == 100) {
    lists_.clear();
  } else if (before.chunks > 0) {
    next = lists_.look(memory->read(), settings);
  }
  const ReapPressure& pressure = lists_.pressure();
  std::function<void(ReadAheadCut)> tell;
  std::shared_ptr<MemoryAlarm> alarm;
  {
    const std::lock_guard lock(mutex_);
    stats_ = {.counts = lists_.counts(),
              .evicts = pressure.evicts(),
              .ttl = pressure.ttl(),
              .read_ahead_cut = pressure.read_ahead_cut(),
              .free = pressure.free(),
              .low = pressure.low(),
              .high = pressure.high()};
    if (told_ != pressure.read_ahead_cut()) tell = on_cut_;
    if (!next && lists_.counts().chunks > 0) alarm = alarm_;
  }
  log(settings, before);
  told_ = pressure.read_ahead_cut();
  if (tell) tell(told_);
  if (next) job_->request(*next);
  if (alarm) alarm->set();
}

void Reaper::log(const ReaperSettings& settings, const ReapCounts& before) const {
  const ReapCounts& now = lists_.counts();
  const ReapPressure& pressure = lists_.pressure();
  unsigned level = now.evicted != before.evicted ? 2 : 3;
  if (pressure.read_ahead_cut() != told_) level = 1;
  if (settings.debug < level) return;
  logger_.info(
      "reaper: {} chunks, evicted {} pages, {} came back, free {} MiB, low {} MiB, ttl {} ms, "
      "read-ahead {}",
      now.chunks, now.evicted - before.evicted, now.over_evicted - before.over_evicted,
      pressure.free() >> 20, pressure.low() >> 20,
      std::chrono::duration_cast<std::chrono::milliseconds>(pressure.ttl()).count(),
      to_string(pressure.read_ahead_cut()));
}

}  // namespace mpool
