#include "engine/check/superblocks.h"

#include <cerrno>

#include "engine/base/error.h"
#include "engine/format/log_block.h"
#include "engine/pool/discovery.h"
#include "engine/pool/pool_state.h"

namespace mpool::check {
namespace {

constexpr const char* kRepair = "mpool check --repair writes it again from the good copy";

std::string copy_name(const Device& device, std::size_t copy) {
  return fmt::format("{} superblock {}", device.name(), copy);
}

void bad_copy(Report& report, const Device& device, std::size_t copy, std::string what) {
  report.add({.area = Area::superblocks,
              .repairable = true,
              .where = copy_name(device, copy),
              .what = std::move(what),
              .advice = kRepair});
}

bool lies_inside(const Mdc0Location& mdc0, const DeviceParams& params) {
  for (const auto& half : mdc0.halves) {
    const auto [count, first] = half.layout;
    if (half.device_uuid != params.uuid || count == 0 || first < params.superblock_zones() ||
        first >= params.zone_count || count > params.zone_count - first) {
      return false;
    }
  }
  return true;
}

// The evidence of the first blocks of MDC0's logs about a location in a superblock.
struct Evidence {
  bool confirmed = false;  // a block with the UUID and generation is there
  // a block of another log is there, or the location is not on the device
  bool contradicted = false;
};

Evidence look_for_mdc0(Device& device, const Superblock& superblock) {
  Evidence evidence;
  if (!lies_inside(*superblock.mdc0, superblock.device)) return {.contradicted = true};
  AlignedBuffer page(kPageSize);
  for (const auto& half : superblock.mdc0->halves) {
    device.read(half.layout.first_zone * superblock.device.zone_size(), page.span());
    const auto header = LogBlockHeader::load(page.span());
    if (!header) continue;
    if (header->magic != half.uuid) {
      evidence.contradicted = true;
    } else if (header->generation == half.generation) {
      evidence.confirmed = true;
    }
  }
  return evidence;
}

// Both copies are valid but disagree about the location of MDC0: the logs themselves may decide.
std::optional<std::size_t> right_copy(Device& device, const SuperblockPair& pair) {
  std::array<bool, 2> plausible{};
  for (std::size_t i = 0; i < 2; ++i) {
    if (!pair.copies[i] || !pair.copies[i]->superblock.mdc0) continue;
    const Evidence evidence = look_for_mdc0(device, pair.copies[i]->superblock);
    plausible[i] = evidence.confirmed && !evidence.contradicted;
  }
  if (plausible[0] == plausible[1]) return std::nullopt;
  return plausible[0] ? 0 : 1;
}

// Reports differences of two valid copies. False when the right one cannot be determined.
bool compare_copies(Report& report, Device& device, SuperblockPair& pair) {
  if (pair.mdc0_ambiguous) {
    const auto right = right_copy(device, pair);
    if (!right) {
      report.error(Area::superblocks, device.name(),
                   "the superblocks disagree about the place of MDC0, or their checksums of it are "
                   "wrong, and no log at either place tells which is right",
                   "do not write to the device; restore it from a backup");
      return false;
    }
    pair.chosen = pair.copies[*right]->superblock;
    bad_copy(report, device, 1 - *right,
             fmt::format("its place of MDC0 is wrong: the log there belongs to what superblock {} "
                         "says; the pool cannot be activated like this",
                         *right));
    return true;
  }
  const auto& [first, second] = pair.copies;
  for (std::size_t i = 0; i < 2; ++i) {
    if (pair.copies[i]->mdc0_checksum == Mdc0Checksum::bad) {
      bad_copy(report, device, i, "the checksum of its MDC0 part is wrong");
      return true;
    }
  }
  if (first->superblock == second->superblock) return true;
  const Superblock& a = first->superblock;
  const Superblock& b = second->superblock;
  if (a.pool_uuid != b.pool_uuid || a.device.uuid != b.device.uuid) {
    bad_copy(report, device, 1,
             fmt::format("is of device {} of pool {}, superblock 0 of device {} of pool {}",
                         b.device.uuid.to_string(), b.pool_uuid.to_string(),
                         a.device.uuid.to_string(), a.pool_uuid.to_string()));
  } else if (a.mdc0 && b.mdc0 && !a.mdc0->same_place(*b.mdc0)) {
    const bool first_chosen = pair.chosen->mdc0->same_place(*a.mdc0);
    bad_copy(report, device, first_chosen ? 1 : 0,
             "its place of MDC0 is wrong, by the checksum of the other copy");
  } else {
    report.add({.severity = Severity::unfinished,
                .area = Area::superblocks,
                .repairable = true,
                .where = device.name(),
                .what = "superblock 1 is older than superblock 0: an update was interrupted",
                .advice = "the next update writes both; so does mpool check --repair"});
  }
  return true;
}

void plan_superblocks(Report& report, std::size_t index, const Device& device,
                      const Superblock& right) {
  report.result().plan.superblocks.push_back(
      {index, right, fmt::format("{}: writing both superblocks again", device.name())});
}

// The device with its superblock, or nullopt when it has no usable one.
std::optional<Member> check_device(std::size_t index, Device& device, Report& report) {
  SuperblockPair pair = read_superblocks(device);
  if (!pair.chosen) {
    report.error(Area::superblocks, device.name(),
                 fmt::format("no good superblock: superblock 0: {}; superblock 1: {}",
                             pair.faults[0], pair.faults[1]),
                 "give the devices of a pool, or restore this one from a backup");
    return std::nullopt;
  }
  Member member{.device = &device, .superblock = *pair.chosen, .index = index};
  if (!pair.copies[0] && pair.chosen->device.media_class == MediaClass::staging) {
    member.first_copy_fault = pair.faults[0];
    return member;
  }
  for (std::size_t i = 0; i < 2; ++i) {
    if (!pair.copies[i]) bad_copy(report, device, i, pair.faults[i]);
  }
  if (pair.copies[0] && pair.copies[1]) {
    if (!compare_copies(report, device, pair)) return std::nullopt;
  } else if (pair.mdc0_ambiguous) {
    report.error(Area::superblocks, device.name(),
                 "the only good superblock has a wrong checksum of the place of MDC0",
                 "do not write to the device; restore it from a backup");
    return std::nullopt;
  }
  member.superblock = *pair.chosen;
  const Superblock& right = member.superblock;
  if (device.properties().size < right.device.device_size) {
    report.error(Area::superblocks, device.name(),
                 fmt::format("has {} bytes, its superblock says {}", device.properties().size,
                             right.device.device_size),
                 "give the device or image at its full size; a truncated copy cannot be activated");
  }
  if (pair.needs_repair) plan_superblocks(report, index, device, right);
  return member;
}

void compare_names(const Members& members, Report& report) {
  const auto& [staging, capacity] = members;
  if (!staging || !capacity) return;
  const std::string& name = capacity->superblock.pool_name;
  if (staging->superblock.pool_name == name) return;
  report.unfinished(
      Area::superblocks, staging->device->name(),
      fmt::format("it calls the pool {}, the capacity device calls it {}: renaming it "
                  "was interrupted",
                  staging->superblock.pool_name, name),
      fmt::format("calling the pool {} there, too", name));
}

}  // namespace

void report_bad_copy(Report& report, const Member& member, std::size_t copy, std::string what) {
  bad_copy(report, *member.device, copy, std::move(what));
  plan_superblocks(report, member.index, *member.device, member.superblock);
}

Members check_superblocks(std::span<const std::unique_ptr<Device>> devices, Report& report) {
  Members members;
  const Member* first = nullptr;
  Result& result = report.result();
  for (std::size_t i = 0; i < devices.size(); ++i) {
    Device& device = *devices[i];
    auto member = check_device(i, device, report);
    if (!member) continue;
    const Superblock& superblock = member->superblock;
    if (first != nullptr && superblock.pool_uuid != first->superblock.pool_uuid) {
      raise(EINVAL, device.name(), "belongs to pool {} ({}), but {} to pool {} ({})",
            superblock.pool_name, superblock.pool_uuid.to_string(), first->device->name(),
            first->superblock.pool_name, first->superblock.pool_uuid.to_string());
    }
    auto& place = members[index_of(superblock.device.media_class)];
    if (place) {
      report.error(Area::superblocks, device.name(),
                   fmt::format("is a second {} device of the pool beside {}",
                               to_string(superblock.device.media_class), place->device->name()),
                   "a copy? leave it out");
      continue;
    }
    place = std::move(member);
    if (first == nullptr) first = &*place;
  }
  if (const auto& capacity = members[index_of(MediaClass::capacity)]; capacity) {
    first = &*capacity;
    if (!lies_inside(*capacity->superblock.mdc0, capacity->superblock.device)) {
      report.error(Area::superblocks, capacity->device->name(),
                   "its superblocks say that MDC0 lies where no log of this device can be",
                   "restore the device from a backup");
      members[index_of(MediaClass::capacity)].reset();
      return members;
    }
  }
  compare_names(members, report);
  if (first != nullptr) {
    result.pool_name = first->superblock.pool_name;
    result.pool_uuid = first->superblock.pool_uuid;
  }
  return members;
}

}  // namespace mpool::check
