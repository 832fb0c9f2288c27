#include "engine/file/accounted_memory.h"

#include "engine/base/bytes.h"
#include "engine/base/error.h"

namespace mpool {

bool AccountedMemory::allocate(std::size_t size) noexcept {
  if (!memory_.empty()) return true;
  size = round_up(size, HugeMemory::kHugePageSize);
  if (!budget_.try_take_spare(size)) return false;
  try {
    memory_ = HugeMemory(size);
    return true;
  } catch (const Error&) {
    budget_.give(size);
    return false;
  }
}

void AccountedMemory::free() noexcept {
  budget_.give(memory_.span().size());
  memory_ = {};
}

}  // namespace mpool
