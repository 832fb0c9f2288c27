// One thread with one ring: it answers what can be answered without waiting.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sched.h>

#include "engine/device/io_ring.h"
#include "fuse/reactor/event_signal.h"
#include "fuse/reactor/read_ahead.h"
#include "fuse/reactor/write_behind.h"

namespace mpoolfs {

// Whether looking for completions without sleeping has paid lately. A core that sleeps takes longer
// to wake than a fast device to answer; a slow device is not worth waiting for awake.
class SpinBudget {
 public:
  using Clock = std::chrono::steady_clock;

  // Longest time to look for a completion before sleeping: a disk of a virtual machine takes 50 to
  // 100 us for a page.
  static constexpr std::chrono::microseconds kLongest{150};

  // probe_every: how many times it is not tried, when it does not pay, between two tries.
  explicit SpinBudget(unsigned probe_every = kProbeEvery) : probe_every_(probe_every) {}

  // Whether to look now; every now and then also when it has not paid.
  bool worth_trying() noexcept;
  void tried(bool found) noexcept;

 private:
  static constexpr int kMostCredit = 32;
  static constexpr unsigned kProbeEvery = 64;

  const unsigned probe_every_;
  int credit_ = kMostCredit;
  unsigned skipped_ = 0;
};

// What the reactors of a mount share.
struct ReactorGroup {
  explicit ReactorGroup(std::size_t reactors) : count(reactors), fetched(reactors) {}
  const std::size_t count;
  std::atomic<std::size_t> loaded = 0;  // how many of them have much to do
  ReadAhead::Store fetched;
};

// Where the thread runs: at home, on the CPU whose requests it serves, as long as that CPU has
// nothing else to do while a request is under way (one reader at a time: the CPU is awake and has
// the data in its caches), or when all CPUs have as much to do as this one. With many requests in
// flight from one CPU it goes wherever there is room, as the reader keeps its own CPU busy.
//
// Threads: post() and stop() from any; everything else on the reactor's own thread, or before
// start().
class Reactor {
 public:
  struct Config {
    std::string name;                     // of the thread, at most 15 characters
    std::optional<unsigned> home;         // CPU whose requests it serves
    std::shared_ptr<ReactorGroup> group;  // of this reactor and the others of the mount
    unsigned submissions = 256;           // as IoRing
    unsigned completions = 4096;
  };
  // Makes the ring; Error as IoRing.
  explicit Reactor(const Config& config);
  // Stops and joins.
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  // Starts the thread. `failed` is called on it when the ring fails: nothing is answered any more,
  // and writes that are answered already, or under way, have failed where they are not done within
  // kFailureTime.
  void start(std::function<void(const std::string& why)> failed);
  static constexpr std::chrono::seconds kFailureTime{2};
  // On the thread: the ring takes nothing more, where that cannot be thrown.
  void fail(const std::exception& error) noexcept;
  // Lets the thread end as soon as nothing is in flight, with all that was prepared on its ring
  // submitted.
  void stop();
  void join();

  // Calls operation.completed(result) on the reactor's thread, soon. Needs no memory unless more
  // than kMailReserve wait.
  void post(mpool::RingOperation& operation, std::int32_t result);

  mpool::IoRing& ring() noexcept { return ring_; }
  WriteBehind& write_behind() noexcept { return write_behind_; }
  ReadAhead& read_ahead() noexcept { return read_ahead_; }
  // Requests whose device I/O is in flight: while there are any, the thread does not end.
  void transfer_started() noexcept { ++transfers_; }
  void transfer_ended() noexcept { --transfers_; }
  unsigned transfers() const noexcept { return transfers_; }
  // Requests that a worker has: while there are any, the thread does not end either, so that each
  // is answered.
  void work_started() noexcept { ++at_work_; }
  void work_ended() noexcept { --at_work_; }
  // The kernel copies so many bytes on this thread: work that does not show in the number of
  // completions. It counts when it keeps others waiting.
  void note_copied(std::size_t bytes) noexcept {
    if (transfers_ > 0) copied_ += bytes;
  }
  // Called when the thread has had nothing to do for kIdleTime, once per busy period.
  void on_idle(std::function<void()> callback) { idle_ = std::move(callback); }
  static constexpr std::chrono::milliseconds kIdleTime{500};

 private:
  // Other threads wake this one by event_.
  struct Wakeup final : mpool::RingOperation {
    explicit Wakeup(Reactor& owner) : reactor(owner) {}
    void completed(std::int32_t result) noexcept override;
    void arm();

    Reactor& reactor;
    std::uint64_t value = 0;
  };

  static constexpr std::size_t kMailReserve = 1024;

  void run();
  void end_failed() noexcept;
  // Device I/O under way, whoever waits for it, and requests that workers have.
  std::size_t in_flight() const {
    return transfers_ + at_work_ + write_behind_.pending() + read_ahead_.pending();
  }
  bool spin();
  void yield();
  void sleep();
  bool take_mail();
  void place(unsigned handled);
  void set_loaded(bool loaded);
  void set_affinity(bool home);

  const Config config_;
  mpool::IoRing ring_;
  WriteBehind write_behind_{ring_};
  ReadAhead read_ahead_{ring_, config_.group->fetched};
  EventSignal event_;
  Wakeup wakeup_{*this};
  SpinBudget budget_;
  // Yielding to somebody who needs the CPU for long costs more than all that it gains.
  SpinBudget yield_budget_{1024};
  unsigned transfers_ = 0;
  unsigned at_work_ = 0;
  std::function<void()> idle_;
  bool idle_due_ = false;

  cpu_set_t everywhere_{};
  bool at_home_ = false;
  std::size_t load_ = 0;    // completions per round lately, times kLoadWeight
  std::size_t copied_ = 0;  // bytes, since the last round
  bool loaded_ = false;

  std::mutex mail_mutex_;
  using Mail = std::vector<std::pair<mpool::RingOperation*, std::int32_t>>;
  Mail mail_;            // guarded by mail_mutex_
  bool asleep_ = false;  // guarded by mail_mutex_
  std::atomic<bool> has_mail_ = false;
  Mail taken_;           // being worked on
  std::string failure_;  // why the ring failed
  bool failed_ = false;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace mpoolfs
