// The parts of an active pool. Internal to engine/pool.
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

// The content of MDC0 except the objects.
struct PoolProperties {
  std::array<std::optional<DeviceParams>, kMediaClassCount> devices;
  std::array<std::optional<std::uint8_t>, kMediaClassCount> spares;
  std::optional<ConfigRecord> config;
};

// The space of each media class. A class appears once, when its device is present, and stays.
//
// Threads: one thread at a time may add; other threads may read without a lock.
class ClassTable {
 public:
  // nullptr: no such class (yet).
  MediaClassSpace* operator[](std::size_t index) const {
    return published_[index].load(std::memory_order_acquire);
  }
  // The class is that of the device's parameters; it must not exist yet.
  MediaClassSpace& add(std::unique_ptr<MediaClassSpace> space);

 private:
  std::array<std::unique_ptr<MediaClassSpace>, kMediaClassCount> owned_;
  std::array<std::atomic<MediaClassSpace*>, kMediaClassCount> published_{};
};

// An interrupted change of the pool itself (changes.cpp), as activation found it. The unfinished
// parts are harmless until they are finished.
struct UnfinishedChanges {
  // These parameters must be recorded in MDC0.
  std::array<std::optional<DeviceParams>, kMediaClassCount> records;
  // The device's superblocks must be written with the valid name and parameters.
  std::array<bool, kMediaClassCount> superblocks{};
};

// The state shared by creation, activation and use of a pool. The order of the members matters:
// users of a device or a class are destroyed before it.
struct PoolState {
  // `superblock` is the capacity device's.
  PoolState(Device& capacity, const Superblock& superblock, bool superblock_on_media,
            Clock& clock = system_clock(), const Tunables& given = {});

  const std::string name;     // at activation: for messages
  const std::string subject;  // "pool NAME", at activation
  Uuid uuid;
  Logger logger;
  JobScheduler jobs;
  const Tunables tunables;
  WriteMemory write_memory{tunables.writing};
  std::vector<std::unique_ptr<Device>> owned;  // the devices, if the pool owns them
  Metrics metrics;
  Counter& mdc_compactions;
  ClassTable classes;
  SuperblockStore superblocks;
  std::mutex changes_mutex;             // one change of the pool itself at a time
  mutable std::mutex properties_mutex;  // leaf
  PoolProperties properties;
  SlotList slots;  // MDC0..N; the background thread may add some
  OnDamage on_damage = OnDamage::refuse;
  mutable std::mutex damage_mutex;  // leaf
  std::vector<std::string> damage;  // with OnDamage::report
  std::optional<MdcChoice> choice;  // index 0 is MDC1
  // of an active pool; ends before all members that it uses
  std::unique_ptr<Background> background;

  // Objects or their records changed.
  void note_change() const {
    if (background) background->note_change();
  }
  const Logger& log() const { return logger; }
  // The device is, or will be, one of those that the pool owns.
  void show_in_metrics(const Device& device, MediaClass media_class);
  // ENODEV without such a device.
  MediaClassSpace& media_class(MediaClass media_class) const;
  // The slot of an id, or nullptr when no user object can have it.
  MdcSlot* slot_of(ObjectId id) const;
  MlogLocation location_of(const ObjectRecord& mlog) const;
  std::string describe(ObjectId id) const;  // "mlog 0x201 of pool p"
  // Throws ENOTRECOVERABLE with advice for the user, or records the damage (OnDamage::report).
  void report_damage(const std::string& subject, const std::string& what);
  // Mdc::open(), with damage reported.
  std::unique_ptr<Mdc> open_pair(const std::string& mdc_name,
                                 const std::array<Mdc::Half, 2>& halves,
                                 Mdc::RecordGeneration record_generation, Mdc::OpenOptions options);
  void give_back(const ObjectRecord& object) noexcept;

  // --- activate.cpp: start-up ---
  std::unique_ptr<MdcSlot> make_slot(unsigned slot);
  MdcSlot& add_slot() { return slots.add(make_slot(static_cast<unsigned>(slots.size()))); }
  // Opens MDC0 at the location in the superblock, without reading it. ENXIO: no block of it exists.
  // Writes nothing before finish().
  void open_mdc0(PairUse use);
  // Opens the pair of an MDC; as open_mdc0().
  void open_slot(MdcSlot& slot, PairUse use);
  // Appends a record of MDC0 other than those of objects; durable on return.
  void log_property(const MetadataRecord& record);

  // --- recovery.cpp: steps of creation that are repeated if they were interrupted ---
  // Creates the next MDC, each mlog with `mdc_zones` zones, also if an earlier attempt was
  // interrupted. Also on a running pool; by one thread at a time.
  void add_mdc(std::uint32_t mdc_zones);
  // Creates MDCs up to `mdc_count`.
  void add_mdcs(unsigned mdc_count, std::uint32_t mdc_zones);
  // Creates missing root mlogs.
  void add_root_mlogs(std::uint32_t zones);
  // The number of MDCs of which MDC0 has both mlogs. Reports damage where the rest does not come
  // from an interrupted creation; otherwise `lone` is the only mlog of the last pair. Writes
  // nothing.
  unsigned count_pairs(std::optional<ObjectRecord>& lone);
  // Deletes that mlog.
  void delete_lone_mlog(const ObjectRecord& lone);
  bool has_root_mlogs() const;
  // Reports damage when root mlogs are missing and the pool was in use. MDC0..N are loaded.
  void check_creation();
  // Finishes an interrupted creation; no effect otherwise.
  void complete_creation(std::optional<unsigned> mdc_count);

  // --- changes.cpp; all except finish_changes under changes_mutex ---
  // Changes the content of MDC0 except the objects, and logs it; durable on return. After an error
  // the content in memory is as before; on the media it may be either.
  void change_properties(PoolProperties changed, const MetadataRecord& record);
  // Writes the superblocks of a present device.
  void write_superblocks(const std::string& pool_name, const DeviceParams& params);
  // Called by activation before any other use of the pool.
  void finish_changes(const UnfinishedChanges& unfinished);

  // --- commit.cpp ---
  // Commits objects that are in the table of `slot` as allocated; durable on return.
  void commit_in(MdcSlot& slot, std::span<const ObjectRecord> objects);
  void record_generation(MdcSlot& slot, ObjectId mlog, std::uint64_t generation);

  // --- successor.cpp ---
  // Records (OUPDATE) that a committed mlog of `slot` lies elsewhere from now on, and frees its old
  // zones; durable on return. ENOSPC: nothing has changed.
  void succeed(MdcSlot& slot, const ObjectRecord& successor);
  // Allocates its zones: the same id, another UUID. Records nothing. nullopt: no room.
  std::optional<ObjectRecord> allocate_successor(const ObjectRecord& mlog, std::uint32_t zones);

 private:
  std::vector<MetadataRecord> mdc0_preamble() const;
};

// Allocates all blocks of a metadata log on the file system of an image file, as far as possible,
// so that the log never lacks room there. Logs a failure.
void reserve_mlog(const MlogLocation& location);

struct Pool::Impl : PoolState {
  using PoolState::PoolState;
};

}  // namespace mpool
