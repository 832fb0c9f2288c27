// How much memory the page cache can have.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/cache/memory_alarm.h"

namespace mpool {

struct MemoryInfo {
  std::uint64_t limit = 0;      // bytes of the machine or cgroup
  std::uint64_t available = 0;  // bytes of it that the page cache can have, or has
};

// Threads: all functions may be called at the same time.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  // Blocks on no device. Errors: Error, when the files of the kernel cannot be read.
  virtual MemoryInfo read() = 0;
  // Null: the kernel gives no notice when memory gets short.
  virtual std::unique_ptr<MemoryAlarm> make_alarm(MemoryAlarm::Callback callback) const = 0;
};

// Of a memory cgroup (v1 or v2), or of the machine.
class SystemMemory final : public MemorySource {
 public:
  // `cgroup`: its path, such as /sys/fs/cgroup/memory/db; empty: that of this process where it, or
  // one above it, has a limit, otherwise the machine. `root`: in front of /proc and /sys, for
  // tests. ENOENT: there is no such memory cgroup.
  explicit SystemMemory(const std::string& cgroup, std::string root = {});

  MemoryInfo read() override;
  std::unique_ptr<MemoryAlarm> make_alarm(MemoryAlarm::Callback callback) const override;

 private:
  void find_own();
  bool has_limit(const std::string& path) const;
  MemoryInfo read_machine() const;

  const std::string root_;
  std::string cgroup_;  // below root_
  bool v1_ = false;
};

}  // namespace mpool
