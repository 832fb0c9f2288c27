#include "engine/pool/claim.h"

#include <cerrno>
#include <memory>
#include <span>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "engine/io/blkid_probe.h"
#include "engine/io/file_descriptor.h"
#include "engine/io/open.h"
#include "engine/io/probe.h"
#include "engine/pool/discovery.h"

namespace mpool {

namespace {

// A device has a few signatures (a GPT has three); a device on which wiping has no effect must not
// cause an endless loop.
constexpr int kMaxSignatures = 100;

// The known content of the device, or empty. Throws what probe_signature throws.
std::string known_content(const std::string& path, Device& device) {
  const auto signature = probe_signature(path);
  const SuperblockPair pair = read_superblocks(device);
  // Written before the superblocks of the capacity device, which come last: it may be the remains
  // of an interrupted creation, or belong to an intact pool.
  if (pair.chosen && !pair.chosen->mdc0) {
    return fmt::format(
        "the staging device of pool {} (UUID {}), perhaps of a creation that was "
        "interrupted",
        pair.chosen->pool_name, pair.chosen->pool_uuid.to_string());
  }
  if (signature) return signature->describe();
  for (const auto& copy : pair.copies) {
    if (copy) return fmt::format("damaged mpool \"{}\"", copy->superblock.pool_name);
  }
  return {};
}

void wipe_signatures(const std::string& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) raise_system(errno, path, "open");
  const BlkidProbe probe(blkid_new_probe());
  if (probe == nullptr) raise_system(ENOMEM, path, "wiping signatures");
  if (blkid_probe_set_device(probe.get(), fd.get(), 0, 0) != 0) {
    raise(EIO, path, "wiping signatures: libblkid cannot read it");
  }
  blkid_probe_enable_superblocks(probe.get(), 1);
  // With a bad checksum too: another program may be less strict than libblkid.
  blkid_probe_set_superblocks_flags(probe.get(),
                                    BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_BADCSUM);
  blkid_probe_enable_partitions(probe.get(), 1);
  blkid_probe_set_partitions_flags(probe.get(), BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
  int wiped = 0;
  while (blkid_do_probe(probe.get()) == 0) {  // 0: found one
    if (++wiped > kMaxSignatures) raise(EIO, path, "wiping signatures has no effect");
    if (blkid_do_wipe(probe.get(), 0) != 0) raise_system(EIO, path, "wiping a signature");
  }
  if (::fsync(fd.get()) != 0) raise_system(errno, path, "fsync");
}

}  // namespace

std::unique_ptr<Device> claim_device(const std::string& path, DeviceContent content,
                                     const Logger& logger) {
  auto device = open_device(path, OpenMode::activate, {.logger = logger});
  if (device->properties().size < kSuperblockAreaSize) {
    raise(ENOSPC, path, "{} are too small for a pool", format_size(device->properties().size));
  }
  if (content == DeviceContent::refuse) {
    const std::string known = known_content(path, *device);
    if (!known.empty()) raise(EEXIST, path, "not empty: {}", known);
  }
  return device;
}

void wipe_device(std::unique_ptr<Device>& device) {
  wipe_signatures(device->name());
  destroy_pool(std::span(&device, 1));
}

}  // namespace mpool
