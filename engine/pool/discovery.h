// Finding pools on devices, and removing them, without activating.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/format/superblock.h"
#include "engine/io/device.h"
#include "engine/io/open.h"

namespace mpool {

// The two superblock copies of a device and the one that counts (engine/format/README.md,
// "Superblock").
struct SuperblockPair {
  std::array<std::optional<DecodedSuperblock>, 2> copies;  // absent: not readable as a superblock
  std::array<std::string, 2> faults;                       // the reason of absence
  std::optional<Superblock> chosen;                        // absent: neither copy is valid
  // Set when the copies (or a copy and its extension checksum) disagree about the location of MDC0
  // and the superblocks alone do not show the right one.
  bool mdc0_ambiguous = false;
  bool needs_repair = false;  // a copy is bad or older: the next update writes it again
};
SuperblockPair read_superblocks(Device& device);

// A device with a superblock.
struct FoundDevice {
  std::string path;
  Superblock superblock;
  bool active = false;  // locked by an activation
};

// The devices among `paths` that belong to a pool. Other devices are skipped silently; devices that
// cannot be read are passed to `unreadable` (path, reason) when given.
std::vector<FoundDevice> scan_devices(
    std::span<const std::string> paths,
    const std::function<void(const std::string&, const std::string&)>& unreadable = nullptr,
    const Logger& logger = {});
// The same without looking whether they are active, which takes their locks for a moment.
std::vector<FoundDevice> peek_devices(
    std::span<const std::string> paths,
    const std::function<void(const std::string&, const std::string&)>& unreadable = nullptr);

// Tells the superblocks of the pool that a user calls so: by its name or `UUID=…`. EINVAL: not a
// UUID.
std::function<bool(const Superblock&)> match_pool(const std::string& pool);

// Whether resolve_pool() searches for devices of the pool that were not named.
enum class OtherDevices { find, leave };

// Resolves a user's name of a pool to its device paths. A name or `UUID=…` is searched on all block
// devices; text with a '/' (or naming an existing file) is a device path, or several (path_list.h).
// When the named paths are block devices, the other devices of their pool are searched on all block
// devices and come after them: mount(8) passes one device only. ENODEV when no pool of that name or
// UUID is found, ENOTUNIQ when several pools have the name (the message lists their UUIDs).
std::vector<std::string> resolve_pool(const std::string& pool,
                                      OtherDevices others = OtherDevices::find,
                                      const Logger& logger = {});

// Opens the devices of a pool; see open_device for mode, options and errors. `activate` also locks
// the pool's UUID until the devices are closed: while a copy of the pool is active, EBUSY with a
// message that names the holder.
std::vector<std::unique_ptr<Device>> open_pool_devices(const std::vector<std::string>& paths,
                                                       OpenMode mode,
                                                       const OpenOptions& options = {});

// Wipes both superblocks of every device. The devices are open for activation (so the pool is not
// active). Durable on return.
void destroy_pool(std::span<const std::unique_ptr<Device>> devices);

}  // namespace mpool
