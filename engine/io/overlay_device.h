// A device whose writes stay in memory.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>

#include "engine/io/device.h"

namespace mpool {

// Reads come from `base` where nothing was written, or as zeros without a base. Writes and discards
// (which make the range read as zeros) stay in memory. With a base, a pool can be activated,
// recovery included, without changing the media (`mpool dump`, read-only mounts). Without a base it
// is a device in memory for tests. Memory use: one page per page written.
class OverlayDevice : public Device {
 public:
  // Has the base's name and properties, but is writable, and writes are durable at once. base: not
  // null.
  explicit OverlayDevice(std::unique_ptr<Device> base);
  // size in bytes; sector_size: 512 or 4096.
  OverlayDevice(std::string name, std::uint64_t size, std::uint32_t sector_size = 512);

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override;
  void write_impl(std::uint64_t offset, ConstByteSpan from) override;
  void flush_impl() override {}
  void discard_impl(std::uint64_t offset, std::uint64_t length) override;
  std::uint64_t query_size() override;
  // Pages that only the base has are read from the base.
  void start_impl(DeviceTransfer& transfer) override;

 private:
  static constexpr std::size_t kChunkPages = 256;
  using Page = std::unique_ptr<std::byte[]>;
  // kChunkPages neighbouring pages. A page is in `pages`, or reads as zeros, or comes from the
  // base.
  struct Chunk {
    std::unique_ptr<std::array<Page, kChunkPages>> pages;  // null until one is written
    std::bitset<kChunkPages> zeroed;
  };

  // Called with the lock held. Content over a page of the base; nullopt: none; null: zeros.
  std::optional<const std::byte*> find_over(std::uint64_t page) const;
  // True if all of the range comes from the base.
  bool is_untouched(std::uint64_t offset, std::uint64_t length);
  void discard_in_chunk(std::uint64_t chunk_number, std::size_t first, std::size_t last);

  std::unique_ptr<Device> base_;
  std::shared_mutex mutex_;                          // guards chunks_ and the contents of the pages
  std::unordered_map<std::uint64_t, Chunk> chunks_;  // by offset / kPageSize / kChunkPages
};

}  // namespace mpool
