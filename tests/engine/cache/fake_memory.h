// The memory of a machine, for tests of the reaper.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include <sys/eventfd.h>

#include "engine/base/aligned_buffer.h"
#include "engine/cache/memory.h"

namespace mpool::test {

// Counts the looks; its alarm is an eventfd of the test.
struct FakeMemory {
  std::mutex mutex;
  std::condition_variable changed;
  unsigned reads = 0;
  std::uint64_t pages = 0;  // available
  int alarm = -1;
  std::string cgroup;

  void await_reads(unsigned count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return reads >= count; });
  }
};

class FakeSource final : public MemorySource {
 public:
  explicit FakeSource(FakeMemory& memory) : memory_(memory) {}
  MemoryInfo read() override {
    const std::lock_guard lock(memory_.mutex);
    ++memory_.reads;
    memory_.changed.notify_all();
    return {.limit = 0, .available = memory_.pages * kPageSize};
  }
  std::unique_ptr<MemoryAlarm> make_alarm(MemoryAlarm::Callback callback) const override {
    FileDescriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    memory_.alarm = event.get();
    return std::make_unique<MemoryAlarm>(
        std::move(event), FileDescriptor(::eventfd(0, EFD_CLOEXEC)), std::move(callback));
  }

 private:
  FakeMemory& memory_;
};

}  // namespace mpool::test
