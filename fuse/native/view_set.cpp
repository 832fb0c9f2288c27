#include "fuse/native/view_set.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "fuse/native/erofs_image.h"

namespace mpoolfs {

namespace {

// The files of an image, with the memory that its descriptions refer to.
class Contents {
 public:
  void add(const mpool::FileLayout& layout, const ViewDevices& devices) {
    names_.push_back(name_in_view(layout.inode));
    pieces_.push_back(devices.pieces_of(layout));
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

std::shared_ptr<const View> ViewSet::add(std::vector<mpool::InodeNumber>& inodes) {
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
  std::size_t next = 0;
  std::erase_if(inodes, [&](mpool::InodeNumber) { return !image.places[next++].shown(); });
  if (inodes.empty()) return nullptr;
  std::size_t read_ahead = 0;
  {
    const std::lock_guard lock(mutex_);
    read_ahead = read_ahead_;
  }
  auto view = std::make_shared<const View>(image.bytes, devices_.paths(), read_ahead);
  std::vector<std::shared_ptr<const View>> replaced;  // destroyed without the lock
  const std::lock_guard lock(mutex_);
  for (const mpool::InodeNumber inode : inodes) {
    if (auto before = std::exchange(shown_[inode], view)) replaced.push_back(std::move(before));
  }
  drop_ended();
  members_.push_back({.view = view, .inodes = inodes});
  return view;
}

void ViewSet::set_read_ahead(std::size_t bytes, const mpool::Logger& logger) {
  std::vector<std::shared_ptr<const View>> views;  // changed, and perhaps ended, without the lock
  {
    const std::lock_guard lock(mutex_);
    read_ahead_ = bytes;
    for (const Member& member : members_)
      views.push_back(member.view.lock());
  }
  for (const auto& view : views) {
    if (view) view->set_read_ahead(bytes, logger);
  }
}

// Called with the lock.
void ViewSet::drop_ended() {
  std::erase_if(members_, [](const Member& member) { return member.view.expired(); });
}

// Called with the lock: the smaller half of the views that have files to be opened, and views that
// are not larger than these together; empty where few have.
std::vector<ViewSet::Member> ViewSet::choose_to_merge() const {
  std::vector<Member> members;
  std::ranges::copy_if(members_, std::back_inserter(members),
                       [](const Member& member) { return !member.inodes.empty(); });
  if (members.size() < merge_threshold_ / 2) return {};
  std::ranges::sort(members, {}, [](const Member& member) { return member.inodes.size(); });
  std::size_t files = 0;
  std::size_t chosen = 0;
  for (; chosen < members.size(); ++chosen) {
    const std::size_t more = members[chosen].inodes.size();
    if (chosen >= members.size() / 2 && more > files) break;
    files += more;
  }
  members.resize(chosen);
  return members;
}

void ViewSet::merge() {
  std::vector<Member> members;
  {
    const std::lock_guard lock(mutex_);
    drop_ended();
    members = choose_to_merge();
  }
  std::vector<mpool::InodeNumber> inodes;
  for (const Member& member : members)
    inodes.insert(inodes.end(), member.inodes.begin(), member.inodes.end());
  if (inodes.empty()) return;
  std::vector<mpool::InodeNumber> shown = inodes;
  const auto merged = add(shown);
  // Files that the new view does not show are deleted.
  forget_unless_shown_by(merged, inodes);
  const std::lock_guard lock(mutex_);
  for (Member& member : members_) {
    const bool is_old = std::ranges::any_of(members, [&](const Member& old) {
      return !old.view.owner_before(member.view) && !member.view.owner_before(old.view);
    });
    if (is_old) member.inodes.clear();
  }
}

void ViewSet::forget(std::span<const mpool::InodeNumber> inodes) {
  forget_unless_shown_by(nullptr, inodes);
}

void ViewSet::forget_unless_shown_by(const std::shared_ptr<const View>& kept,
                                     std::span<const mpool::InodeNumber> inodes) {
  std::vector<std::shared_ptr<const View>> dropped;  // destroyed without the lock
  const std::lock_guard lock(mutex_);
  for (const mpool::InodeNumber inode : inodes) {
    const auto found = shown_.find(inode);
    if (found == shown_.end() || found->second == kept) continue;
    dropped.push_back(std::move(found->second));
    shown_.erase(found);
  }
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
