// The superblocks of a pool's devices. Internal to engine/check.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>

#include "engine/check/report.h"
#include "engine/format/media.h"

namespace mpool::check {

// A device of the pool with the superblock that counts.
struct Member {
  Device* device = nullptr;
  Superblock superblock;
  // Of a staging device: its first copy is no superblock, which is either damage or, where MDC0
  // does not know the device, adding it that was interrupted (check_devices() reports it). Empty:
  // it is one.
  std::string first_copy_fault = {};
  std::size_t index = 0;  // in the devices checked
};
using Members = std::array<std::optional<Member>, kMediaClassCount>;

// Reports that a copy is bad, and plans to write both again.
void report_bad_copy(Report& report, const Member& member, std::size_t copy, std::string what);

// Reads both copies of each device and compares them, and the devices, with each other. The members
// returned can be read from; plans the repair of copies. Errors as check().
Members check_superblocks(std::span<const std::unique_ptr<Device>> devices, Report& report);

}  // namespace mpool::check
