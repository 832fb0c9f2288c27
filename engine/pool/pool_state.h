// What an active pool consists of. Internal to engine/pool.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/pool/mdc_choice.h"
#include "engine/pool/mdc_slot.h"
#include "engine/pool/media_class.h"
#include "engine/pool/pool.h"
#include "engine/pool/superblock_store.h"

namespace mpool {

// What MDC0 says beside the objects.
struct PoolProperties {
  std::array<std::optional<DeviceParams>, kMediaClassCount> devices;
  std::array<std::optional<std::uint8_t>, kMediaClassCount> spares;
  std::optional<ConfigRecord> config;
};

constexpr std::size_t index_of(MediaClass media_class) {
  return static_cast<std::size_t>(media_class);
}

// The state that creation, activation and use of a pool share. The order of the members matters:
// what uses a device or a class ends before it.
struct PoolState {
  // `superblock` is the capacity device's.
  PoolState(Device& capacity, const Superblock& superblock, bool superblock_on_media);

  std::string name;
  std::string subject;  // "pool NAME": for messages
  Uuid uuid;
  std::vector<std::unique_ptr<Device>> owned;  // the devices, when they are the pool's own
  std::array<std::unique_ptr<MediaClassSpace>, kMediaClassCount> classes;
  SuperblockStore superblocks;
  mutable std::mutex properties_mutex;  // leaf
  PoolProperties properties;
  std::vector<std::unique_ptr<MdcSlot>> slots;  // MDC0..N; fixed once the pool is active
  std::optional<MdcChoice> choice;              // index 0 is MDC1

  // ENODEV without such a device.
  MediaClassSpace& media_class(MediaClass media_class) const;
  // The slot of an id, or nullptr when no user object can have it.
  MdcSlot* slot_of(ObjectId id) const;
  MlogPlace place_of(const ObjectRecord& mlog) const;
  std::string describe(ObjectId id) const;  // "mlog 0x201 of pool p"
  void give_back(const ObjectRecord& object) noexcept;

  // --- activate.cpp: start-up ---
  MdcSlot& add_slot();
  // Opens MDC0, whose mlogs are where the superblock says, without reading it.
  void open_mdc0();
  // Opens the pair of MDC `slot`, recovering it.
  void open_slot(unsigned slot);
  // Appends a record of MDC0 beside those of objects; durable on return.
  void log_property(const MetadataRecord& record);

  // --- recovery.cpp: steps of creation that are repeated when they were interrupted ---
  // Creates MDCs up to `mdc_count`, each mlog with `mdc_zones` zones.
  void add_mdcs(unsigned mdc_count, std::uint32_t mdc_zones);
  // Creates the root mlogs that are missing.
  void add_root_mlogs(std::uint32_t zones);
  // Deletes a lone mlog at the end of MDC0's pairs. Returns the number of complete pairs.
  unsigned settle_pairs();
  // Finishes an interrupted creation; nothing when it was not.
  void complete_creation(std::optional<unsigned> mdc_count);

  // --- commit.cpp ---
  // Commits objects that are in the table of `slot` as allocated; durable on return.
  void commit_in(MdcSlot& slot, std::span<const ObjectRecord> objects);
  void record_generation(MdcSlot& slot, ObjectId mlog, std::uint64_t generation);

 private:
  std::vector<MetadataRecord> mdc0_preamble() const;
};

struct Pool::Impl : PoolState {
  using PoolState::PoolState;
};

}  // namespace mpool
