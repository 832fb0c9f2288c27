// MDC0..N: their logs and records, and what these say about objects and zones. Internal to
// engine/check.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/check/report.h"
#include "engine/check/superblocks.h"
#include "engine/pool/object_table.h"
#include "engine/pool/pool_state.h"
#include "engine/tree/records.h"

namespace mpool::check {

// One of MDC0..N.
struct Slot {
  ObjectTable objects;
  std::optional<ObjectId> checkpoint;  // the last one
  bool readable = true;                // all its records are known, except those reported
  std::optional<names::MdcEnd> end;    // of its active log

  // An upper bound of all uniquifiers handed out. Before the first checkpoint: the first uniquifier
  // that needs one.
  std::uint64_t id_limit() const {
    return (checkpoint ? checkpoint->uniquifier() : 0) + ObjectId::kCheckpointInterval;
  }
};

// The state of the pool according to its metadata.
struct Metadata {
  const Members& members;
  std::string pool;  // "pool p": for messages
  PoolProperties properties;
  std::vector<std::unique_ptr<Slot>> slots;  // MDC0..N; empty: MDC0 cannot be read

  // nullopt when no such object exists (or none is known).
  std::optional<ObjectRecord> find(ObjectId id) const;
  // As find(), but also true for an object whose MDC cannot be read.
  bool may_exist(ObjectId id) const;
  // True if the id may have been given to an object; also true where its MDC cannot be read.
  bool was_handed_out(ObjectId id) const;
  // The objects of MDC1..N, ordered by id.
  std::vector<ObjectRecord> objects() const;
  bool all_readable() const;
  // The location of an mlog; nullopt when its device is missing.
  std::optional<MlogLocation> location_of(const ObjectRecord& mlog) const;
  // The pair `first`, `second` of mlogs; nullopt when either does not exist or its device is
  // missing.
  std::optional<std::array<Mdc::Half, 2>> pair_of(ObjectId first, ObjectId second) const;
};

// Reads MDC0, then MDC1..N, and reports their faults. The capacity device must be present;
// `members` must outlive the result.
Metadata check_metadata(const Members& members, Report& report);

// Reports zones that belong to two objects.
void check_space(const Metadata& metadata, Report& report);

// Checks the logs of users and, with Options::data, the mblocks.
void check_content(const Metadata& metadata, Report& report);

}  // namespace mpool::check
