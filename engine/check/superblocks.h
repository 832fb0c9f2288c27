// The superblocks of a pool's devices. Internal to engine/check.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>

#include "engine/check/report.h"
#include "engine/format/media.h"

namespace mpool::check {

// A device of the pool and its valid superblock.
struct Member {
  Device* device = nullptr;
  Superblock superblock;
  // Staging device only. Not empty: its first copy is not a superblock. That is damage or, where
  // MDC0 does not know the device, an interrupted addition of the device (check_devices() reports
  // it).
  std::string first_copy_fault = {};
  std::size_t index = 0;  // in the devices checked
};
using Members = std::array<std::optional<Member>, kMediaClassCount>;

// Reports a bad copy, and plans to write both copies again.
void report_bad_copy(Report& report, const Member& member, std::size_t copy, std::string what);

// Reads both copies of each device and compares them, and the devices with each other. The returned
// members can be read. Plans the repair of copies. Errors as check().
Members check_superblocks(std::span<const std::unique_ptr<Device>> devices, Report& report);

}  // namespace mpool::check
