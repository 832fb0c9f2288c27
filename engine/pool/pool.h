// The pool: devices, media classes, the object table and the metadata containers
// (engine/pool/README.md, "Objects" and "Metadata containers").
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/device/device.h"
#include "engine/format/records.h"
#include "engine/format/superblock.h"
#include "engine/mlog/mdc.h"
#include "engine/space/space_map.h"

namespace mpool {

// How a pool is made. Values not given follow the device's size (engine/pool/README.md,
// "Defaults").
struct CreateOptions {
  std::string name;  // 1..31 bytes: letters, digits, '_', '-', '.', not first '-' or '.'
  // Bytes, a power of two, 4 KiB .. 1 GiB; of every device.
  std::optional<std::uint64_t> zone_size = std::nullopt;
  std::optional<unsigned> mdc_count = std::nullopt;  // 1..255; default 16, fewer on small devices
  std::optional<std::uint64_t> mdc0_capacity = std::nullopt;  // bytes per mlog, rounded up to zones
  std::optional<std::uint64_t> mdc_capacity = std::nullopt;   // the same for MDC1..N
  std::optional<std::uint64_t> root_capacity = std::nullopt;  // the same for the root MDC
  unsigned spare_percent = SpaceMap::kDefaultSparePercent;    // 0..100
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t mode = 0755;
  std::string label = "raw";  // at most ConfigRecord::kMaxLabelLength bytes
};

// What a pool does by itself while it is active (engine/pool/README.md, "Work in the background").
// Percentages: how full MDCs are, and how many of their records are garbage.
struct Maintenance {
  std::chrono::milliseconds period{5000};  // of looking after the MDCs; 0: only maintain() does
  unsigned compact_full = 70;              // an MDC is compacted when it is at least so full
  unsigned compact_garbage = 20;           // with at least so much garbage
  unsigned grow_full = 50;                 // MDCs are added when all together are fuller
  unsigned grow_garbage = 20;              // with less garbage
  unsigned grow_by = 16;                   // so many at a time, while there are fewer than 255
  std::chrono::milliseconds usage_period{60000};  // of looking at the free space; 0: never
};

struct ActivateOptions {
  // Activate without a staging device that the pool has: only objects on capacity are reachable.
  bool force = false;
  // MDCs that an interrupted pool creation is completed to; default 16.
  std::optional<unsigned> mdc_count = std::nullopt;
  unsigned load_jobs = 8;  // MDCs read at a time
  // report: goes on with what can be read, and damage() tells the rest. Only for devices that keep
  // nothing (overlays): EINVAL.
  OnDamage on_damage = OnDamage::refuse;
  Maintenance maintenance{};
};

// Where an allocation may go.
struct Placement {
  MediaClass media_class = MediaClass::capacity;
  SpacePolicy policy = SpacePolicy::usable_only;
  // A zone; the first room at or after it is tried first.
  std::optional<std::uint64_t> near = std::nullopt;
};

// An active pool. Its devices are its own.
//
// Threads: all functions may be called at the same time. They may block on device I/O. Lock order:
// engine/pool/locking.md.
// Errors: Error with errno; EIO once a device went offline for writing.
class Pool {
 public:
  // Makes a pool. The devices are open for activation and empty as far as the caller cares: their
  // signatures are not looked at. `staging` may be null. Durable on return; after a failure or
  // crash there is either no pool or one that activate() completes. Errors: EINVAL for options out
  // of range, ENOSPC when the device is too small (the message says how large it must be).
  static void create(Device& capacity, Device* staging, const CreateOptions& options);

  // Reads the pool on `devices` (one or two, any order), finishing what a crash interrupted: of its
  // creation, of changes of the pool itself, and of its metadata containers. Nothing is taken for
  // interrupted unless the media proves it (engine/pool/README.md, "Activation"): in doubt it
  // throws ENOTRECOVERABLE, and the message says which block of which log, and where.
  // Errors: ENODEV a device is missing (staging: unless forced), EINVAL not devices of one pool / a
  // duplicate / recorded sizes or classes differ, EBADMSG no good superblock, ENOTRECOVERABLE
  // metadata is corrupt, ENXIO MDC0 does not describe a device (creating the pool or adding the
  // device was interrupted), ENOTSUP a later version, those of the devices. Nothing is written
  // before the superblocks and MDC0..N have been found good.
  static std::unique_ptr<Pool> activate(std::vector<std::unique_ptr<Device>> devices,
                                        const ActivateOptions& options = {});
  // Ends the activation; allocations not committed are gone. Everything committed is durable
  // already.
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // --- facts ---
  std::string name() const;
  Uuid uuid() const;
  ConfigRecord config() const;  // all zero when the pool has no MPCONFIG record
  // What was found damaged so far, with OnDamage::report; each says where.
  std::vector<std::string> damage() const;

  struct ClassFacts {
    std::string device_name;
    DeviceParams params;
    bool online = true;  // false: a write failed, the device is read-only from here on
    unsigned spare_percent = 0;
    SpaceUsage space;
  };
  bool has_class(MediaClass media_class) const;  // has a device that is present
  // A device failed for writing (Device::offline): nothing can be changed any more. Takes no lock.
  bool offline() const noexcept;
  std::vector<MediaClass> classes() const;               // those that has_class(), capacity first
  ClassFacts class_facts(MediaClass media_class) const;  // ENODEV without such a device

  struct MdcFacts {
    unsigned slot = 0;
    Mdc::Facts mdc;
    std::uint64_t last_uniquifier = 0;  // slot 0: the number of MDCs
    ObjectId last_checkpoint;
    std::uint64_t capacity = 0;  // bytes of the active log
    std::uint64_t used = 0;
    std::uint64_t records = 0;
    std::uint64_t live_records = 0;  // what a compaction would leave
  };
  std::vector<MdcFacts> mdcs() const;  // MDC0..N
  // Where the logs of MDC0..N end, as the next activation finds them if nothing changes any more.
  // Cheap. (The root MDC: Mdc::state().)
  std::vector<Mdc::State> mdc_states() const;
  // Calls `record` with each record of an MDC, in order.
  void read_mdc(unsigned slot, const std::function<void(ConstByteSpan)>& record) const;

  // --- objects ---
  // Every committed object of MDC1..N, in the order of their ids; a snapshot.
  std::vector<ObjectRecord> objects() const;
  // How many there are; cheap, counts those being committed too.
  std::size_t object_count() const;
  struct ObjectCounts {
    std::size_t mblocks = 0;
    std::size_t mlogs = 0;  // with the root MDC's two
  };
  // The same by type; as cheap.
  ObjectCounts object_counts() const;
  std::optional<ObjectRecord> find(ObjectId id) const;  // a committed object

  // Bytes of an mblock / of the zones of an mlog of that capacity.
  std::uint64_t zone_size(MediaClass media_class) const;
  Device& device(MediaClass media_class) const;
  // Byte offset of an object's first zone on its device, and its size.
  std::uint64_t offset_of(const ObjectRecord& object) const;
  std::uint64_t capacity_of(const ObjectRecord& object) const;
  // What Mlog::open wants to know. The Mlog is synced before it is closed: the next one takes what
  // it finds for flushed.
  MlogPlace mlog_place(const ObjectRecord& object) const;

  // Allocates an object: an id nobody ever had and zones, in memory only (but for id checkpoints).
  // `capacity` in bytes, rounded up to zones; mblocks have one zone whatever it says. ENOSPC after
  // a bounded wait for pending discards; ENODEV without such a class.
  ObjectRecord allocate(ObjectType type, std::uint64_t capacity, const Placement& placement);
  // The same with an id handed out before a crash: EINVAL when it was never checkpointed, EEXIST
  // when it exists.
  ObjectRecord reallocate(ObjectId id, std::uint64_t capacity, const Placement& placement);
  // Finds room for an mlog of at least `capacity` bytes that is to take the place of a committed
  // one, with the same id and another UUID; the zones may be spare ones. In memory only, and the
  // object stays as it is until succeed(). nullopt when there is no such room. ENOENT.
  std::optional<ObjectRecord> allocate_successor(ObjectId mlog, std::uint64_t capacity);
  // From here on the mlog is the one that was allocated, empty, of the generation that the caller
  // has set, which must not be below the present one (OUPDATE; durable on return); the zones of
  // the old one are discarded and free again. ENOSPC when its MDC is full: nothing has changed.
  void succeed(const ObjectRecord& successor);
  // Gives up what allocate_successor() found.
  void abandon_successor(const ObjectRecord& successor) noexcept;
  // Gives up an allocation that was not committed; its zones are discarded and free again.
  void abort(const ObjectRecord& object) noexcept;
  // Makes allocated objects exist; durable on return, with one flush for all of them. The caller
  // has set written_length (mblocks) and made the content durable. On an error none or some of them
  // are committed: those that are not are still allocated.
  void commit(std::span<const ObjectRecord> objects);
  // Deletes committed objects; durable on return, with one flush for all of them; the zones are
  // discarded and free again. ENOENT when one does not exist, EBUSY when one is pinned: then none
  // is deleted.
  void remove(std::span<const ObjectId> objects);
  // Records a greater generation of a committed mlog (OERASE), durable on return. For Mlog::reset.
  void record_generation(ObjectId mlog, std::uint64_t generation);

  // While pinned (counted) an object cannot be deleted. ENOENT when it does not exist.
  void pin(ObjectId id);
  void unpin(ObjectId id) noexcept;

  // Waits until freed zones are discarded and can be allocated, at most `timeout`.
  bool wait_for_discards(std::chrono::milliseconds timeout);

  // --- changes of the pool itself ---
  // Durable on return. They wait for each other; everything else goes on meanwhile. A crash or an
  // I/O error in the middle (EIO) leaves the pool as it was or as it was to be, and the next
  // activation finishes what was begun.

  // Gives the pool another name (as of CreateOptions; EINVAL), in the superblocks of its devices.
  // Messages go on using the one of its activation. A device that is missing (forced activation)
  // gets it with the next activation that has it.
  void rename(const std::string& name);
  // Takes a staging device into a pool that has none (EEXIST). It is open for activation and empty
  // as far as the caller cares: its signatures are not looked at. zone_size: bytes, as of
  // CreateOptions; else what fits the device's size. Errors: EINVAL for the zone size, ENOSPC when
  // the device is too small, or MDC0 full.
  void add_staging(std::unique_ptr<Device> device,
                   std::optional<std::uint64_t> zone_size = std::nullopt);
  // Takes the room by which a device grew, at once, when it is a zone at least: true. False when
  // there was nothing to do. Errors: ENODEV, EINVAL when the device became smaller or has more
  // zones than can be numbered.
  bool grow(MediaClass media_class);
  // 0..100 (EINVAL), of a class whose device is there (ENODEV). Used zones may then exceed the
  // usable ones.
  void set_spare_percent(MediaClass media_class, unsigned percent);
  // Those given are changed, all at once. EINVAL when one is out of range: then none is.
  struct Settings {
    std::optional<std::uint32_t> uid = std::nullopt;
    std::optional<std::uint32_t> gid = std::nullopt;
    std::optional<std::uint32_t> mode = std::nullopt;  // permission bits
    std::optional<std::string> label = std::nullopt;   // at most ConfigRecord::kMaxLabelLength
    std::optional<Uuid> user_type = std::nullopt;      // what the pool is used for; free to use
    std::optional<std::uint32_t> max_readahead_pages = std::nullopt;
    std::optional<std::uint32_t> max_map_shift = std::nullopt;  // log2 of bytes, 12..63
    bool operator==(const Settings&) const = default;
  };
  void configure(const Settings& changes);

  // Looks after the MDCs now, as the background does: compacts those that are worth it, adds some
  // when all are filling up. What fails is logged. On devices that keep nothing, or can only be
  // read, the background does nothing by itself.
  void maintain();

  // --- a client's metadata ---
  // Opens a pair of committed mlogs as MDC; "the root MDC" without arguments. Damage is as of
  // ActivateOptions: ENOTRECOVERABLE, nothing was written to the pair, or the MDC can be read only.
  std::unique_ptr<Mdc> open_mdc(ObjectId first, ObjectId second);
  std::unique_ptr<Mdc> open_root_mdc() { return open_mdc(root_log_id(0), root_log_id(1)); }

 private:
  struct Impl;
  explicit Pool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpool
