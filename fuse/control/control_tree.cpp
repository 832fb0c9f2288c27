#include "fuse/control/control_tree.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/base/error.h"

namespace mpoolfs {

namespace {

constexpr std::uint32_t kDirectoryMode = 0555;
constexpr std::uint32_t kFileMode = 0444;

}  // namespace

void ControlTree::add_file(std::string name, Generator generate) {
  files_.push_back({std::move(name), std::move(generate)});
}

const ControlTree::File* ControlTree::find(mpool::InodeNumber inode) const {
  if (inode == kDirectory) return nullptr;
  if (!is_control(inode) || inode - kDirectory > files_.size()) {
    mpool::raise(ESTALE, std::string(kControlName), "there is no inode {}", inode);
  }
  return &files_[inode - kDirectory - 1];
}

void ControlTree::check_directory(mpool::InodeNumber inode) const {
  if (const File* file = find(inode)) mpool::raise(ENOTDIR, file->name, "not a directory");
}

std::optional<mpool::Attributes> ControlTree::lookup(mpool::InodeNumber parent,
                                                     std::string_view name) const {
  if (!is_control(parent)) {
    return name == kControlName ? std::optional(attributes(kDirectory)) : std::nullopt;
  }
  check_directory(parent);
  if (name == ".") return attributes(kDirectory);
  const auto file = std::ranges::find(files_, name, &File::name);
  if (file == files_.end()) return std::nullopt;
  return attributes(inode_of(static_cast<std::size_t>(file - files_.begin())));
}

mpool::Attributes ControlTree::attributes(mpool::InodeNumber inode) const {
  const bool directory = find(inode) == nullptr;
  return {.inode = inode,
          .kind = directory ? mpool::FileKind::directory : mpool::FileKind::empty,
          .mode = directory ? kDirectoryMode : kFileMode,
          .uid = 0,
          .gid = 0,
          .links = directory ? 2u : 1u,
          .size = 0,
          .blocks = 0,
          .atime = now_,
          .mtime = now_,
          .ctime = now_,
          .committed = true};  // its shown attributes never change
}

void ControlTree::read_directory(
    mpool::InodeNumber inode, std::uint64_t cookie,
    const std::function<bool(const mpool::DirectoryEntry&)>& take) const {
  check_directory(inode);
  // Cookies of the engine leave room for "." and ".."; these do likewise.
  constexpr std::uint64_t kFirstCookie = 3;
  for (std::size_t i = cookie < kFirstCookie ? 0 : cookie - kFirstCookie + 1; i < files_.size();
       ++i) {
    if (!take({.cookie = kFirstCookie + i,
               .name = files_[i].name,
               .inode = inode_of(i),
               .kind = mpool::FileKind::empty})) {
      return;
    }
  }
}

ControlTree::HandleNumber ControlTree::open(mpool::InodeNumber inode,
                                            const mpool::OpenIntent& intent) {
  const File* file = find(inode);
  if (file == nullptr) mpool::raise(EISDIR, std::string(kControlName), "a directory");
  if (intent.write || intent.truncate) mpool::raise(EACCES, file->name, "can only be read");
  auto content = std::make_shared<const std::string>(file->generate());
  const std::lock_guard lock(mutex_);
  const HandleNumber handle = next_handle_++;
  contents_.emplace(handle, std::move(content));
  return handle;
}

std::shared_ptr<const std::string> ControlTree::content(HandleNumber handle) const {
  const std::lock_guard lock(mutex_);
  const auto found = contents_.find(handle);
  if (found == contents_.end()) {
    mpool::raise(EBADF, std::string(kControlName), "there is no open file {}", handle);
  }
  return found->second;
}

void ControlTree::close(HandleNumber handle) noexcept {
  const std::lock_guard lock(mutex_);
  contents_.erase(handle);
}

std::size_t ControlTree::open_count() const {
  const std::lock_guard lock(mutex_);
  return contents_.size();
}

std::string_view part_of(std::string_view content, std::uint64_t offset, std::size_t size) {
  if (offset >= content.size()) return {};
  return content.substr(offset, size);
}

}  // namespace mpoolfs
