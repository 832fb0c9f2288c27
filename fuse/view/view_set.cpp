#include "fuse/view/view_set.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "fuse/view/erofs_image.h"

namespace mpoolfs {

namespace {

// The files of an image, with what its descriptions point to.
class Contents {
 public:
  void add(const mpool::FileLayout& layout, const ViewDevices& devices) {
    names_.push_back(name_in_view(layout.inode));
    std::vector<ErofsPiece>& pieces = pieces_.emplace_back();
    pieces.reserve(layout.pieces.size());
    for (const mpool::FileLayout::Piece& piece : layout.pieces) {
      pieces.push_back({.file_offset = piece.file_offset,
                        .length = piece.length,
                        .device = devices.index_of(piece.media_class),
                        .device_offset = piece.device_offset});
    }
    sizes_.push_back(layout.size);
  }

  ErofsImage build(const ViewDevices& devices) const {
    std::vector<ErofsFile> files;
    files.reserve(names_.size());
    for (std::size_t i = 0; i < names_.size(); ++i)
      files.push_back({.name = names_[i], .size = sizes_[i], .pieces = pieces_[i]});
    return build_erofs_image(files, devices.sizes());
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::vector<ErofsPiece>> pieces_;
  std::vector<std::uint64_t> sizes_;
};

}  // namespace

std::string name_in_view(mpool::InodeNumber inode) {
  return fmt::format("{:016x}", inode);
}

std::shared_ptr<const View> ViewSet::add(std::vector<mpool::InodeNumber> inodes) {
  std::ranges::sort(inodes);
  const auto twice = std::ranges::unique(inodes);
  inodes.erase(twice.begin(), twice.end());
  Contents contents;
  std::erase_if(inodes, [&](mpool::InodeNumber inode) {
    const auto layout = names_.layout(inode);
    if (layout && layout->size > 0) contents.add(*layout, devices_);
    return !layout || layout->size == 0;
  });
  const ErofsImage image = contents.build(devices_);
  Member member;
  for (const ErofsPlace& place : image.places)
    member.files += place.shown() ? 1 : 0;
  if (member.files == 0) return nullptr;
  auto view = std::make_shared<const View>(image.bytes, devices_.paths());
  member.view = view;
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < inodes.size(); ++i) {
    if (image.places[i].shown()) shown_[inodes[i]] = view;
  }
  std::erase_if(members_, [](const Member& old) { return old.view.expired(); });
  members_.push_back(std::move(member));
  return view;
}

void ViewSet::merge() {
  std::vector<mpool::InodeNumber> inodes;
  {
    const std::lock_guard lock(mutex_);
    std::ranges::sort(members_, {}, &Member::files);
    // The largest is left alone unless the rest has grown as large.
    std::size_t rest = 0;
    for (std::size_t i = 0; i + 1 < members_.size(); ++i)
      rest += members_[i].files;
    const bool all = members_.empty() || rest >= members_.back().files;
    const auto largest = all ? nullptr : members_.back().view.lock();
    for (const auto& [inode, view] : shown_) {
      if (view != largest) inodes.push_back(inode);
    }
  }
  const auto merged = add(inodes);
  const std::lock_guard lock(mutex_);
  // Those that the new view does not show are gone.
  for (const mpool::InodeNumber inode : inodes) {
    const auto found = shown_.find(inode);
    if (found->second != merged) shown_.erase(found);
  }
  std::erase_if(members_, [](const Member& member) { return member.view.expired(); });
}

std::shared_ptr<const View> ViewSet::find(mpool::InodeNumber inode) const {
  const std::lock_guard lock(mutex_);
  const auto found = shown_.find(inode);
  return found == shown_.end() ? nullptr : found->second;
}

std::size_t ViewSet::files() const {
  const std::lock_guard lock(mutex_);
  return shown_.size();
}

std::size_t ViewSet::views() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::ranges::count_if(members_, [](const Member& member) { return !member.view.expired(); }));
}

}  // namespace mpoolfs
