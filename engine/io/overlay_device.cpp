#include "engine/io/overlay_device.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "engine/io/transfer.h"

namespace mpool {

namespace {

DeviceProperties overlay_properties(DeviceProperties properties) {
  properties.read_only = false;
  properties.volatile_cache = false;
  properties.keeps_nothing = true;
  return properties;
}

DeviceProperties memory_properties(std::uint64_t size, std::uint32_t sector_size) {
  DeviceProperties properties;
  properties.size = size;
  properties.logical_sector_size = sector_size;
  properties.physical_sector_size = sector_size;
  properties.discard_granularity = kPageSize;
  properties.volatile_cache = false;
  return properties;
}

}  // namespace

OverlayDevice::OverlayDevice(std::unique_ptr<Device> base)
    : Device(base->name(), overlay_properties(base->properties())), base_(std::move(base)) {}

OverlayDevice::OverlayDevice(std::string name, std::uint64_t size, std::uint32_t sector_size)
    : Device(std::move(name), memory_properties(size, sector_size)) {}

std::uint64_t OverlayDevice::query_size() {
  return base_ != nullptr ? base_->update_size() : properties().size;
}

void OverlayDevice::read_impl(std::uint64_t offset, ByteSpan into) {
  // The base never changes: it is read without the lock, then overlaid with written pages.
  if (base_ != nullptr) base_->read(offset, into);
  const std::shared_lock lock(mutex_);
  std::uint64_t page = offset / kPageSize;
  for (std::size_t done = 0; done < into.size(); done += kPageSize, ++page) {
    std::byte* target = into.data() + done;
    const auto over = find_over(page);
    if (!over) continue;
    if (*over != nullptr) {
      std::memcpy(target, *over, kPageSize);
    } else {
      std::memset(target, 0, kPageSize);
    }
  }
}

std::optional<const std::byte*> OverlayDevice::find_over(std::uint64_t page) const {
  const auto found = chunks_.find(page / kChunkPages);
  const std::size_t index = page % kChunkPages;
  if (found != chunks_.end() && found->second.pages != nullptr &&
      (*found->second.pages)[index] != nullptr) {
    return (*found->second.pages)[index].get();
  }
  const bool zeros = base_ == nullptr || (found != chunks_.end() && found->second.zeroed[index]);
  return zeros ? std::optional<const std::byte*>(nullptr) : std::nullopt;
}

void OverlayDevice::start_impl(DeviceTransfer& transfer) {
  if (base_ != nullptr && !transfer.write_ && is_untouched(transfer.offset_, transfer.left_)) {
    start_on(*base_, transfer);
  } else {
    Device::start_impl(transfer);
  }
}

bool OverlayDevice::is_untouched(std::uint64_t offset, std::uint64_t length) {
  const std::shared_lock lock(mutex_);
  const std::uint64_t end = ceil_div(offset + length, kPageSize);
  for (std::uint64_t page = offset / kPageSize; page < end; ++page) {
    if (find_over(page)) return false;
  }
  return true;
}

void OverlayDevice::write_impl(std::uint64_t offset, ConstByteSpan from) {
  const std::unique_lock lock(mutex_);
  std::uint64_t page = offset / kPageSize;
  for (std::size_t done = 0; done < from.size(); done += kPageSize, ++page) {
    Chunk& chunk = chunks_[page / kChunkPages];
    if (chunk.pages == nullptr) chunk.pages = std::make_unique<std::array<Page, kChunkPages>>();
    Page& memory = (*chunk.pages)[page % kChunkPages];
    if (memory == nullptr) memory = std::make_unique_for_overwrite<std::byte[]>(kPageSize);
    std::memcpy(memory.get(), from.data() + done, kPageSize);
  }
}

void OverlayDevice::discard_impl(std::uint64_t offset, std::uint64_t length) {
  const std::unique_lock lock(mutex_);
  const std::uint64_t end = (offset + length) / kPageSize;
  for (std::uint64_t page = offset / kPageSize; page < end;) {
    const std::size_t first = page % kChunkPages;
    const std::size_t last = std::min<std::uint64_t>(first + (end - page), kChunkPages);
    discard_in_chunk(page / kChunkPages, first, last);
    page += last - first;
  }
}

void OverlayDevice::discard_in_chunk(std::uint64_t chunk_number, std::size_t first,
                                     std::size_t last) {
  const bool whole = last - first == kChunkPages;
  if (base_ == nullptr && whole) {
    chunks_.erase(chunk_number);
    return;
  }
  // Without a base an absent chunk reads as zeros already.
  if (base_ == nullptr && !chunks_.contains(chunk_number)) return;
  Chunk& chunk = chunks_[chunk_number];
  if (whole) chunk.pages.reset();
  for (std::size_t index = first; index < last; ++index) {
    chunk.zeroed.set(index);
    if (chunk.pages != nullptr) (*chunk.pages)[index].reset();
  }
}

}  // namespace mpool
