// Pools on media in memory.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/pool/pool.h"
#include "tests/engine/pool/memory_device.h"
#include "tests/support/error_of.h"

namespace mpool::test {

inline constexpr std::uint64_t kMiB = 1u << 20;

// A small pool's options: little metadata, so that it is quickly full.
inline CreateOptions small_options() {
  CreateOptions options;
  options.name = "p";
  options.zone_size = 64 * 1024;
  options.mdc_count = 2;
  options.mdc0_capacity = 64 * 1024;
  options.mdc_capacity = 64 * 1024;
  options.root_capacity = 128 * 1024;
  return options;
}

inline std::unique_ptr<Pool> activate(const std::vector<std::shared_ptr<Media>>& media,
                                      const ActivateOptions& options = {}) {
  std::vector<std::unique_ptr<Device>> devices;
  for (std::size_t i = 0; i < media.size(); ++i) {
    devices.push_back(std::make_unique<MemoryDevice>(fmt::format("device{}", i), media[i]));
  }
  return Pool::activate(std::move(devices), options);
}

inline std::shared_ptr<Media> create(const CreateOptions& options, std::uint64_t size = 16 * kMiB,
                                     std::uint32_t sector_size = 512) {
  auto media = std::make_shared<Media>(size, sector_size);
  MemoryDevice device("device0", media);
  Pool::create(device, nullptr, options);
  return media;
}
inline ObjectRecord add_mblock(Pool& pool, std::uint64_t length = kPageSize,
                               MediaClass media_class = MediaClass::capacity) {
  ObjectRecord object = pool.allocate(ObjectType::mblock, 0, {.media_class = media_class});
  object.written_length = length;
  pool.commit(std::span(&object, 1));
  return object;
}

inline void remove_object(Pool& pool, ObjectId id) {
  pool.remove(std::span(&id, 1));
}

}  // namespace mpool::test
