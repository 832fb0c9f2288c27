#include "engine/space/space_account.h"

#include <algorithm>
#include <cassert>

namespace mpool {

SpaceAccount::SpaceAccount(std::uint32_t total, unsigned spare_percent)
    : total_(total), percent_(std::min(spare_percent, 100u)) {
  divide();
}

void SpaceAccount::divide() {
  usable_ = static_cast<std::uint32_t>(std::uint64_t{total_} * (100 - percent_) / 100);
  spare_charged_ = std::min(spare_charged_, total_ - usable_);
}

SpaceAccount::Free SpaceAccount::free() const {
  const std::uint32_t occupied = used_ + pending_;
  const std::uint32_t usable_charged = occupied - spare_charged_;
  const std::uint32_t usable = usable_ - std::min(usable_, usable_charged);
  return {.usable = usable, .spare = total_ - occupied - usable};
}

bool SpaceAccount::fits(std::uint32_t count, SpacePolicy policy, Free free) {
  switch (policy) {
    case SpacePolicy::usable_only:
      return count <= free.usable;
    case SpacePolicy::spare_only:
      return count <= free.spare;
    case SpacePolicy::usable_then_spare:
    case SpacePolicy::spare_then_usable:
      return count <= std::uint64_t{free.usable} + free.spare;
  }
  return false;
}

std::uint32_t SpaceAccount::spare_part(std::uint32_t count, SpacePolicy policy, Free free) {
  switch (policy) {
    case SpacePolicy::usable_only:
      return 0;
    case SpacePolicy::usable_then_spare:
      return count - std::min(count, free.usable);
    case SpacePolicy::spare_only:
    case SpacePolicy::spare_then_usable:
      return std::min(count, free.spare);
  }
  return 0;
}

bool SpaceAccount::has_room(std::uint32_t count, SpacePolicy policy) const {
  const std::lock_guard lock(mutex_);
  return fits(count, policy, free());
}

bool SpaceAccount::charge(std::uint32_t count, SpacePolicy policy) {
  const std::lock_guard lock(mutex_);
  const Free now = free();
  if (!fits(count, policy, now)) return false;
  used_ += count;
  spare_charged_ += spare_part(count, policy, now);
  assert(spare_charged_ <= total_ - usable_);
  return true;
}

void SpaceAccount::charge_loaded(std::uint32_t count) {
  const std::lock_guard lock(mutex_);
  assert(count <= total_ - used_ - pending_);
  used_ += count;
}

void SpaceAccount::retire(std::uint32_t count) {
  const std::lock_guard lock(mutex_);
  assert(count <= used_);
  used_ -= count;
  pending_ += count;
}

void SpaceAccount::release(std::uint32_t count) {
  const std::lock_guard lock(mutex_);
  assert(count <= pending_);
  pending_ -= count;
  spare_charged_ -= std::min(spare_charged_, count);
}

void SpaceAccount::set_total(std::uint32_t total) {
  const std::lock_guard lock(mutex_);
  assert(total >= total_);
  total_ = total;
  divide();
}

void SpaceAccount::set_spare_percent(unsigned percent) {
  const std::lock_guard lock(mutex_);
  percent_ = std::min(percent, 100u);
  divide();
}

unsigned SpaceAccount::spare_percent() const {
  const std::lock_guard lock(mutex_);
  return percent_;
}

SpaceUsage SpaceAccount::usage() const {
  const std::lock_guard lock(mutex_);
  const Free now = free();
  return {.total = total_,
          .usable = usable_,
          .spare = total_ - usable_,
          .used = used_,
          .free_usable = now.usable,
          .free_spare = now.spare,
          .pending = pending_};
}

}  // namespace mpool
