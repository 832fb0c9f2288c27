// Checking a pool without activating it, and repairing what can be repaired safely
// (engine/format/README.md, all of it; engine/tree/records.md, "Validity").
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/uuid.h"
#include "engine/format/superblock.h"
#include "engine/io/device.h"

namespace mpool::check {

enum class Severity {
  note,        // worth knowing; no fault
  unfinished,  // a step that a crash interrupted; the next activation or mount finishes it
  error,       // damage, or parts that contradict each other
};
std::string_view to_string(Severity severity);

enum class Area {
  superblocks,
  metadata,  // MDC0..N, their records, the zones of objects
  tree,      // the root MDC: names and the objects that they refer to
  content,   // mblocks and logs of users
};
std::string_view to_string(Area area);

struct Finding {
  Severity severity = Severity::error;
  Area area = Area::metadata;
  bool repairable = false;  // repair() corrects it
  std::string where;        // "/dev/sdb superblock 0", "MDC3 of pool p", "/photos/a.jpg"
  std::string what;         // found and expected state
  std::string advice;       // the action for the administrator
};

struct Options {
  // Read every mblock completely, to find sectors that cannot be read.
  bool data = false;
  // Called for each finding, on the caller's thread.
  std::function<void(const Finding&)> report;
  // Called from time to time: `done` of `total` units; `step` names the unit ("logs", "MiB of
  // mblocks").
  std::function<void(std::string_view step, std::uint64_t done, std::uint64_t total)> progress;
};

// The actions of repair().
struct Plan {
  struct Superblocks {
    std::size_t device = 0;  // index in the devices checked
    Superblock right;        // the correct content of both copies
    std::string text;
  };
  std::vector<Superblocks> superblocks;
  std::vector<std::string> activation;  // steps that an activation finishes
  std::vector<std::string> mount;       // steps that a mount finishes
  bool tree_is_ours = false;            // mpoolfs mounted the pool before
  std::string obstacle;  // not empty: why neither an activation nor a mount is possible
};

struct Result {
  std::string pool_name;  // empty: no good superblock
  Uuid pool_uuid;
  std::size_t errors = 0;
  std::size_t unfinished = 0;
  std::size_t notes = 0;
  std::size_t repairable_errors = 0;  // of errors
  std::uint64_t mblocks = 0;
  std::uint64_t mlogs = 0;
  std::uint64_t names = 0;  // in the tree; 0 when mpoolfs has no tree in the pool
  Plan plan;
};

// Checks the pool on `devices`, which are opened at least for reading and not in use. Writes
// nothing. Damage is reported, never thrown; so is a device that is missing or holds no pool.
// Throws Error EINVAL when the devices belong to several pools. Memory: twice that of an
// activation. Threads: other threads may read the devices at the same time.
Result check(std::span<const std::unique_ptr<Device>> devices, const Options& options);

// Performs the plan of check() on the same devices, now opened for activation. Calls `announce`
// with each step before performing it. Returns the number of steps performed. Throws Error when a
// step fails; the steps before it keep their effect.
std::size_t repair(std::span<const std::unique_ptr<Device>> devices, const Plan& plan,
                   const std::function<void(const std::string&)>& announce);

}  // namespace mpool::check
