// MDC0..N: their logs and records, and what these say about objects and zones. Internal to
// engine/check.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/check/report.h"
#include "engine/check/superblocks.h"
#include "engine/names/records.h"
#include "engine/pool/object_table.h"
#include "engine/pool/pool_state.h"

namespace mpool::check {

// One of MDC0..N.
struct Slot {
  ObjectTable objects;
  std::optional<ObjectId> checkpoint;  // the last one
  bool readable = true;                // its records are known, but for those reported
  std::optional<names::MdcEnd> end;    // of its active log

  // Above every uniquifier handed out: before the first checkpoint, up to the first that needs one.
  std::uint64_t id_limit() const {
    return (checkpoint ? checkpoint->uniquifier() : 0) + ObjectId::kCheckpointInterval;
  }
};

// What the metadata says about the pool.
struct Metadata {
  const Members& members;
  std::string pool;  // "pool p": for messages
  PoolProperties properties;
  std::vector<std::unique_ptr<Slot>> slots;  // MDC0..N; empty: MDC0 cannot be read

  // nullopt when there is no such object (or none is known).
  std::optional<ObjectRecord> find(ObjectId id) const;
  // The same; also true for one whose MDC cannot be read.
  bool may_exist(ObjectId id) const;
  // Whether the id may have been given to an object; true where its MDC cannot be read.
  bool was_handed_out(ObjectId id) const;
  // Of MDC1..N, in the order of their ids.
  std::vector<ObjectRecord> objects() const;
  bool all_readable() const;
  // Where a mlog lies; nullopt when its device is missing.
  std::optional<MlogPlace> place_of(const ObjectRecord& mlog) const;
  // The pair `first`, `second` of mlogs; nullopt when one does not exist or lies on no device.
  std::optional<std::array<Mdc::Half, 2>> pair_of(ObjectId first, ObjectId second) const;
};

// Reads MDC0 and then MDC1..N, and reports what is wrong with them. The capacity device is there;
// `members` must outlive the result.
Metadata check_metadata(const Members& members, Report& report);

// Zones that two objects have.
void check_space(const Metadata& metadata, Report& report);

// The logs of users, and with Options::data the mblocks.
void check_content(const Metadata& metadata, Report& report);

}  // namespace mpool::check
