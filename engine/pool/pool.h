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

#include "engine/base/clock.h"
#include "engine/base/logger.h"
#include "engine/base/metrics.h"
#include "engine/base/tunables.h"
#include "engine/base/write_memory.h"
#include "engine/format/records.h"
#include "engine/format/superblock.h"
#include "engine/io/device.h"
#include "engine/jobs/job.h"
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

struct ActivateOptions {
  // Activate without a staging device that the pool has: only objects on capacity can be read.
  bool force = false;
  // The MDC count when an interrupted pool creation is completed; default 16.
  std::optional<unsigned> mdc_count = std::nullopt;
  unsigned load_jobs = 8;  // MDCs read at a time
  // report: continues with the readable part; damage() describes the rest. Only for devices that
  // keep nothing (overlays): EINVAL otherwise.
  OnDamage on_damage = OnDamage::refuse;
  Logger logger{};                 // of the pool and its devices
  Clock* clock = &system_clock();  // must outlive the pool
  Tunables tunables{};             // its policies under load
};

// Where an allocation may go.
struct Placement {
  MediaClass media_class = MediaClass::capacity;
  SpacePolicy policy = SpacePolicy::usable_only;
  // A zone; the first free range at or after it is tried first.
  std::optional<std::uint64_t> near = std::nullopt;
};

// An active pool. Owns its devices.
//
// Threads: all functions may be called at the same time. They may block on device I/O. Lock order:
// engine/pool/locking.md.
// Errors: Error with errno; EIO once a device went offline for writing.
class Pool {
 public:
  // Makes a pool. The devices must be open for activation; existing signatures are not checked, the
  // caller does that. `staging` may be null. Durable on return; after a failure or crash there is
  // either no pool or one that activate() completes. Errors: EINVAL for options out of range,
  // ENOSPC when the device is too small (the message states the minimum size).
  static void create(Device& capacity, Device* staging, const CreateOptions& options);

  // Reads the pool on `devices` (one or two, any order) and finishes operations that a crash
  // interrupted: its creation, changes of the pool itself, and of its metadata containers. An
  // operation is treated as interrupted only if the media proves it
  // (engine/pool/README.md, "Activation"). In doubt it throws ENOTRECOVERABLE; the message names
  // the block, the log and the location.
  // Errors: ENODEV a device is missing (staging: unless forced), EINVAL not devices of one pool / a
  // duplicate / recorded sizes or classes differ, EBADMSG no good superblock, ENOTRECOVERABLE
  // metadata is corrupt, ENXIO MDC0 does not describe a device (creating the pool or adding the
  // device was interrupted), ENOTSUP a later version, those of the devices. Nothing is written
  // before the superblocks and MDC0..N have been found valid.
  static std::unique_ptr<Pool> activate(std::vector<std::unique_ptr<Device>> devices,
                                        const ActivateOptions& options = {});
  // Ends the activation; uncommitted allocations are lost. Everything committed is durable already.
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // --- facts ---
  std::string name() const;
  Uuid uuid() const;
  ConfigRecord config() const;  // all zero when the pool has no MPCONFIG record
  const Logger& logger() const;
  const Logger& log() const { return logger(); }
  Clock& clock() const;
  JobScheduler& jobs() const;  // the work in the background
  const Tunables& tunables() const;
  Metrics& metrics() const;  // of all layers, and of its mount
  // The damage found so far, with OnDamage::report; each entry names the location.
  std::vector<std::string> damage() const;

  struct ClassInfo {
    std::string device_name;
    DeviceParams params;
    bool online = true;  // false: a write failed, the device is read-only from then on
    unsigned spare_percent = 0;
    SpaceUsage space;
  };
  bool has_class(MediaClass media_class) const;  // has a device that is present
  // A device failed for writing (Device::offline): no changes are possible. Takes no lock.
  bool offline() const noexcept;
  std::vector<MediaClass> classes() const;             // those that has_class(), capacity first
  ClassInfo class_info(MediaClass media_class) const;  // ENODEV without such a device

  struct MdcStats {
    unsigned slot = 0;
    Mdc::Stats mdc;
    std::uint64_t last_uniquifier = 0;  // slot 0: the number of MDCs
    ObjectId last_checkpoint;
    std::uint64_t capacity = 0;  // bytes of the active log
    std::uint64_t used = 0;
    std::uint64_t records = 0;
    std::uint64_t live_records = 0;  // the number after a compaction
  };
  std::vector<MdcStats> mdcs() const;  // MDC0..N
  // The ends of the logs of MDC0..N, as the next activation finds them if nothing changes any more.
  // Cheap. (The root MDC: Mdc::state().)
  std::vector<Mdc::State> mdc_states() const;
  // Calls `record` with each record of an MDC, in order.
  void read_mdc(unsigned slot, const std::function<void(ConstByteSpan)>& record) const;

  // --- objects ---
  // Every committed object of MDC1..N, in the order of their ids; a snapshot.
  std::vector<ObjectRecord> objects() const;
  // The number of objects; cheap. Includes objects being committed.
  std::size_t object_count() const;
  struct ObjectCounts {
    std::size_t mblocks = 0;
    std::size_t mlogs = 0;  // including the root MDC's two
  };
  // The same by type; equally cheap.
  ObjectCounts object_counts() const;
  std::optional<ObjectRecord> find(ObjectId id) const;  // a committed object

  // Bytes of an mblock / of the zones of an mlog of that capacity.
  std::uint64_t zone_size(MediaClass media_class) const;
  Device& device(MediaClass media_class) const;
  // Of data of this pool on its way between programs and devices. Lives as long as the pool.
  WriteMemory& write_memory() const;
  // Byte offset of an object's first zone on its device, and its size.
  std::uint64_t offset_of(const ObjectRecord& object) const;
  std::uint64_t capacity_of(const ObjectRecord& object) const;
  // The arguments of Mlog::open. The Mlog must be synced before it is closed: the next one treats
  // the content it finds as flushed.
  MlogLocation mlog_location(const ObjectRecord& object) const;

  // Allocates an object: an id that was never used, and zones, in memory only (except id
  // checkpoints). `capacity` in bytes, rounded up to zones; mblocks have one zone regardless.
  // ENOSPC after a bounded wait for pending discards; ENODEV without such a class.
  ObjectRecord allocate(ObjectType type, std::uint64_t capacity, const Placement& placement);
  // The same with an id handed out before a crash: EINVAL when it was never checkpointed, EEXIST
  // when it exists.
  ObjectRecord reallocate(ObjectId id, std::uint64_t capacity, const Placement& placement);
  // Allocates an mlog of at least `capacity` bytes that will replace a committed one, with the same
  // id and another UUID; the zones may be spare ones. In memory only; the object stays unchanged
  // until succeed(). nullopt when there is no such room. ENOENT.
  std::optional<ObjectRecord> allocate_successor(ObjectId mlog, std::uint64_t capacity);
  // Replaces the mlog by the allocated one: empty, with the generation set by the caller, which
  // must not be below the present one (OUPDATE; durable on return). The zones of the old one are
  // discarded and free again. ENOSPC when its MDC is full: nothing has changed.
  void succeed(const ObjectRecord& successor);
  // Releases the allocation of allocate_successor().
  void abandon_successor(const ObjectRecord& successor) noexcept;
  // Releases an uncommitted allocation; its zones are discarded and free again.
  void abort(const ObjectRecord& object) noexcept;
  // Commits allocated objects; durable on return, with one flush for all of them. The caller has
  // set written_length (mblocks) and made the content durable. On an error some of them may be
  // committed; the others are still allocated.
  void commit(std::span<const ObjectRecord> objects);
  // Makes committed mblocks longer: written_length of each, up to which the caller has made the
  // content durable. Durable on return (OUPDATE), with one flush for all of them. An mblock that is
  // that long already stays as it is. Calls for one mblock must not overlap. ENOENT, EINVAL beyond
  // the capacity; on an error some may be longer.
  void extend(std::span<const ObjectRecord> mblocks);
  // Deletes committed objects; durable on return, with one flush for all of them; the zones are
  // discarded and free again. ENOENT when one does not exist, EBUSY when one is pinned: then none
  // is deleted.
  void remove(std::span<const ObjectId> objects);
  // Records a greater generation of a committed mlog (OERASE), durable on return. For Mlog::reset.
  void record_generation(ObjectId mlog, std::uint64_t generation);

  // A pinned object (pins are counted) cannot be deleted. ENOENT when it does not exist.
  void pin(ObjectId id);
  void unpin(ObjectId id) noexcept;

  // Blocks until freed zones are discarded and can be allocated, at most `timeout`.
  bool wait_for_discards(std::chrono::milliseconds timeout);

  // --- changes of the pool itself ---
  // Durable on return. They exclude each other; other operations continue meanwhile. A crash or an
  // I/O error in the middle (EIO) leaves the pool in its old or new state, and the next activation
  // finishes the change.

  // Renames the pool (name as of CreateOptions; EINVAL) in the superblocks of its devices. Messages
  // keep using the name at activation. A missing device (forced activation) is renamed by the next
  // activation that includes it.
  void rename(const std::string& name);
  // Adds a staging device to a pool that has none (EEXIST). It must be open for activation;
  // existing signatures are not checked, the caller does that. zone_size: bytes, as of
  // CreateOptions; by default according to the device's size. Errors: EINVAL for the zone size,
  // ENOSPC when the device is too small, or MDC0 full.
  void add_staging(std::unique_ptr<Device> device,
                   std::optional<std::uint64_t> zone_size = std::nullopt);
  // Uses the room by which a device grew, at once, when it is at least a zone: true. False when
  // there was nothing to do. Errors: ENODEV, EINVAL when the device shrank or has more zones than
  // can be numbered.
  bool grow(MediaClass media_class);
  // 0..100 (EINVAL), of a class with a present device (ENODEV). Used zones may then exceed the
  // usable ones.
  void set_spare_percent(MediaClass media_class, unsigned percent);
  // Changes the given settings, all at once. EINVAL when one is out of range: then none is changed.
  struct Settings {
    std::optional<std::uint32_t> uid = std::nullopt;
    std::optional<std::uint32_t> gid = std::nullopt;
    std::optional<std::uint32_t> mode = std::nullopt;  // permission bits
    std::optional<std::string> label = std::nullopt;   // at most ConfigRecord::kMaxLabelLength
    std::optional<Uuid> user_type = std::nullopt;      // purpose of the pool; free to use
    std::optional<std::uint32_t> max_readahead_pages = std::nullopt;
    std::optional<std::uint32_t> max_map_shift = std::nullopt;  // log2 of bytes, 12..63
    bool operator==(const Settings&) const = default;
  };
  void configure(const Settings& changes);

  // One pass of maintenance of the MDCs: compacts those that reach the thresholds, adds some when
  // all are filling up. Failures are logged. On devices that keep nothing, or are read-only, no job
  // does it.
  void maintain();

  // --- a client's metadata ---
  // Opens a pair of committed mlogs as MDC; "the root MDC" without arguments. Damage is handled as
  // by ActivateOptions: ENOTRECOVERABLE, nothing was written to the pair, or the MDC is read-only.
  // `finish`: as Mdc::OpenOptions.
  std::unique_ptr<Mdc> open_mdc(
      ObjectId first, ObjectId second,
      Mdc::OpenOptions::Finish finish = Mdc::OpenOptions::Finish::at_once);
  std::unique_ptr<Mdc> open_root_mdc() { return open_mdc(root_log_id(0), root_log_id(1)); }

 private:
  struct Impl;
  explicit Pool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpool
