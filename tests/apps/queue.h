// A queue of records for several processes that use one mounted pool (tests/apps/README.md, "The
// queue").
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tests/apps/errors.h"

namespace apps {

// The ids of the queue's state: all that programs have to know.
struct QueueId {
  std::array<std::uint64_t, 2> state{};
};

struct QueueOptions {
  std::size_t segment_bytes = std::size_t{64} << 10;  // used of a segment, until the next
  std::size_t state_bytes = std::size_t{16} << 10;    // used of the state, until it is compacted
  std::size_t max_segments = 8;                       // with records
};

// Each process has one of its own, and may be killed at any time. Threads: one at a time.
// Errors: CallError; the queue is as before the call, or after it.
class Queue {
 public:
  static QueueId create(const std::string& pool);

  // `lock_file`: any file, the same for all processes.
  Queue(const std::string& pool, const QueueId& id, const std::string& lock_file,
        const QueueOptions& options);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // Durable on return. False: the queue is full.
  bool push(const std::string& record);
  // The oldest record is given to `take`, and is not there any more, durable on return. If the
  // process is killed in between, the next pop gives it again. False: the queue is empty.
  bool pop(const std::function<void(const std::string& record)>& take);

  struct Stats {
    std::uint64_t pushed = 0;  // records, since it was made
    std::uint64_t popped = 0;
    std::size_t segments = 0;  // with records
    std::size_t free_segments = 0;
  };
  Stats stats();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace apps
