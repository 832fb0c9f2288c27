// Evicts pages of committed content that are not used, before the kernel has to reclaim memory
// (engine/cache/README.md, "The reaper").
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/logger.h"
#include "engine/cache/cached_chunk.h"
#include "engine/cache/memory.h"
#include "engine/cache/reap_lists.h"
#include "engine/cache/reaper_settings.h"
#include "engine/jobs/job.h"

namespace mpool {

struct ReaperStats {
  ReapCounts counts;
  bool evicts = false;  // memory is short
  Clock::Duration ttl{};
  ReadAheadCut read_ahead_cut = ReadAheadCut::none;
  std::uint64_t free = 0;  // bytes: ReapPressure
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

// The job "reaper". It sleeps without a time limit while nothing is tracked, and while memory is
// not short and the tracked pages do not grow: then chunks that are added, note_use() or a
// MemoryAlarm wake it.
//
// Threads: all functions may be called at the same time, except the destructor.
class Reaper {
 public:
  // The source for ReaperSettings::cgroup; throws Error when there is no such cgroup.
  using MemoryOf = std::function<std::unique_ptr<MemorySource>(const std::string& cgroup)>;
  static std::unique_ptr<MemorySource> system_memory(const std::string& cgroup);

  // The scheduler must outlive it. Errors of the source.
  Reaper(JobScheduler& scheduler, ReaperSettings settings, const ReaperPolicy& policy = {},
         MemoryOf memory_of = system_memory, Logger logger = {});
  ~Reaper() { stop(); }
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  const ReaperPolicy& policy() const { return policy_; }

  // Called often; they do not block.
  void add(std::vector<std::shared_ptr<CachedChunk>> chunks);
  void note_use();  // of a tracked chunk, or a change of its advice
  // As note_use(), for callers that change no more than counts of a chunk: takes no time while a
  // look is due anyway.
  void note_read() {
    if (!noted_) note_use();
  }

  // Called on the job's thread when the cut changes, without locks. Set before chunks are added.
  void on_read_ahead_cut(std::function<void(ReadAheadCut)> callback);

  // Completes a look in progress; afterwards no chunk is touched, nor the callback called.
  void stop();

  ReaperSettings settings() const;
  // By name (reaper_tunables()). EINVAL as apply(); ENOENT: there is no such cgroup.
  void set(std::string_view name, std::string_view value);
  ReaperStats stats() const;

 private:
  JobStep step(JobOrder order);
  void look(const ReaperSettings& settings);
  void log(const ReaperSettings& settings, const ReapCounts& before) const;

  const ReaperPolicy policy_;
  const MemoryOf memory_of_;
  const Logger logger_;
  ReapLists lists_;  // the job's
  ReadAheadCut told_ = ReadAheadCut::none;

  std::atomic<bool> noted_ = false;  // note_use() since the last look
  mutable std::mutex mutex_;         // a leaf; guards what follows
  ReaperSettings settings_;
  std::shared_ptr<MemorySource> memory_;
  std::shared_ptr<MemoryAlarm> alarm_;
  std::vector<std::shared_ptr<CachedChunk>> added_;
  std::function<void(ReadAheadCut)> on_cut_;
  ReaperStats stats_;

  std::optional<Job> job_;  // last: it ends before the members it uses
};

}  // namespace mpool
