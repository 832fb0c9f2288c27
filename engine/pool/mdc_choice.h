// Chooses the MDC of a new object.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

namespace mpool {

// Distributes objects over MDCs in proportion to the room in each, so that all become full at the
// same time. Each MDC has credits in that proportion; each choice in turn uses one; when all are
// used up, new credits are distributed.
//
// Threads: all functions may be called at the same time; the lock is a leaf.
// Cost: one query of the room of each MDC per round; a round has at least as many choices as there
// are MDCs with the most room.
class MdcChoice {
 public:
  // `room` returns the room in bytes of MDC `index`, 0..count-1; it takes no lock.
  MdcChoice(std::size_t count, std::function<std::uint64_t(std::size_t)> room);

  // MDCs were added, `count` is the new total; the new MDCs get their credits at once.
  void grow(std::size_t count);

  // The index of an MDC with room for at least one object; nullopt when all are full.
  std::optional<std::size_t> choose();

 private:
  bool deal();

  const std::function<std::uint64_t(std::size_t)> room_;
  std::mutex mutex_;
  std::vector<std::uint32_t> credits_;
  std::size_t next_ = 0;
  std::uint64_t left_ = 0;  // sum of credits_
};

}  // namespace mpool
