// Which MDC a new object goes to.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

namespace mpool {

// Spreads objects over MDCs in proportion to the room in each, so that all fill at the same time:
// every MDC has credits in that proportion, each choice in turn takes one, and when all are gone
// they are dealt again.
//
// Threads: all functions may be called at the same time; the lock is a leaf.
// Cost: the room of each MDC is asked for once in a round of at least as many choices as MDCs have
// the most room.
class MdcChoice {
 public:
  // `room` tells the room in bytes of MDC `index`, 0..count-1; it takes no lock.
  MdcChoice(std::size_t count, std::function<std::uint64_t(std::size_t)> room);

  // There are more MDCs now, `count` in all; their share is dealt at once.
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
