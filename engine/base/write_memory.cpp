#include "engine/base/write_memory.h"

#include <algorithm>
#include <utility>

#include <malloc.h>

namespace mpool {

bool WriteMemory::try_take_below(std::size_t limit, std::size_t bytes) {
  if (bytes_.fetch_add(bytes) + bytes <= limit) return true;
  bytes_ -= bytes;
  return false;
}

bool WriteMemory::try_take(std::size_t bytes) {
  return try_take_below(tunables_.max_bytes, bytes);
}

bool WriteMemory::try_take_spare(std::size_t bytes) {
  return try_take_below(tunables_.max_bytes / 2, bytes);
}

void WriteMemory::give(std::size_t bytes) noexcept {
  bytes_ -= bytes;
}

void WriteMemory::enter(std::weak_ptr<Holder> holder) {
  const std::lock_guard lock(mutex_);
  if (holders_.size() >= sweep_at_) {
    std::erase_if(holders_, [](const auto& entry) { return entry.expired(); });
    sweep_at_ = std::max<std::size_t>(64, 2 * holders_.size());
  }
  holders_.push_back(std::move(holder));
}

std::vector<std::shared_ptr<WriteMemory::Holder>> WriteMemory::oldest_first() {
  std::vector<std::pair<std::uint64_t, std::shared_ptr<Holder>>> by_use;
  {
    const std::lock_guard lock(mutex_);
    by_use.reserve(holders_.size());
    for (const auto& entry : holders_) {
      if (auto holder = entry.lock()) {
        const std::uint64_t used = holder->last_use();
        by_use.emplace_back(used, std::move(holder));
      }
    }
  }
  std::ranges::sort(by_use, {}, [](const auto& entry) { return entry.first; });
  std::vector<std::shared_ptr<Holder>> holders;
  holders.reserve(by_use.size());
  for (auto& [used, holder] : by_use)
    holders.push_back(std::move(holder));
  return holders;
}

void WriteMemory::relieve(std::size_t bytes) {
  std::vector<std::shared_ptr<Holder>> holders;  // may end their files: destroyed without the lock
  const std::lock_guard relief(relief_mutex_);
  if (has_room(bytes)) return;  // another thread's relief made room
  const std::size_t wanted = bytes + tunables_.max_bytes / tunables_.relief_divisor;
  holders = oldest_first();
  for (const auto& holder : holders) {
    if (has_room(wanted)) break;
    holder->write_out_idle();
  }
  // The heap keeps freed memory: a bound on memory in use does not bound the memory of the process.
  malloc_trim(0);
}

AlignedBuffer WriteMemory::take_piece() {
  {
    const std::lock_guard lock(mutex_);
    if (!spare_pieces_.empty()) {
      AlignedBuffer buffer = std::move(spare_pieces_.back());
      spare_pieces_.pop_back();
      return buffer;
    }
  }
  return AlignedBuffer(kPieceSize);
}

void WriteMemory::give_piece(AlignedBuffer buffer) noexcept {
  if (buffer.size() != kPieceSize) return;
  const std::lock_guard lock(mutex_);
  const std::size_t most = tunables_.spare_pieces;
  if (spare_pieces_.capacity() < most) spare_pieces_.reserve(most);
  if (spare_pieces_.size() < most) spare_pieces_.push_back(std::move(buffer));
}

bool WriteMemory::try_defer(std::size_t bytes) {
  if (deferred_.fetch_add(bytes) + bytes <= tunables_.max_deferred) return true;
  deferred_ -= bytes;
  return false;
}

}  // namespace mpool
