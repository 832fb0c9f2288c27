#include "tools/claim.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <type_traits>
#include <utility>

#include <blkid/blkid.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "engine/io/file_descriptor.h"
#include "engine/io/open.h"
#include "engine/io/probe.h"
#include "engine/pool/discovery.h"

namespace mpool::tools {

namespace {

constexpr const char* kForceHint = "use --force to overwrite it";

// A device has a few signatures (a GPT has three); a device on which wiping has no effect must not
// cause an endless loop.
constexpr int kMaxSignatures = 100;

struct FreeProbe {
  void operator()(blkid_probe probe) const { blkid_free_probe(probe); }
};
using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, FreeProbe>;

bool is_below_dev(const std::string& path) {
  const std::string absolute =
      std::filesystem::weakly_canonical(std::filesystem::absolute(path)).string();
  return absolute.starts_with("/dev/") && !absolute.starts_with("/dev/shm/");
}

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

void refuse_content(const std::string& path, Device& device) {
  std::string content;
  try {
    content = known_content(path, device);
  } catch (const Error& error) {
    if (error.code() != EEXIST) throw;
    raise(EEXIST, path, "{}; {}", error.detail(), kForceHint);
  }
  if (!content.empty()) raise(EEXIST, path, "not empty: {}; {}", content, kForceHint);
}

void wipe_signatures(const std::string& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) raise_system(errno, path, "open");
  const Probe probe(blkid_new_probe());
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

NewImage::NewImage(std::string path, std::uint64_t size) : path_(std::move(path)) {
  if (is_below_dev(path_)) {
    raise(EINVAL, path_, "is below /dev: give --size only to make an image file");
  }
  try {
    create_image_file(path_, size);
  } catch (const Error& error) {
    if (error.code() != EEXIST) throw;
    raise(EEXIST, path_, "exists: leave out the size to use it as it is");
  }
}

NewImage::~NewImage() {
  if (!kept_ && ::unlink(path_.c_str()) != 0) {
    spdlog::error("{}: removing the new image: {}", path_, errno_text(errno));
  }
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  return std::filesystem::weakly_canonical(a) == std::filesystem::weakly_canonical(b) ||
         std::filesystem::equivalent(a, b, error);
}

void refuse_taken_name(const std::string& name, std::span<const std::string> ours) {
  for (const FoundDevice& found : scan_devices(list_block_devices())) {
    if (found.superblock.pool_name != name) continue;
    if (std::ranges::any_of(ours, [&](const auto& path) { return same_file(path, found.path); })) {
      continue;
    }
    raise(EEXIST, name, "{} holds a pool of this name (UUID {}); use another name, or --force",
          found.path, found.superblock.pool_uuid.to_string());
  }
}

std::unique_ptr<Device> claim_device(const std::string& path, bool force) {
  std::unique_ptr<Device> device;
  try {
    device = open_device(path, OpenMode::activate);
  } catch (const Error& error) {
    if (error.code() != ENOENT) throw;
    raise(ENOENT, path,
          "no such device or file; a size (--size, --staging-size) makes an image file");
  }
  if (device->properties().size < kSuperblockAreaSize) {
    raise(ENOSPC, path, "{} are too small for a pool", format_size(device->properties().size));
  }
  if (!force) refuse_content(path, *device);
  return device;
}

void wipe_device(std::unique_ptr<Device>& device) {
  wipe_signatures(device->name());
  destroy_pool(std::span(&device, 1));
}

}  // namespace mpool::tools
