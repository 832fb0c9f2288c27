// The kernel's notice that memory is short.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "engine/io/event_signal.h"
#include "engine/io/file_descriptor.h"

namespace mpool {

// One thread, which sleeps without a time limit until the kernel reclaims memory while the alarm is
// set.
//
// Threads: all functions may be called at the same time, except the destructor.
class MemoryAlarm {
 public:
  // Called on the alarm's thread, without locks, at most once for each set().
  using Callback = std::function<void()>;

  // Of a memory cgroup of v1: by memory.pressure_level. Null where the kernel has none.
  static std::unique_ptr<MemoryAlarm> of_cgroup1(const std::string& path, Callback callback);
  // By pressure stall information: of a cgroup (memory.pressure), or of the machine
  // (/proc/pressure/memory). Null where the kernel has it switched off.
  static std::unique_ptr<MemoryAlarm> of_stalls(const std::string& file, Callback callback);

  // `source`: an eventfd, or a file with a trigger. `watched`: what must stay open.
  MemoryAlarm(FileDescriptor source, FileDescriptor watched, Callback callback);
  ~MemoryAlarm();
  MemoryAlarm(const MemoryAlarm&) = delete;
  MemoryAlarm& operator=(const MemoryAlarm&) = delete;

  void set();

 private:
  void run();

  const FileDescriptor source_;
  const FileDescriptor watched_;
  const Callback callback_;
  const EventSignal wake_;
  std::mutex mutex_;  // a leaf
  bool set_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mpool
