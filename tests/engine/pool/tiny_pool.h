// Pools whose MDCs fill after some hundred records.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "tests/engine/pool/pool_support.h"

namespace mpool::test {

// Many tiny zones; an MDC holds some 300 records.
inline CreateOptions tiny_options(unsigned mdc_count) {
  CreateOptions options;
  options.name = "p";
  options.zone_size = 4096;
  options.mdc_count = mdc_count;
  options.mdc0_capacity = 64 * 1024;
  options.mdc_capacity = 16 * 1024;
  options.root_capacity = 16 * 1024;
  return options;
}

// Only maintain() does background work.
inline ActivateOptions by_hand() {
  ActivateOptions options;
  options.tunables.maintenance = {.period = std::chrono::milliseconds(0),
                                  .usage_period = std::chrono::milliseconds(0)};
  return options;
}

inline std::vector<ObjectRecord> add_mblocks(Pool& pool, std::size_t count) {
  std::vector<ObjectRecord> objects;
  for (std::size_t i = 0; i < count; ++i)
    objects.push_back(pool.allocate(ObjectType::mblock, 0, {}));
  pool.commit(objects);
  return objects;
}

inline std::vector<ObjectId> ids_of(const std::vector<ObjectRecord>& objects) {
  std::vector<ObjectId> ids;
  for (const ObjectRecord& object : objects)
    ids.push_back(object.id);
  return ids;
}

// In percent.
inline std::uint64_t fill(const Pool::MdcStats& mdc) {
  return mdc.used * 100 / mdc.capacity;
}

// Adds and removes mblocks until MDC1 is filled to that level.
inline void fill_with_garbage(Pool& pool, std::uint64_t percent) {
  while (fill(pool.mdcs()[1]) < percent)
    pool.remove(ids_of(add_mblocks(pool, 4)));
}

}  // namespace mpool::test
