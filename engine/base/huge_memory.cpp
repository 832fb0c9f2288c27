#include "engine/base/huge_memory.h"

#include <cerrno>
#include <cstdint>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>

#include "engine/base/error.h"

namespace mpool {

HugeMemory::HugeMemory(std::size_t size) : size_(round_up(size, kHugePageSize)) {
  if (size_ == 0) return;
  const std::size_t mapped = size_ + kHugePageSize;
  void* const memory = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) raise_system(errno, "memory for I/O", fmt::format("{} bytes", mapped));
  std::byte* const begin = static_cast<std::byte*>(memory);
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::size_t before = round_up(address, kHugePageSize) - address;
  const std::size_t after = kHugePageSize - before;
  data_ = begin + before;
  if (before > 0) ::munmap(begin, before);
  if (after > 0) ::munmap(data_ + size_, after);
  // Kernels without huge pages refuse this; ordinary pages are then used.
  ::madvise(data_, size_, MADV_HUGEPAGE);
}

HugeMemory::~HugeMemory() {
  if (size_ > 0) ::munmap(data_, size_);
}

HugeMemory::HugeMemory(HugeMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

HugeMemory& HugeMemory::operator=(HugeMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace mpool
