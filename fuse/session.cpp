#include "fuse/session.h"

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <iterator>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "engine/cache/reaper.h"
#include "engine/io/event_signal.h"
#include "engine/io/file_descriptor.h"
#include "fuse/control/control_ops.h"
#include "fuse/control/control_tree.h"
#include "fuse/mount_flags.h"
#include "fuse/mount_table.h"
#include "fuse/native/native_reads.h"
#include "fuse/native/read_ahead.h"
#include "fuse/ops/notifier.h"
#include "fuse/ops/operations.h"
#include "fuse/ops/served_files.h"
#include "fuse/transport/transport.h"

namespace mpoolfs {

namespace {

// Bytes: large sequential reads must be requested long before they are needed.
constexpr std::size_t kReadAhead = std::size_t{8192} << 10;

struct DestroySession {
  void operator()(fuse_session* session) const { fuse_session_destroy(session); }
};
using SessionPointer = std::unique_ptr<fuse_session, DestroySession>;

// libfuse has one log function for the process, without an argument, and reports why it cannot
// mount only there. While a thread mounts, what it is told becomes part of its exception; the
// messages of other threads, perhaps of another mount, do not: hence one for each thread.
thread_local bool collecting_messages = false;
thread_local std::string last_library_message;

struct CollectMessages {
  CollectMessages() { collecting_messages = true; }
  ~CollectMessages() { collecting_messages = false; }
};

spdlog::level::level_enum to_level(fuse_log_level level) {
  if (level <= FUSE_LOG_ERR) return spdlog::level::err;
  if (level == FUSE_LOG_WARNING) return spdlog::level::warn;
  return level == FUSE_LOG_DEBUG ? spdlog::level::debug : spdlog::level::info;
}

[[gnu::format(printf, 2, 0)]] void log_of_library(fuse_log_level level, const char* format,
                                                  va_list arguments) {
  char text[512];
  std::vsnprintf(text, sizeof text, format, arguments);
  std::string_view message = text;
  while (message.ends_with('\n'))
    message.remove_suffix(1);
  if (level <= FUSE_LOG_ERR && collecting_messages) {
    last_library_message = message;
  } else {
    // Messages that belong to no mount. main() has set where they go.
    spdlog::log(to_level(level), "{}", message);
  }
}

// The library does not know these.
bool is_symlink_flag(std::string_view option) {
  return option == "nosymfollow" || option == "symfollow";
}

// Must not be called before the mount exists, nor while requests are answered: the kernel sends no
// request for this.
void apply_symlink_flags(const Options& options) {
  const unsigned long flags = apply_mount_flags(default_mount_flags(), options.mount_flags);
  if ((flags & kNoSymbolicLinks) == 0) return;
  if (::mount(nullptr, options.mount_point.c_str(), nullptr, MS_REMOUNT | MS_BIND | flags,
              nullptr) != 0) {
    mpool::raise_system(errno, options.mount_point, "mount option nosymfollow");
  }
}

// The library's own form of mount options. A comma inside a value is escaped.
std::string mount_arguments(const Options& options) {
  char* joined = nullptr;
  auto add = [&](const std::string& option) {
    if (fuse_opt_add_opt_escaped(&joined, option.c_str()) != 0) throw std::bad_alloc();
  };
  add("fsname=" + options.source);
  add("subtype=mpoolfs");
  add("default_permissions");
  if (options.allow_other.value_or(::geteuid() == 0)) add("allow_other");
  for (const std::string& option : options.mount_flags) {
    if (!is_symlink_flag(option)) add(option);
  }
  std::string arguments = joined;
  std::free(joined);
  return arguments;
}

SessionPointer new_session(FileSystem& file_system, const Options& options) {
  const std::string mount_options = mount_arguments(options);
  fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
  const bool added = fuse_opt_add_arg(&arguments, "mpoolfs") == 0 &&
                     fuse_opt_add_arg(&arguments, "-o") == 0 &&
                     fuse_opt_add_arg(&arguments, mount_options.c_str()) == 0 &&
                     (!options.debug || fuse_opt_add_arg(&arguments, "-d") == 0);
  if (!added) throw std::bad_alloc();
  SessionPointer session(fuse_session_new(&arguments, &operations_with_control(),
                                          sizeof(fuse_lowlevel_ops), &file_system));
  fuse_opt_free_args(&arguments);
  if (session == nullptr) mpool::raise(EINVAL, "fuse", "{}", last_library_message);
  return session;
}

void mount_session(fuse_session* session, const std::string& mount_point) {
  errno = 0;
  if (fuse_session_mount(session, mount_point.c_str()) == 0) return;
  const int code = errno != 0 ? errno : EIO;
  mpool::raise(code, mount_point, "mounting failed: {}",
               last_library_message.empty() ? mpool::errno_text(code) : last_library_message);
}

// "MAJOR:MINOR" of the mount just made. Read from the mount table: a request of the daemon to its
// own mount would hang if the daemon is killed while it waits for its own answer.
std::string device_of(const std::string& mount_point) {
  const auto entry = find_mount(read_mounts(), mount_point);
  return entry ? entry->device : std::string();
}

sigset_t end_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP})
    ::sigaddset(&signals, signal);
  return signals;
}

// The end of a mount: by one of the signals, or by the transport.
class MountEvents {
 public:
  MountEvents() {
    const sigset_t signals = end_signals();
    signals_ = mpool::FileDescriptor(::signalfd(-1, &signals, SFD_CLOEXEC));
    if (!signals_) mpool::raise_system(errno, "signals", "cannot be waited for");
  }

  void ready(const TransportInfo& info) {
    const std::lock_guard lock(mutex_);
    ready_ = info;
    event_.raise();
  }

  // `why`: empty for a normal end. The first reason is kept.
  void end(const std::string& why) {
    const std::lock_guard lock(mutex_);
    if (why_.empty()) why_ = why;
    ended_ = true;
    event_.raise();
  }

  // Blocks until ready(); nullopt when the mount ends before.
  std::optional<TransportInfo> wait_ready() {
    wait_event();
    const std::lock_guard lock(mutex_);
    if (!ended_ && ready_) event_.clear();
    return ended_ ? std::nullopt : ready_;
  }

  // Blocks until end() or a signal; returns the reason.
  std::string wait_end() {
    wait_event();
    const std::lock_guard lock(mutex_);
    return why_;
  }

 private:
  void wait_event() const {
    pollfd watched[] = {{.fd = event_.descriptor(), .events = POLLIN, .revents = 0},
                        {.fd = signals_.get(), .events = POLLIN, .revents = 0}};
    while (::poll(watched, std::size(watched), -1) < 0 && errno == EINTR) {
    }
  }

  mpool::EventSignal event_;  // raised for each of ready() and end()
  mpool::FileDescriptor signals_;
  std::mutex mutex_;  // guards what follows
  std::optional<TransportInfo> ready_;
  bool ended_ = false;
  std::string why_;
};

}  // namespace

void block_end_signals() {
  const sigset_t signals = end_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

void ignore_write_signals() {
  for (const int signal : {SIGPIPE, SIGXFSZ})
    ::signal(signal, SIG_IGN);
}

struct Session::Impl {
  FileSystem& file_system;
  const Options& options;
  SharedTransportInfo& transport;
  SessionPointer session;
  std::string device;  // of the mount, "MAJOR:MINOR"
  // Shared with the engine's callbacks, which may arrive after the end of the session.
  std::shared_ptr<Notifier> notifier;
  std::optional<ServedFiles> served;

  Impl(FileSystem& files, const Options& mount_options, SharedTransportInfo& info)
      : file_system(files), options(mount_options), transport(info) {
    if (options.transport == TransportChoice::uring) {
      if (const auto why = why_no_uring()) mpool::raise(ENOTSUP, "transport=uring", "{}", *why);
    }
    fuse_set_log_func(log_of_library);
    {
      const CollectMessages collect;
      session = new_session(files, options);
      mount_session(session.get(), options.mount_point);
    }
    try {
      apply_symlink_flags(options);
      device = device_of(options.mount_point);
      start_notifier();
    } catch (...) {
      fuse_session_unmount(session.get());
      throw;
    }
  }

  ~Impl() {
    file_system.names.events().advised.set(nullptr);
    file_system.reaper.stop();
    file_system.native.stop();
    notifier->finish();
    fuse_session_unmount(session.get());
    notifier->join();
    file_system.served = nullptr;
    file_system.notifier = nullptr;
  }

  void start_notifier() {
    notifier = std::make_shared<Notifier>(session.get(), file_system.pool.logger(),
                                          file_system.pool.clock());
    file_system.notifier = notifier.get();
    served.emplace(file_system.reaper, file_system.names, *notifier);
    file_system.served = &*served;
    file_system.names.events().advised.set(
        [this](mpool::InodeNumber inode, std::string_view value) { advised(inode, value); });
    file_system.names.events().committed.set(
        [target = notifier](mpool::InodeNumber inode) { target->content_committed(inode); });
    file_system.names.events().create_failed.set([target = notifier](mpool::InodeNumber parent,
                                                                     const std::string& name,
                                                                     mpool::InodeNumber inode) {
      target->name_removed(parent, name, inode);
    });
  }

  // Throws when mounting has failed after all.
  void mounted(const TransportInfo& info, const std::function<void()>& ready) {
    transport.set(info);
    file_system.native.start(info.passthrough);
    ready();
    file_system.pool.log().info("pool {}: mounted on {}, transport {}, {} queues on {} threads{}{}",
                                options.pool, options.mount_point, info.name, info.queues,
                                info.threads, info.reason.empty() ? "" : ": ", info.reason);
    // Only possible once the kernel has processed the answer to INIT.
    notifier->post([device = device, logger = file_system.pool.logger()] {
      set_read_ahead(device, kReadAhead, logger);
    });
    file_system.reaper.on_read_ahead_cut([this](mpool::ReadAheadCut cut) { cut_read_ahead(cut); });
  }

  // Of an inode that need not be tracked.
  void advised(mpool::InodeNumber inode, std::string_view value) {
    const auto advice = mpool::parse_advice(value).value_or(mpool::Advice::cold);
    file_system.native.set_advice(inode, advice);
    served->set_advice(inode, advice);
    file_system.reaper.note_use();
  }

  // Read-ahead is that of the mount and its views, whatever the advice of a file.
  void cut_read_ahead(mpool::ReadAheadCut cut) {
    const std::size_t few = file_system.reaper.policy().few_pages * mpool::kPageSize;
    const bool cuts = cut != mpool::ReadAheadCut::none;
    file_system.native.set_read_ahead(cuts ? few : View::kReadAhead);
    set_read_ahead(device, cuts ? few : kReadAhead, file_system.pool.logger());
  }
};

Session::Session(FileSystem& file_system, const Options& options, SharedTransportInfo& transport)
    : impl_(std::make_unique<Impl>(file_system, options, transport)) {}

Session::~Session() = default;

void Session::run(const std::function<void()>& ready) {
  MountEvents events;
  mpool::Namespace& names = impl_->file_system.names;
  impl_->file_system.native.prepare(fuse_session_fd(impl_->session.get()));
  Transport transport(impl_->session.get(), impl_->file_system.pool, names,
                      impl_->options.transport, impl_->file_system.native.wanted(),
                      impl_->options.workers,
                      {.ready = [&](const TransportInfo& info) { events.ready(info); },
                       .ended = [&](const std::string& why) { events.end(why); }});
  ControlTree& control = *impl_->file_system.control;
  const auto catch_up = [&transport] { transport.catch_up(); };
  names.events().catch_up.set(catch_up);
  control.on_settle(catch_up);
  // Not on a thread of the transport: native reads wait for the journal, which waits for these.
  std::string why;
  try {
    if (const auto info = events.wait_ready()) impl_->mounted(*info, ready);
    why = events.wait_end();
  } catch (const std::exception& error) {
    why = error.what();
  }
  control.on_settle(nullptr);
  names.events().catch_up.set(nullptr);
  if (!why.empty()) mpool::raise(EIO, impl_->options.mount_point, "{}", why);
}

}  // namespace mpoolfs
