#include "engine/pool/mdc_choice.h"

#include <algorithm>
#include <utility>

namespace mpool {
namespace {

// Credits of the MDC with the most room.
constexpr std::uint64_t kCredits = 16;
// Minimum room of an MDC to be chosen: the largest record of an object with its descriptor.
constexpr std::uint64_t kMinRoom = 64;

}  // namespace

MdcChoice::MdcChoice(std::size_t count, std::function<std::uint64_t(std::size_t)> room)
    : room_(std::move(room)), credits_(count) {}

void MdcChoice::grow(std::size_t count) {
  const std::lock_guard lock(mutex_);
  credits_.resize(count);
  deal();
}

bool MdcChoice::deal() {
  std::vector<std::uint64_t> rooms(credits_.size());
  for (std::size_t i = 0; i < rooms.size(); ++i)
    rooms[i] = room_(i);
  const std::uint64_t most = rooms.empty() ? 0 : *std::ranges::max_element(rooms);
  left_ = 0;
  for (std::size_t i = 0; i < rooms.size(); ++i) {
    credits_[i] = rooms[i] < kMinRoom ? 0
                                      : static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
                                            rooms[i] / (most / kCredits + 1), 1, kCredits));
    left_ += credits_[i];
  }
  return left_ != 0;
}

std::optional<std::size_t> MdcChoice::choose() {
  const std::lock_guard lock(mutex_);
  // The credits may be out of date: an MDC found full now loses its credits.
  for (bool dealt = false;;) {
    if (left_ == 0) {
      if (dealt || !deal()) return std::nullopt;
      dealt = true;
    }
    while (left_ != 0) {
      const std::size_t index = std::exchange(next_, (next_ + 1) % credits_.size());
      if (credits_[index] == 0) continue;
      if (room_(index) < kMinRoom) {
        left_ -= std::exchange(credits_[index], 0);
        continue;
      }
      --credits_[index];
      --left_;
      return index;
    }
  }
}

}  // namespace mpool
