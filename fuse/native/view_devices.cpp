#include "fuse/native/view_devices.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <fcntl.h>

#include "engine/base/error.h"
#include "fuse/native/erofs_image.h"
#include "fuse/native/view.h"

namespace mpoolfs {

ViewDevices::ViewDevices(const mpool::Pool& pool) : logger_(pool.logger()) {
  for (const mpool::MediaClass media_class : pool.classes()) {
    mpool::Device& device = pool.device(media_class);
    members_.push_back({.media_class = media_class,
                        .device = &device,
                        .path = device.name(),
                        .is_file = device.properties().is_file});
    sizes_.push_back(device.size());
  }
}

bool ViewDevices::has_other_readers() const {
  bool others = false;
  for (const Member& member : members_)
    others |= member.device->claim() == EBUSY;
  return others;
}

void ViewDevices::claim() const {
  for (const Member& member : members_) {
    if (const int code = member.device->claim(); code != 0) {
      logger_.debug("{}: cannot be claimed: {}", member.path, mpool::errno_text(code));
    }
  }
}

void ViewDevices::release_claims() const {
  for (const Member& member : members_)
    member.device->release_claim();
}

bool ViewDevices::only_files() const {
  return std::ranges::all_of(members_, &Member::is_file);
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

std::vector<ErofsPiece> ViewDevices::pieces_of(const mpool::FileLayout& layout) const {
  std::vector<ErofsPiece> pieces;
  pieces.reserve(layout.pieces.size());
  for (const mpool::FileLayout::Piece& piece : layout.pieces) {
    const auto found = std::ranges::find(members_, piece.media_class, &Member::media_class);
    pieces.push_back({.file_offset = piece.file_offset,
                      .length = piece.length,
                      .device = static_cast<std::uint32_t>(found - members_.begin()),
                      .device_offset = piece.device_offset});
  }
  return pieces;
}

bool is_held_by_views(const std::string& path, const mpool::Logger& logger) {
  try {
    // Views share a device with other views only.
    const std::array<std::uint64_t, 1> sizes{mpool::kPageSize};
    const View view(build_erofs_image({}, sizes).bytes, std::span(&path, 1));
    return true;
  } catch (const mpool::Error& error) {
    logger.debug("{}: {}", path, error.what());
    return false;
  }
}

}  // namespace mpoolfs
