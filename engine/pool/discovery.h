// Finding pools on devices, and removing them, without activating.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/device/device.h"
#include "engine/device/open.h"
#include "engine/format/superblock.h"

namespace mpool {

// The two superblock copies of a device and the one that counts (engine/format/README.md,
// "Superblock").
struct SuperblockPair {
  std::array<std::optional<DecodedSuperblock>, 2> copies;  // absent: not readable as a superblock
  std::array<std::string, 2> faults;                       // why not
  std::optional<Superblock> chosen;                        // absent: neither copy is good
  // Set when the copies (or a copy and its extension checksum) disagree about where MDC0 is and the
  // right one cannot be told from the superblocks alone.
  bool mdc0_ambiguous = false;
  bool needs_repair = false;  // a copy is bad or older: written again at the next update
};
SuperblockPair read_superblocks(Device& device);

// A device that carries a superblock.
struct FoundDevice {
  std::string path;
  Superblock superblock;
  bool active = false;  // locked by an activation
};

// The devices among `paths` that belong to a pool; others are passed over silently, those that
// cannot be read are told to `unreadable` (path, reason) when given.
std::vector<FoundDevice> scan_devices(
    std::span<const std::string> paths,
    const std::function<void(const std::string&, const std::string&)>& unreadable = nullptr);

// Whether resolve_pool() looks for devices of the pool that were not named.
enum class OtherDevices { find, leave };

// Turns what a user calls a pool into its device paths: a name or `UUID=…` is looked for on all
// block devices; anything with a '/' (or naming an existing file) is taken as a device path, or as
// several (path_list.h). When those named are block devices, the other devices of their pool are
// looked for on all block devices and come after them: mount(8) knows one device only. ENODEV when
// no pool of that name or UUID is found, ENOTUNIQ when several pools have the name (the message
// lists their UUIDs).
std::vector<std::string> resolve_pool(const std::string& pool,
                                      OtherDevices others = OtherDevices::find);

// Opens the devices of a pool; see open_device for mode, holders and errors. `activate` also locks
// the pool's UUID until the devices end: EBUSY, which names the holder, while a copy of the pool is
// active.
std::vector<std::unique_ptr<Device>> open_pool_devices(const std::vector<std::string>& paths,
                                                       OpenMode mode,
                                                       const TolerateHolder& tolerate = nullptr);

// Wipes both superblocks of every device. The devices are open for activation (so the pool is not
// active). Durable on return.
void destroy_pool(std::span<const std::unique_ptr<Device>> devices);

}  // namespace mpool
