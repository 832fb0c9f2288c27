#include "fuse/transport/transport.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <deque>
#include <exception>
#include <fstream>
#include <latch>
#include <mutex>
#include <ranges>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/names/namespace.h"
#include "engine/pool/pool.h"
#include "fuse/ops/attributes.h"
#include "fuse/runtime/reactor.h"
#include "fuse/transport/cpus.h"
#include "fuse/transport/dev_queue.h"
#include "fuse/transport/dispatcher.h"
#include "fuse/transport/uring_queue.h"

namespace mpoolfs {

namespace {

constexpr const char* kUringSwitch = "/sys/module/fuse/parameters/enable_uring";

constexpr unsigned kCatchUpRounds = 4;

// A CPU's thread, with the queues it serves.
struct Core {
  // A function to run on the thread, also several times. A thread may wait for it on `done`, which
  // is counted down if it is not run, too.
  struct Call final : mpool::RingOperation {
    Call(Reactor& owner, std::function<void()> what) : reactor(owner), run(std::move(what)) {}
    void completed(std::int32_t) noexcept override {
      try {
        run();
      } catch (const std::exception& error) {
        reactor.fail(error);
      }
      abandoned();
    }
    void abandoned() noexcept override {
      if (done != nullptr) done->count_down();
    }
    Reactor& reactor;
    const std::function<void()> run;
    std::latch* done = nullptr;
  };

  Core(unsigned home, const Reactor::Config& config) : cpu(home), reactor(config) {
    reactor.on_idle([this] { trim(); });
  }

  void call(std::function<void()> what) {
    const std::lock_guard lock(calls_mutex);
    reactor.post(calls.emplace_back(reactor, std::move(what)), 0);
  }
  void trim() const {
    if (dev) dev->trim();
    for (const auto& queue : uring)
      queue->trim();
  }
  void close() const {
    if (dev) dev->close();
    for (const auto& queue : uring)
      queue->close();
  }

  // On the thread: begins the requests that the kernel has sent. An answer makes the kernel pass on
  // a request that has waited for an entry: several rounds.
  void catch_up() {
    for (unsigned round = 0; round < kCatchUpRounds; ++round) {
      reactor.ring().poll();
      const bool found = reactor.ring().run_completions() > 0;
      if (!(dev && dev->read_all()) && !found) return;
    }
  }

  // On the thread: the core takes over the queue and starts it.
  void take(std::shared_ptr<DevQueue> queue) {
    call([this, taken = std::move(queue)] {
      dev = taken;
      dev->start();
    });
  }

  const unsigned cpu;
  Call catching_up{reactor, [this] { catch_up(); }};
  std::mutex calls_mutex;
  std::deque<Call> calls;
  mpool::FileDescriptor fuse;  // a clone, when the core reads /dev/fuse and is not the first
  std::shared_ptr<DevQueue> dev;
  std::vector<std::unique_ptr<UringQueue>> uring;
  Reactor reactor;  // destroyed first: its operations in flight point to the other members
};

}  // namespace

std::optional<std::string> why_no_uring() {
  std::ifstream file(kUringSwitch);
  std::string value;
  if (!(file >> value)) return "this kernel's FUSE has no io_uring; Linux 6.14 or later has it";
  if (value == "Y" || value == "1") return std::nullopt;
  return fmt::format(
      "FUSE-over-io_uring is switched off: `echo Y > {}` (as root) switches it on for mounts made "
      "from then on",
      kUringSwitch);
}

struct Transport::Impl {
  Impl(fuse_session* session, const mpool::Pool& pool, mpool::Namespace& names,
       TransportChoice wanted, bool want_passthrough, unsigned workers, Events wanted_events)
      : fd(fuse_session_fd(session)),
        choice(wanted),
        events(std::move(wanted_events)),
        logger(pool.logger()),
        dispatcher(session, fd, workers, logger, pool.metrics(), pool.clock()) {
    make_cores(names);
    if (choice != TransportChoice::dev) {
      const auto why = why_no_uring();
      if (why) {
        not_uring = *why;
      } else {
        make_uring_queues();
      }
    }
    dispatcher.on_init({.uring = uring_queues > 0, .passthrough = want_passthrough},
                       [this](Extensions taken) { try_init_answered(taken); });
    // The first core reads /dev/fuse in any case. Allocations come before the threads.
    set_non_blocking();
    std::shared_ptr<DevQueue> first = make_dev_queue(*cores.front(), fd);
    for (const auto& core : cores)
      core->reactor.start([this](const std::string& why) { events.ended(why); });
    cores.front()->take(std::move(first));
  }

  ~Impl() {
    for (const auto& core : cores) {
      core->call([&core = *core] { core.close(); });
      core->reactor.stop();
    }
    for (const auto& core : cores)
      core->reactor.join();
    dispatcher.finish();
  }

  void make_cores(mpool::Namespace& names);
  void make_uring_queues();
  void set_non_blocking() const;
  std::shared_ptr<DevQueue> make_dev_queue(Core& core, int descriptor);
  void try_init_answered(Extensions taken) noexcept;
  void init_answered(Extensions taken);
  void register_queues(Core& core);
  void refused(int error);
  void do_without_uring(const std::string& why);
  void read_dev_everywhere();
  void notify_ready(const char* name, unsigned queues);

  const int fd;
  const TransportChoice choice;
  const Events events;
  const mpool::Logger logger;
  Dispatcher dispatcher;
  std::vector<std::unique_ptr<Core>> cores;
  unsigned uring_queues = 0;
  std::string not_uring;                    // the reason, unless it is used or dev was requested
  std::atomic<bool> passthrough = false;    // accepted by the kernel
  std::atomic<std::size_t> registered = 0;  // cores whose queues the kernel has
  std::atomic<bool> was_refused = false;
  std::mutex catch_up_mutex;  // of Core::catching_up; held while the cores run it
};

void Transport::Impl::make_cores(mpool::Namespace& names) {
  const std::vector<unsigned> cpus = allowed_cpus();
  const auto group = std::make_shared<ReactorGroup>(cpus.size(), names.make_io_group(cpus.size()));
  for (const unsigned cpu : cpus) {
    Reactor::Config config;
    config.name = fmt::format("mpoolfs-cpu{}", cpu);
    config.home = cpu;
    config.group = group;
    config.logger = logger;
    cores.push_back(std::make_unique<Core>(cpu, config));
  }
}

// Makes a queue for each possible CPU, on that CPU's thread where there is one.
void Transport::Impl::make_uring_queues() {
  const std::size_t count = possible_cpus().size();
  for (std::size_t number = 0; number < count; ++number) {
    const auto own = std::ranges::find(cores, number, &Core::cpu);
    const bool elsewhere = own == cores.end();
    Core& core = elsewhere ? *cores[number % cores.size()] : **own;
    const mpool::Tunables::Requests& limits = core.reactor.tunables().requests;
    const UringQueue::Config config{
        .fd = fd,
        .number = static_cast<std::uint16_t>(number),
        .entries = elsewhere ? limits.entries_elsewhere : limits.entries,
        .payload_size = kMaxRequestSize};
    core.uring.push_back(std::make_unique<UringQueue>(dispatcher, core.reactor, config));
  }
  uring_queues = static_cast<unsigned>(count);
}

void Transport::Impl::set_non_blocking() const {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    mpool::raise_system(errno, "/dev/fuse", "fcntl");
  }
}

std::shared_ptr<DevQueue> Transport::Impl::make_dev_queue(Core& core, int descriptor) {
  const DevQueue::Config config{.fd = descriptor,
                                .slots = core.reactor.tunables().requests.entries,
                                .payload_size = kMaxRequestSize};
  return std::make_shared<DevQueue>(dispatcher, core.reactor, config, [this](int error) {
    events.ended(error == 0 ? "" : "/dev/fuse: read: " + mpool::errno_text(error));
  });
}

// Called on a reactor's thread, which must not end by an exception: the mount ends in order
// instead.
void Transport::Impl::try_init_answered(Extensions taken) noexcept {
  try {
    init_answered(taken);
  } catch (const std::exception& error) {
    events.ended(fmt::format("requests cannot be served: {}", error.what()));
  }
}

void Transport::Impl::init_answered(Extensions taken) {
  passthrough = taken.passthrough;
  if (taken.uring) {
    for (const auto& core : cores)
      core->call([this, &core = *core] { register_queues(core); });
  } else if (choice == TransportChoice::dev) {
    read_dev_everywhere();
  } else {
    do_without_uring(uring_queues == 0
                         ? not_uring
                         : "the kernel does not offer FUSE-over-io_uring for this mount");
  }
}

void Transport::Impl::register_queues(Core& core) {
  for (const auto& queue : core.uring)
    queue->register_entries([this](int error) { refused(error); });
  // A refusal completes at once.
  core.reactor.ring().submit();
  core.reactor.ring().run_completions();
  if (!was_refused && ++registered == cores.size()) notify_ready("uring", uring_queues);
}

// After the first refusal the kernel uses /dev/fuse, unless each queue had an entry before: such
// entries are served in any case.
void Transport::Impl::refused(int error) {
  if (was_refused.exchange(true)) return;
  const std::string why = "the kernel refuses FUSE-over-io_uring (its log may say more: dmesg): " +
                          mpool::errno_text(error);
  if (choice == TransportChoice::automatic) logger.warn("{}; using /dev/fuse", why);
  do_without_uring(why);
}

void Transport::Impl::do_without_uring(const std::string& why) {
  if (choice == TransportChoice::uring) {
    events.ended("transport=uring: " + why + "; transport=auto mounts without it");
  } else {
    not_uring = why;
    read_dev_everywhere();
  }
}

void Transport::Impl::read_dev_everywhere() {
  unsigned queues = 1;  // that of the first core
  for (const auto& core : cores | std::views::drop(1)) {
    try {
      core->fuse = clone_fuse(fd);
      core->take(make_dev_queue(*core, core->fuse.get()));
      ++queues;
    } catch (const std::exception& error) {
      logger.warn("one thread less for requests: {}", error.what());
    }
  }
  notify_ready("dev", queues);
}

void Transport::Impl::notify_ready(const char* name, unsigned queues) {
  events.ready({.name = name,
                .reason = not_uring,
                .queues = queues,
                .threads = static_cast<unsigned>(cores.size()),
                .max_write = kMaxRequestSize,
                .passthrough = passthrough});
}

Transport::Transport(fuse_session* session, const mpool::Pool& pool, mpool::Namespace& names,
                     TransportChoice choice, bool passthrough, unsigned workers, Events events)
    : impl_(std::make_unique<Impl>(session, pool, names, choice, passthrough, workers,
                                   std::move(events))) {}

Transport::~Transport() = default;

void Transport::catch_up() {
  const std::lock_guard lock(impl_->catch_up_mutex);
  std::latch done(static_cast<std::ptrdiff_t>(impl_->cores.size()));
  for (const auto& core : impl_->cores) {
    core->catching_up.done = &done;
    core->reactor.post(core->catching_up, 0);
  }
  done.wait();
}

}  // namespace mpoolfs
