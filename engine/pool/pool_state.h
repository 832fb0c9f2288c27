// What an active pool consists of. Internal to engine/pool.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/pool/background.h"
#include "engine/pool/mdc_choice.h"
#include "engine/pool/media_class.h"
#include "engine/pool/pool.h"
#include "engine/pool/slot_list.h"
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

// The space of each media class. A class appears once, when its device is there, and stays.
//
// Threads: one at a time may add; all others may look without a lock.
class ClassTable {
 public:
  // nullptr: no such class (yet).
  MediaClassSpace* operator[](std::size_t index) const {
    return published_[index].load(std::memory_order_acquire);
  }
  // The class is that of the device's parameters; there must be none.
  MediaClassSpace& add(std::unique_ptr<MediaClassSpace> space);

 private:
  std::array<std::unique_ptr<MediaClassSpace>, kMediaClassCount> owned_;
  std::array<std::atomic<MediaClassSpace*>, kMediaClassCount> published_{};
};

// What a crash left of a change of the pool itself (changes.cpp), as activation found it. What
// there is to finish is harmless until it is finished.
struct UnfinishedChanges {
  // MDC0 has to be told these parameters.
  std::array<std::optional<DeviceParams>, kMediaClassCount> records;
  // The device's superblocks have to be written with the name and parameters that count.
  std::array<bool, kMediaClassCount> superblocks{};
};

// The state that creation, activation and use of a pool share. The order of the members matters:
// what uses a device or a class ends before it.
struct PoolState {
  // `superblock` is the capacity device's.
  PoolState(Device& capacity, const Superblock& superblock, bool superblock_on_media);

  const std::string name;     // as it was when it was activated: for messages
  const std::string subject;  // "pool NAME": the same
  Uuid uuid;
  std::vector<std::unique_ptr<Device>> owned;  // the devices, when they are the pool's own
  ClassTable classes;
  SuperblockStore superblocks;
  std::mutex changes_mutex;             // one change of the pool itself at a time
  mutable std::mutex properties_mutex;  // leaf
  PoolProperties properties;
  SlotList slots;  // MDC0..N; the background may add some
  OnDamage on_damage = OnDamage::refuse;
  mutable std::mutex damage_mutex;         // leaf
  std::vector<std::string> damage;         // with OnDamage::report
  std::optional<MdcChoice> choice;         // index 0 is MDC1
  std::unique_ptr<Background> background;  // of an active pool; ends before all that it uses

  // ENODEV without such a device.
  MediaClassSpace& media_class(MediaClass media_class) const;
  // The slot of an id, or nullptr when no user object can have it.
  MdcSlot* slot_of(ObjectId id) const;
  MlogPlace place_of(const ObjectRecord& mlog) const;
  std::string describe(ObjectId id) const;  // "mlog 0x201 of pool p"
  // Throws ENOTRECOVERABLE with what the user can do, or notes it (OnDamage::report).
  void report_damage(const std::string& subject, const std::string& what);
  // Mdc::open(), with damage reported.
  std::unique_ptr<Mdc> open_pair(const std::string& mdc_name,
                                 const std::array<Mdc::Half, 2>& halves,
                                 Mdc::RecordGeneration record_generation, Mdc::OpenOptions options);
  void give_back(const ObjectRecord& object) noexcept;

  // --- activate.cpp: start-up ---
  std::unique_ptr<MdcSlot> make_slot(unsigned slot);
  MdcSlot& add_slot() { return slots.add(make_slot(static_cast<unsigned>(slots.size()))); }
  // Opens MDC0, whose mlogs are where the superblock says, without reading it. ENXIO: there is
  // nothing of it. Writes nothing before finish().
  void open_mdc0(PairUse use);
  // Opens the pair of an MDC; the same.
  void open_slot(MdcSlot& slot, PairUse use);
  // Appends a record of MDC0 beside those of objects; durable on return.
  void log_property(const MetadataRecord& record);

  // --- recovery.cpp: steps of creation that are repeated when they were interrupted ---
  // Creates the next MDC, each mlog with `mdc_zones` zones, also when it was begun before. Of a
  // running pool too; by one thread at a time.
  void add_mdc(std::uint32_t mdc_zones);
  // Creates MDCs up to `mdc_count`.
  void add_mdcs(unsigned mdc_count, std::uint32_t mdc_zones);
  // Creates the root mlogs that are missing.
  void add_root_mlogs(std::uint32_t zones);
  // The number of MDCs that MDC0 has both mlogs of. Reports damage where the rest was not left by
  // an interrupted creation; else `lone` is the only mlog of the last pair. Writes nothing.
  unsigned count_pairs(std::optional<ObjectRecord>& lone);
  // Deletes that mlog.
  void delete_lone_mlog(const ObjectRecord& lone);
  bool has_root_mlogs() const;
  // Reports damage when root mlogs are missing and the pool was in use. MDC0..N are loaded.
  void check_creation();
  // Finishes an interrupted creation; nothing when it was not.
  void complete_creation(std::optional<unsigned> mdc_count);

  // --- changes.cpp; all but finish_changes under changes_mutex ---
  // Changes what MDC0 says beside the objects, and logs it; durable on return. After an error it is
  // as before (in memory; on the media it may be either).
  void change_properties(PoolProperties changed, const MetadataRecord& record);
  // Writes the superblocks of a device that is there.
  void write_superblocks(const std::string& pool_name, const DeviceParams& params);
  // Activation: before anybody else uses the pool.
  void finish_changes(const UnfinishedChanges& unfinished);

  // --- commit.cpp ---
  // Commits objects that are in the table of `slot` as allocated; durable on return.
  void commit_in(MdcSlot& slot, std::span<const ObjectRecord> objects);
  void record_generation(MdcSlot& slot, ObjectId mlog, std::uint64_t generation);

  // --- successor.cpp ---
  // Records (OUPDATE) that a committed mlog of `slot` lies elsewhere from here on, and gives its
  // old zones back; durable on return. ENOSPC: nothing has changed.
  void succeed(MdcSlot& slot, const ObjectRecord& successor);
  // Zones for it: the same id, another UUID. Nothing is recorded. nullopt: no room.
  std::optional<ObjectRecord> allocate_successor(const ObjectRecord& mlog, std::uint32_t zones);

 private:
  std::vector<MetadataRecord> mdc0_preamble() const;
};

// Makes sure, as far as possible, that a log of metadata never lacks room on the file system of an
// image file: the blocks of all of it are allocated. Logs what it fails with.
void reserve_mlog(const MlogPlace& place);

struct Pool::Impl : PoolState {
  using PoolState::PoolState;
};

}  // namespace mpool
