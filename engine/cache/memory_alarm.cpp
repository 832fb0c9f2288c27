#include "engine/cache/memory_alarm.h"

#include <array>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

namespace mpool {

namespace {

// Tasks that waited for memory for 0.1 s in 2 s.
constexpr std::string_view kTrigger = "some 100000 2000000";

FileDescriptor open_for(const std::string& path, int flags) {
  return FileDescriptor(::open(path.c_str(), flags | O_CLOEXEC));
}

bool write_text(const FileDescriptor& file, std::string_view text) {
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace

std::unique_ptr<MemoryAlarm> MemoryAlarm::of_cgroup1(const std::string& path, Callback callback) {
  FileDescriptor level = open_for(path + "/memory.pressure_level", O_RDONLY);
  const FileDescriptor control = open_for(path + "/cgroup.event_control", O_WRONLY);
  EventSignal event;
  if (!level || !write_text(control, fmt::format("{} {} low", event.descriptor(), level.get()))) {
    return nullptr;
  }
  return std::make_unique<MemoryAlarm>(std::move(event).release(), std::move(level),
                                       std::move(callback));
}

std::unique_ptr<MemoryAlarm> MemoryAlarm::of_stalls(const std::string& file, Callback callback) {
  FileDescriptor trigger = open_for(file, O_RDWR | O_NONBLOCK);
  if (!write_text(trigger, kTrigger)) return nullptr;
  return std::make_unique<MemoryAlarm>(std::move(trigger), FileDescriptor(), std::move(callback));
}

MemoryAlarm::MemoryAlarm(FileDescriptor source, FileDescriptor watched, Callback callback)
    : source_(std::move(source)), watched_(std::move(watched)), callback_(std::move(callback)) {
  thread_ = std::thread([this] { run(); });
}

MemoryAlarm::~MemoryAlarm() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.raise();
  thread_.join();
}

void MemoryAlarm::set() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(set_, true)) return;
  }
  wake_.raise();
}

void MemoryAlarm::run() {
  ::pthread_setname_np(::pthread_self(), "memory-alarm");
  bool failed = false;  // the cgroup is gone
  while (true) {
    bool armed = false;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      armed = set_ && !failed;
    }
    // What an eventfd holds from before set() counts as well: memory was short meanwhile.
    std::array<pollfd, 2> watched{{{.fd = wake_.descriptor(), .events = POLLIN, .revents = 0},
                                   {.fd = armed ? source_.get() : -1,
                                    .events = static_cast<short>(watched_ ? POLLIN : POLLPRI),
                                    .revents = 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0) continue;
    if (watched[0].revents != 0) wake_.clear();
    if (watched[1].revents == 0) continue;
    failed = (watched[1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
    if (failed) continue;
    if (watched_) EventSignal::clear(source_);
    {
      const std::lock_guard lock(mutex_);
      set_ = false;
    }
    callback_();
  }
}

}  // namespace mpool
