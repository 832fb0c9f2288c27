// Checking a pool without activating it, and repairing what can be repaired safely
// (engine/format/README.md, all of it; engine/names/records.md, "Validity").
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/uuid.h"
#include "engine/device/device.h"
#include "engine/format/superblock.h"

namespace mpool::check {

enum class Severity {
  note,        // worth knowing; nothing is wrong
  unfinished,  // a step that a crash interrupted; the next activation or mount finishes it
  error,       // damage, or parts that contradict each other
};
std::string_view to_string(Severity severity);

enum class Area {
  superblocks,
  metadata,  // MDC0..N, their records, the zones of objects
  tree,      // the root MDC: names, and the objects that they stand for
  content,   // mblocks and logs of users
};
std::string_view to_string(Area area);

struct Finding {
  Severity severity = Severity::error;
  Area area = Area::metadata;
  bool repairable = false;  // repair() puts it right
  std::string where;        // "/dev/sdb superblock 0", "MDC3 of pool p", "/photos/a.jpg"
  std::string what;         // what was found, and what was expected
  std::string advice;       // what to do about it
};

struct Options {
  // Read every mblock whole, to find sectors that cannot be read.
  bool data = false;
  // Called for each finding, on the caller's thread.
  std::function<void(const Finding&)> report;
  // Called now and then: `done` of `total` (of a kind that `step` names: "logs", "MiB of mblocks").
  std::function<void(std::string_view step, std::uint64_t done, std::uint64_t total)> progress;
};

// What repair() would do.
struct Plan {
  struct Superblocks {
    std::size_t device = 0;  // index in the devices checked
    Superblock right;        // what both copies should say
    std::string text;
  };
  std::vector<Superblocks> superblocks;
  std::vector<std::string> activation;  // steps that an activation finishes
  std::vector<std::string> mount;       // steps that a mount finishes
  bool tree_is_ours = false;            // mpoolfs mounted the pool before
  std::string obstacle;                 // not empty: why neither can be done
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
  std::uint64_t names = 0;  // in the tree; 0 when there is none of ours
  Plan plan;
};

// Checks the pool on `devices`, which are opened for reading at least and not in use. Writes
// nothing. Damage is reported, never thrown; so is a device that is missing or holds no pool.
// Throws Error EINVAL when the devices belong to several pools. Memory: as an activation, twice.
// Threads: the devices may be used by others for reading.
Result check(std::span<const std::unique_ptr<Device>> devices, const Options& options);

// Does what check() planned on the same devices, now opened for activation: `announce` is told each
// step before it is done. Returns how many steps were done. Throws Error when a step fails; those
// before it hold.
std::size_t repair(std::span<const std::unique_ptr<Device>> devices, const Plan& plan,
                   const std::function<void(const std::string&)>& announce);

}  // namespace mpool::check
