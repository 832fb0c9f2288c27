// One thread with one ring: it answers requests that need no blocking.
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

#include "engine/base/logger.h"
#include "engine/base/tunables.h"
#include "engine/file/file_io.h"
#include "engine/io/event_signal.h"
#include "engine/io/io_ring.h"

namespace mpoolfs {

// Decides whether polling for completions without sleeping has paid off recently. A sleeping core
// takes longer to wake than a fast device to complete; for a slow device polling wastes CPU time.
class SpinBudget {
 public:
  // Polls and waits for the ring last as long as the device and the kernel take, whatever the clock
  // of the pool says.
  using Clock = std::chrono::steady_clock;

  // As Tunables::Spinning.
  SpinBudget(int max_credit, unsigned probe_every)
      : max_credit_(max_credit), probe_every_(probe_every) {}

  // Whether to poll now; occasionally true also when polling has not paid off.
  bool should_spin() noexcept;
  void record_result(bool found) noexcept;

 private:
  const int max_credit_;
  const unsigned probe_every_;
  int credit_ = max_credit_;
  unsigned skipped_ = 0;
};

// State shared by the reactors of a mount.
struct ReactorGroup {
  ReactorGroup(std::size_t reactors, std::unique_ptr<mpool::FileIoGroup> shared_io)
      : count(reactors), io(std::move(shared_io)) {}
  const std::size_t count;
  std::atomic<std::size_t> loaded = 0;  // number of reactors with high load
  const std::unique_ptr<mpool::FileIoGroup> io;
};

// The CPU on which the thread runs. Home is the CPU whose requests it serves. The thread runs at
// home while requests come one at a time (the CPU is awake and has the data in its caches), or when
// all reactors have high load. With many requests in flight from one CPU it runs on any allowed
// CPU, since the reader keeps its own CPU busy.
//
// Threads: post() and stop() from any; everything else on the reactor's own thread, or before
// start().
class Reactor {
 public:
  struct Config {
    std::string name;                     // of the thread, at most 15 characters
    std::optional<unsigned> home;         // CPU whose requests it serves
    std::shared_ptr<ReactorGroup> group;  // shared with the other reactors of the mount
    mpool::Logger logger{};
    unsigned submissions = 256;  // as IoRing
    unsigned completions = 4096;
  };
  // Creates the ring; Error as IoRing.
  explicit Reactor(const Config& config);
  // Stops and joins.
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  // Starts the thread. It calls `failed` when the ring fails: no request is answered any more.
  // Writes that are answered already or in progress then fail unless they complete within
  // kFailureTime.
  void start(std::function<void(const std::string& why)> failed);
  static constexpr std::chrono::seconds kFailureTime{2};
  // On the thread: reports that the ring accepts no more operations, where that cannot be thrown.
  void fail(const std::exception& error) noexcept;
  // Ends the thread as soon as no operation is in flight; all operations prepared on its ring are
  // submitted first.
  void stop();
  void join();

  // Calls operation.completed(result) on the reactor's thread, soon, or abandoned() if the thread
  // ends before or has ended. Allocates no memory unless more than kMailReserve operations are
  // queued.
  void post(mpool::RingOperation& operation, std::int32_t result);

  mpool::IoRing& ring() noexcept { return ring_; }
  mpool::FileIo& io() noexcept { return io_; }
  // Counts requests that a worker has: the thread does not end while there are any, so that each is
  // answered.
  void work_started() noexcept { ++at_work_; }
  void work_ended() noexcept { --at_work_; }
  // The kernel copies this many bytes on this thread: load that the number of completions does not
  // show. It counts when it delays other requests.
  void note_copied(std::size_t bytes) noexcept {
    if (io_.pending() > 0) copied_ += bytes;
  }
  // Called when the thread has been idle for Requests::idle_time, once per busy period.
  void on_idle(std::function<void()> callback) { idle_ = std::move(callback); }
  const mpool::Tunables& tunables() const { return tunables_; }
  const mpool::Logger& logger() const { return config_.logger; }

 private:
  // Wakes this thread from other threads, by event_.
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
  void end_mail() noexcept;
  // Device I/O in progress for any requester, and requests that workers have.
  std::size_t in_flight() const { return io_.pending() + io_.background() + at_work_; }
  bool spin();
  void yield();
  void sleep();
  bool drain_mailbox();
  void place(unsigned handled);
  void set_loaded(bool loaded);
  void set_affinity(bool home);

  const Config config_;
  const mpool::Tunables& tunables_ = config_.group->io->tunables();
  mpool::IoRing ring_;
  mpool::FileIo io_{ring_, *config_.group->io, [this](auto& operation) { post(operation, 0); }};
  mpool::EventSignal event_;
  Wakeup wakeup_{*this};
  SpinBudget budget_;
  SpinBudget yield_budget_;
  unsigned at_work_ = 0;
  std::function<void()> idle_;
  bool idle_due_ = false;

  cpu_set_t everywhere_{};
  bool at_home_ = false;
  std::size_t load_ = 0;    // recent completions per round, times Placement::rounds
  std::size_t copied_ = 0;  // bytes, since the last round
  bool loaded_ = false;

  std::mutex mail_mutex_;
  using Mail = std::vector<std::pair<mpool::RingOperation*, std::int32_t>>;
  Mail mail_;            // guarded by mail_mutex_
  bool asleep_ = false;  // guarded by mail_mutex_, as is the next
  bool ended_ = false;
  std::atomic<bool> has_mail_ = false;
  Mail taken_;           // in processing
  std::string failure_;  // why the ring failed
  bool failed_ = false;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace mpoolfs
