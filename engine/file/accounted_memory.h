// Huge pages for transfers, within the bound of a pool's memory.
#pragma once

#include <cstddef>

#include "engine/base/bytes.h"
#include "engine/base/huge_memory.h"
#include "engine/base/write_memory.h"

namespace mpool {

// Threads: one at a time.
class AccountedMemory {
 public:
  // `budget` must outlive it.
  explicit AccountedMemory(WriteMemory& budget) : budget_(budget) {}
  ~AccountedMemory() { free(); }
  AccountedMemory(const AccountedMemory&) = delete;
  AccountedMemory& operator=(const AccountedMemory&) = delete;

  // False when half of the budget is in use, or the system has no memory. No effect when it is
  // allocated already.
  bool allocate(std::size_t size) noexcept;
  void free() noexcept;
  ByteSpan span(std::size_t offset, std::size_t length) { return memory_.span(offset, length); }

 private:
  WriteMemory& budget_;
  HugeMemory memory_;
};

}  // namespace mpool
