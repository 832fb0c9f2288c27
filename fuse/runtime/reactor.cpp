#include "fuse/runtime/reactor.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>

#include <pthread.h>
#include <sched.h>

#include "engine/base/error.h"
#include "engine/base/metrics.h"

namespace mpoolfs {

bool SpinBudget::should_spin() noexcept {
  if (credit_ > 0) return true;
  if (++skipped_ < probe_every_) return false;
  skipped_ = 0;
  return true;
}

void SpinBudget::record_result(bool found) noexcept {
  if (found) {
    credit_ = std::min(credit_ + 2, max_credit_);
  } else {
    credit_ = std::max(credit_ - 1, 0);
  }
}

Reactor::Reactor(const Config& config)
    : config_(config),
      ring_(config.submissions, config.completions, tunables_.submission),
      budget_(tunables_.spinning.max_credit, tunables_.spinning.probe_every),
      yield_budget_(tunables_.spinning.max_credit, tunables_.spinning.yield_probe_every) {
  CPU_ZERO(&everywhere_);
  ::sched_getaffinity(0, sizeof everywhere_, &everywhere_);
  mail_.reserve(kMailReserve);
  taken_.reserve(kMailReserve);
}

Reactor::~Reactor() {
  stop();
  join();
}

void Reactor::start(std::function<void(const std::string& why)> failed) {
  thread_ = std::thread([this, failed = std::move(failed)] {
    const mpool::OwnRow counts;
    ::pthread_setname_np(::pthread_self(), config_.name.c_str());
    try {
      ring_.enable();
      set_affinity(true);
      run();
    } catch (const std::exception& error) {
      fail(error);
      end_failed();
      failed(failure_);
    }
    end_mail();
  });
}

void Reactor::fail(const std::exception& error) noexcept {
  if (std::exchange(failed_, true)) return;
  try {
    failure_ = error.what();
  } catch (const std::bad_alloc&) {
    // It failed nevertheless.
  }
}

// Submitted I/O may still reach the device, on zones that become free with the failure: wait for
// its end as long as the ring delivers completions.
void Reactor::end_failed() noexcept {
  const auto end = SpinBudget::Clock::now() + kFailureTime;
  while (io_.pending() + io_.background() > 0 && SpinBudget::Clock::now() < end) {
    try {
      ring_.poll();
      if (ring_.run_completions() > 0) continue;
    } catch (const std::exception&) {
      // The next completions may arrive even if submission fails.
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  io_.abandon(EIO);
}

void Reactor::stop() {
  stopping_.store(true, std::memory_order_release);
  event_.raise();
}

void Reactor::join() {
  if (thread_.joinable()) thread_.join();
}

void Reactor::post(mpool::RingOperation& operation, std::int32_t result) {
  bool ended = false;
  bool wake = false;
  {
    const std::lock_guard lock(mail_mutex_);
    ended = ended_;
    if (!ended) {
      mail_.emplace_back(&operation, result);
      has_mail_.store(true, std::memory_order_release);
      wake = std::exchange(asleep_, false);
    }
  }
  if (ended) operation.abandoned();
  if (wake) event_.raise();
}

void Reactor::end_mail() noexcept {
  {
    const std::lock_guard lock(mail_mutex_);
    ended_ = true;
    taken_.swap(mail_);
  }
  for (const auto& [operation, result] : taken_)
    operation->abandoned();
}

void Reactor::Wakeup::arm() {
  io_uring_prep_read(&reactor.ring_.prepare(*this), reactor.event_.descriptor(), &value,
                     sizeof value, 0);
}

// The kernel cancels the last one when the thread ends.
void Reactor::Wakeup::completed(std::int32_t) noexcept {
  try {
    arm();
  } catch (const std::exception& error) {
    reactor.fail(error);
  }
}

bool Reactor::drain_mailbox() {
  if (!has_mail_.load(std::memory_order_acquire)) return false;
  {
    const std::lock_guard lock(mail_mutex_);
    taken_.swap(mail_);
    has_mail_.store(false, std::memory_order_relaxed);
  }
  for (const auto& [operation, result] : taken_)
    operation->completed(result);
  const bool found = !taken_.empty();
  taken_.clear();
  return found;
}

void Reactor::run() {
  wakeup_.arm();
  const auto has_ended = [this] {
    return stopping_.load(std::memory_order_acquire) && in_flight() == 0;
  };
  while (!has_ended()) {
    unsigned handled = ring_.run_completions();
    if (drain_mailbox()) ++handled;
    place(handled);
    if (handled > 0) idle_due_ = true;
    if (failed_) mpool::raise(EIO, config_.name, "{}", failure_);
    // The event of stop() may have been consumed before the last request came back.
    if (!has_ended() && !spin()) sleep();
  }
  ring_.submit();
}

void Reactor::set_affinity(bool home) {
  cpu_set_t cpus = everywhere_;
  if (home && config_.home) {
    CPU_ZERO(&cpus);
    CPU_SET(*config_.home, &cpus);
  }
  // The CPU may have gone offline: then the thread stays where it can run.
  if (::sched_setaffinity(0, sizeof cpus, &cpus) != 0) {
    config_.logger.debug("{}: sched_setaffinity: {}", config_.name, mpool::errno_text(errno));
  }
  at_home_ = home;
}

void Reactor::place(unsigned handled) {
  if (handled == 0) return;
  const mpool::Tunables::Placement& limits = tunables_.placement;
  load_ +=
      handled + std::exchange(copied_, 0) / limits.copied_per_completion - load_ / limits.rounds;
  set_loaded(load_ > std::size_t{loaded_ ? limits.low_load : limits.high_load} * limits.rounds);
  const ReactorGroup& group = *config_.group;
  const bool home = !loaded_ || group.loaded.load(std::memory_order_relaxed) == group.count;
  if (home != at_home_) set_affinity(home);
}

void Reactor::set_loaded(bool loaded) {
  if (loaded == loaded_) return;
  loaded_ = loaded;
  if (loaded) {
    config_.group->loaded.fetch_add(1, std::memory_order_relaxed);
  } else {
    config_.group->loaded.fetch_sub(1, std::memory_order_relaxed);
  }
}

// A driver that works in a kernel thread, such as those of loop devices and encrypted devices, may
// have that thread on this CPU: it would be delayed until the polling ends. Other threads on this
// CPU keep it for long.
void Reactor::yield() {
  if (!yield_budget_.should_spin()) return;
  const auto begin = SpinBudget::Clock::now();
  ::sched_yield();
  yield_budget_.record_result(SpinBudget::Clock::now() - begin < tunables_.spinning.short_yield);
}

// True when there is work.
bool Reactor::spin() {
  const mpool::Tunables::Spinning& limits = tunables_.spinning;
  if (io_.pending() == 0 || io_.pending() > limits.max_transfers || !budget_.should_spin())
    return false;
  const auto end = SpinBudget::Clock::now() + limits.max_time;
  const auto look = [this] {
    ring_.poll();
    return ring_.run_completions() > 0 || drain_mailbox();
  };
  bool found = look();
  if (!found) yield();
  while (!found && SpinBudget::Clock::now() < end)
    found = look();
  budget_.record_result(found);
  if (found) idle_due_ = true;
  return found;
}

void Reactor::sleep() {
  {
    const std::lock_guard lock(mail_mutex_);
    if (!mail_.empty()) return;
    asleep_ = true;
  }
  if (idle_due_ && idle_ && in_flight() == 0) {
    if (!ring_.submit_and_wait(static_cast<int>(tunables_.requests.idle_time.count()))) {
      idle_due_ = false;
      load_ = 0;
      set_loaded(false);
      io_.trim();
      idle_();
    }
  } else {
    ring_.submit_and_wait();
  }
  const std::lock_guard lock(mail_mutex_);
  asleep_ = false;
}

}  // namespace mpoolfs
