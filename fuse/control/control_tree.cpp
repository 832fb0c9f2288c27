#include "fuse/control/control_tree.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include <sys/ioctl.h>
#include <sys/stat.h>

#include "engine/base/error.h"
#include "fuse/ops/attributes.h"

namespace mpoolfs {

namespace {

constexpr auto kDirectoryKind = mpool::FileKind::directory;
constexpr std::uint32_t kReadBits = S_IRUSR | S_IRGRP | S_IROTH;
constexpr std::uint32_t kWriteBits = S_IWUSR | S_IWGRP | S_IWOTH;

// Bytes of st_blocks.
constexpr std::uint64_t kStatBlockSize = 512;

// Cookies of the engine leave room for "." and ".."; these do likewise.
constexpr std::uint64_t kDots = 2;

}  // namespace

mpool::InodeNumber ControlTree::add(std::string name, std::unique_ptr<ControlProvider> provider) {
  assert(entries_.size() < kMaxProviders && std::ranges::count(entries_, name, &Entry::name) == 0);
  entries_.push_back({std::move(name), std::move(provider)});
  return inode_of(entries_.size() - 1);
}

ControlTree::Target ControlTree::find(mpool::InodeNumber inode) const {
  if (inode == kDirectory) return {.info = {.kind = kDirectoryKind, .mode = 0555}};
  const std::uint64_t number = (inode & ~kDirectory) >> kNodeBits;
  const auto no_inode = [inode] {
    mpool::raise(ESTALE, std::string(kControlName), "there is no inode {}", inode);
  };
  if (!is_control(inode) || number == 0 || number > entries_.size()) no_inode();
  Target target{.provider = entries_[number - 1].provider.get(), .node = node_of(inode)};
  target.info = target.provider->describe(ControlProvider::kSelf);
  if (target.node == ControlProvider::kSelf) return target;
  if (target.info.kind != kDirectoryKind) no_inode();
  target.info = target.provider->describe(target.node);
  return target;
}

ControlTree::Target ControlTree::find_directory(mpool::InodeNumber inode) const {
  Target target = find(inode);
  if (target.info.kind != kDirectoryKind) {
    mpool::raise(ENOTDIR, std::string(kControlName), "inode {} is no directory", inode);
  }
  return target;
}

std::optional<mpool::Attributes> ControlTree::lookup(mpool::InodeNumber parent,
                                                     std::string_view name) const {
  if (!is_control(parent)) {
    return name == kControlName ? std::optional(attributes(kDirectory)) : std::nullopt;
  }
  // Of a file, too: a file handle is opened so.
  if (name == ".") return attributes(parent);
  const Target target = find_directory(parent);
  if (name == "..") return attributes(parent_of(parent));
  if (target.provider != nullptr) {
    const auto node = target.provider->lookup(name);
    return node ? std::optional(attributes(parent | *node)) : std::nullopt;
  }
  const auto found = std::ranges::find(entries_, name, &Entry::name);
  if (found == entries_.end()) return std::nullopt;
  return attributes(inode_of(static_cast<std::size_t>(found - entries_.begin())));
}

mpool::Attributes ControlTree::attributes(mpool::InodeNumber inode) const {
  const ControlProvider::Info info = find(inode).info;
  // The kernel keeps what it read of a directory as long as its time does not change.
  const bool lists = info.kind == kDirectoryKind && inode != kDirectory;
  const std::timespec changed = lists ? clock_.wall_time() : now_;
  return {.inode = inode,
          .kind = info.kind,
          .mode = info.mode,
          .uid = info.uid,
          .gid = info.gid,
          .links = info.kind == kDirectoryKind ? 2u : 1u,
          .size = info.size,
          .blocks = info.space / kStatBlockSize,
          .atime = now_,
          .mtime = changed,
          .ctime = changed,
          .committed = true};
}

void ControlTree::read_directory(
    mpool::InodeNumber inode, std::uint64_t cookie,
    const std::function<bool(const mpool::DirectoryEntry&)>& take) const {
  const Target target = find_directory(inode);
  const std::uint64_t after = cookie <= kDots ? 0 : cookie - kDots;
  if (target.provider != nullptr) {
    return target.provider->list(after, [&](ControlProvider::Node node, std::string_view name) {
      assert(node > after && node <= ControlProvider::kMaxNode);
      return take({.cookie = node + kDots,
                   .name = name,
                   .inode = inode | node,
                   .kind = mpool::FileKind::empty});
    });
  }
  for (std::size_t i = after; i < entries_.size(); ++i) {
    if (!take({.cookie = i + 1 + kDots,
               .name = entries_[i].name,
               .inode = inode_of(i),
               .kind = entries_[i].provider->describe(ControlProvider::kSelf).kind})) {
      return;
    }
  }
}

void ControlTree::remove(mpool::InodeNumber parent, std::string_view name) const {
  if (!is_control(parent) || parent == kDirectory) {
    mpool::raise(EPERM, std::string(name), "it cannot be removed");
  }
  find_directory(parent).provider->remove(name);
}

ControlTree::HandleNumber ControlTree::open(mpool::InodeNumber inode,
                                            const mpool::OpenIntent& intent, const Caller& caller) {
  const Target target = find(inode);
  if (target.info.kind == kDirectoryKind) {
    mpool::raise(EISDIR, std::string(kControlName), "inode {} is a directory", inode);
  }
  // The kernel lets root pass regardless of the mode.
  const bool writes = intent.write || intent.truncate;
  if ((intent.read && (target.info.mode & kReadBits) == 0) ||
      (writes && (target.info.mode & kWriteBits) == 0)) {
    mpool::raise(EACCES, std::string(kControlName), "inode {} can only be {}", inode,
                 writes ? "read" : "written");
  }
  std::shared_ptr<ControlFile> file = target.provider->open_for(caller, target.node, intent);
  const std::lock_guard lock(mutex_);
  const HandleNumber handle = next_handle_++;
  files_.emplace(handle, std::move(file));
  return handle;
}

std::shared_ptr<ControlFile> ControlTree::file(HandleNumber handle) const {
  const std::lock_guard lock(mutex_);
  const auto found = files_.find(handle);
  if (found == files_.end()) {
    mpool::raise(EBADF, std::string(kControlName), "there is no open file {}", handle);
  }
  return found->second;
}

OpenReply ControlTree::reply(HandleNumber handle) const {
  const auto opened = file(handle);
  return {.number = handle,
          .backing_id = opened->backing_id(),
          .caching = opened->caching(),
          .needs_flush = opened->caching() == Caching::none};
}

std::string ControlTree::read(HandleNumber handle, std::uint64_t offset, std::size_t size) const {
  return file(handle)->read(offset, size);
}

void ControlTree::write(HandleNumber handle, std::uint64_t offset,
                        mpool::ConstByteSpan data) const {
  file(handle)->write(offset, data);
}

void ControlTree::flush(HandleNumber handle) const {
  file(handle)->flush();
}

std::vector<std::byte> ControlTree::ioctl(HandleNumber handle, unsigned command,
                                          mpool::ConstByteSpan in, std::size_t out_size) const {
  const std::size_t size = _IOC_SIZE(command);
  const bool takes = (_IOC_DIR(command) & _IOC_WRITE) != 0;
  const bool gives = (_IOC_DIR(command) & _IOC_READ) != 0;
  if (in.size() != (takes ? size : 0) || out_size != (gives ? size : 0)) {
    mpool::raise(EINVAL, "ioctl", "{:#x} with {} bytes in, {} bytes out", command, in.size(),
                 out_size);
  }
  std::vector<std::byte> out = file(handle)->ioctl(command, in);
  assert(out.size() == out_size);
  return out;
}

void ControlTree::close(HandleNumber handle) noexcept {
  std::shared_ptr<ControlFile> last;
  {
    const std::lock_guard lock(mutex_);
    const auto found = files_.find(handle);
    if (found == files_.end()) return;
    last = std::move(found->second);
    files_.erase(found);
  }
  last.reset();  // without the lock: it may block
  const std::lock_guard lock(mutex_);
  if (closing_.erase(handle) != 0) closed_.notify_all();
}

void ControlTree::begin_close(HandleNumber handle) noexcept {
  const std::lock_guard lock(mutex_);
  if (files_.contains(handle)) closing_.insert(handle);
}

void ControlTree::on_settle(std::function<void()> callback) {
  const std::lock_guard lock(settle_mutex_);
  on_settle_ = std::move(callback);
}

void ControlTree::settle() {
  {
    const std::lock_guard lock(settle_mutex_);
    if (on_settle_) on_settle_();
  }
  std::unique_lock lock(mutex_);
  const std::set<HandleNumber> before = closing_;
  closed_.wait(lock, [&] {
    return std::ranges::none_of(before,
                                [&](HandleNumber handle) { return closing_.contains(handle); });
  });
}

std::size_t ControlTree::open_count() const {
  const std::lock_guard lock(mutex_);
  return files_.size();
}

}  // namespace mpoolfs
