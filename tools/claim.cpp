#include "tools/claim.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/io/open.h"
#include "engine/io/probe.h"
#include "engine/pool/discovery.h"
#include "tools/pool_access.h"

namespace mpool::tools {

namespace {

bool is_below_dev(const std::string& path) {
  const std::string absolute =
      std::filesystem::weakly_canonical(std::filesystem::absolute(path)).string();
  return absolute.starts_with("/dev/") && !absolute.starts_with("/dev/shm/");
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
    engine_logger().error("{}: removing the new image: {}", path_, errno_text(errno));
  }
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  return std::filesystem::weakly_canonical(a) == std::filesystem::weakly_canonical(b) ||
         std::filesystem::equivalent(a, b, error);
}

void refuse_taken_name(const std::string& name, std::span<const std::string> ours) {
  for (const FoundDevice& found : peek_devices(list_block_devices())) {
    if (found.superblock.pool_name != name) continue;
    if (std::ranges::any_of(ours, [&](const auto& path) { return same_file(path, found.path); })) {
      continue;
    }
    raise(EEXIST, name, "{} holds a pool of this name (UUID {}); use another name, or --force",
          found.path, found.superblock.pool_uuid.to_string());
  }
}

std::unique_ptr<Device> claim_device(const std::string& path, bool force) {
  try {
    return mpool::claim_device(path, force ? DeviceContent::overwrite : DeviceContent::refuse,
                               engine_logger());
  } catch (const Error& error) {
    if (error.code() == EEXIST)
      raise(EEXIST, path, "{}; use --force to overwrite it", error.detail());
    if (error.code() != ENOENT) throw;
    raise(ENOENT, path,
          "no such device or file; a size (--size, --staging-size) makes an image file");
  }
}

}  // namespace mpool::tools
