#include "engine/cache/memory_alarm.h"

#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/error.h"

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

FileDescriptor new_event() {
  return FileDescriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

void drain(const FileDescriptor& event) {
  std::uint64_t value = 0;
  if (::read(event.get(), &value, sizeof value) < 0 && errno != EAGAIN)
    raise_system(errno, "eventfd", "read");
}

}  // namespace

std::unique_ptr<MemoryAlarm> MemoryAlarm::of_cgroup1(const std::string& path, Callback callback) {
  FileDescriptor level = open_for(path + "/memory.pressure_level", O_RDONLY);
  const FileDescriptor control = open_for(path + "/cgroup.event_control", O_WRONLY);
  FileDescriptor event = new_event();
  if (!level || !event || !write_text(control, fmt::format("{} {} low", event.get(), level.get())))
    return nullptr;
  return std::make_unique<MemoryAlarm>(std::move(event), std::move(level), std::move(callback));
}

std::unique_ptr<MemoryAlarm> MemoryAlarm::of_stalls(const std::string& file, Callback callback) {
  FileDescriptor trigger = open_for(file, O_RDWR | O_NONBLOCK);
  if (!write_text(trigger, kTrigger)) return nullptr;
  return std::make_unique<MemoryAlarm>(std::move(trigger), FileDescriptor(), std::move(callback));
}

MemoryAlarm::MemoryAlarm(FileDescriptor source, FileDescriptor watched, Callback callback)
    : source_(std::move(source)),
      watched_(std::move(watched)),
      callback_(std::move(callback)),
      wake_(new_event()) {
  if (!wake_) raise_system(errno, "eventfd", "cannot be made");
  thread_ = std::thread([this] { run(); });
}

MemoryAlarm::~MemoryAlarm() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake();
  thread_.join();
}

void MemoryAlarm::set() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(set_, true)) return;
  }
  wake();
}

void MemoryAlarm::wake() const {
  const std::uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof one) < 0 && errno != EAGAIN)
    raise_system(errno, "eventfd", "write");
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
    std::array<pollfd, 2> watched{{{.fd = wake_.get(), .events = POLLIN, .revents = 0},
                                   {.fd = armed ? source_.get() : -1,
                                    .events = static_cast<short>(watched_ ? POLLIN : POLLPRI),
                                    .revents = 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0) continue;
    if (watched[0].revents != 0) drain(wake_);
    if (watched[1].revents == 0) continue;
    failed = (watched[1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
    if (failed) continue;
    if (watched_) drain(source_);
    {
      const std::lock_guard lock(mutex_);
      set_ = false;
    }
    callback_();
  }
}

}  // namespace mpool
