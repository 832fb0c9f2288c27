#include "fuse/view/view_devices.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include "engine/base/error.h"
#include "engine/device/loops.h"
#include "engine/device/open.h"
#include "fuse/view/erofs_image.h"
#include "fuse/view/view.h"

namespace mpoolfs {

namespace {

// Where that cannot be told, for lack of permission, somebody may.
bool may_be_held(const std::string& loop) {
  return mpool::try_exclusive_open(loop) != 0;
}

}  // namespace

ViewDevices::ViewDevices(const mpool::Pool& pool) {
  for (const mpool::MediaClass media_class : pool.classes()) {
    const mpool::Device& device = pool.device(media_class);
    members_.push_back({.media_class = media_class,
                        .path = device.name(),
                        .is_file = device.properties().is_file});
    sizes_.push_back(device.size());
  }
}

bool ViewDevices::has_other_readers() const {
  return std::ranges::any_of(members_, [](const Member& member) {
    // The earlier daemon may have known the same media as the file or as another loop device.
    return (!member.is_file && mpool::try_exclusive_open(member.path) == EBUSY) ||
           std::ranges::any_of(mpool::loops_over(member.path), may_be_held);
  });
}

void ViewDevices::attach() {
  for (const Member& member : members_) {
    if (!member.is_file) {
      paths_.push_back(member.path);
      continue;
    }
    const mpool::FileDescriptor file(::open(member.path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) mpool::raise_system(errno, member.path, "open");
    paths_.push_back(loops_.emplace_back(file.get(), member.path, true).path());
  }
}

std::uint32_t ViewDevices::index_of(mpool::MediaClass media_class) const {
  const auto found = std::ranges::find(members_, media_class, &Member::media_class);
  return static_cast<std::uint32_t>(found - members_.begin());
}

bool is_held_by_views(const std::string& path) {
  try {
    // Views share a device with each other and with nobody else.
    const std::array<std::uint64_t, 1> sizes{mpool::kPageSize};
    const View view(build_erofs_image({}, sizes).bytes, std::span(&path, 1));
    return true;
  } catch (const mpool::Error& error) {
    spdlog::debug("{}: {}", path, error.what());
    return false;
  }
}

}  // namespace mpoolfs
