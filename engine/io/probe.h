// Signatures on a device, found by libblkid.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace mpool {

struct Signature {
  std::string type;   // "ext4", "LVM2_member", "dos" (partition table), "mpool", …
  std::string usage;  // "filesystem" (mpool too), "raid", "crypto", "other", "partition table"
  std::string label;  // empty: none
  std::string uuid;   // empty: none
  // "ext4 file system labelled \"data\"": for messages.
  std::string describe() const;
};

// The first known signature on `path` (file system, RAID, LVM, partition table, mpool, …), or
// nullopt. Throws Error when the path cannot be read or holds several signatures that contradict
// each other (EEXIST; the message names both).
std::optional<Signature> probe_signature(const std::string& path);

// Block devices of this machine (from /sys/block and partitions), by path, sorted; without devices
// of size 0 and read-only loop devices that disappear with their user.
std::vector<std::string> list_block_devices();

}  // namespace mpool
