#include "fuse/native/backing_files.h"

#include <cerrno>
#include <csignal>
#include <utility>

#include <fcntl.h>
#include <sys/ioctl.h>

#include "engine/base/error.h"
#include "fuse/native/passthrough_abi.h"

namespace mpoolfs {

// The kernel grants a write lease only if no other descriptor has the file open.
int try_alone(int fd) {
  if (::fcntl(fd, F_SETLEASE, F_WRLCK) != 0) return errno;
  ::fcntl(fd, F_SETLEASE, F_UNLCK);
  return 0;
}

NativeEntry::~NativeEntry() {
  if (files_ == nullptr) return;
  if (counted_ != nullptr) --*counted_;
  files_->leave(inode_);
}

void NativeEntry::count() noexcept {
  if (files_ == nullptr || !committed_) return;
  counted_ = backing_id_ != 0 ? &files_->native_ : &files_->served_;
  ++*counted_;
}

BackingFiles::BackingFiles(mpool::Namespace& names, const ViewSet& views, int fuse,
                           CachedFiles* cached, mpool::Logger logger)
    : names_(names), logger_(std::move(logger)), views_(views), fuse_(fuse), cached_(cached) {
  // Sent when a process opens a file during try_alone().
  std::signal(SIGIO, SIG_IGN);
}

BackingFiles::~BackingFiles() {
  for (const auto& [inode, entry] : entries_) {
    if (entry.id == 0) continue;
    unregister(entry.id);
    // A process that was just given an id may open its file in a moment.
    if (entry.opens > 0 || is_used_by_others(entry)) names_.hold_deletes(true);
    entry.release();
  }
}

NativeEntry BackingFiles::enter(mpool::InodeNumber inode, bool committed) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[inode];
  note_open(entry);
  if (entry.opens == 1 && entry.id == 0 && committed) {
    try {
      make_native(entry, inode);
    } catch (const std::exception& error) {
      logger_.debug("inode {}: read by the daemon: {}", inode, error.what());
    }
  }
  return NativeEntry(*this, inode, entry.id, committed);
}

std::optional<NativeEntry> BackingFiles::try_enter(mpool::InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  if (!entries_.contains(inode) && views_.find(inode)) return std::nullopt;
  Entry& entry = entries_[inode];
  note_open(entry);
  return std::optional<NativeEntry>(std::in_place, *this, inode, entry.id, true);
}

// Called before the entry may get a backing file: an entry without one is not idle.
void BackingFiles::note_open(Entry& entry) {
  if (entry.opens++ == 0 && entry.id != 0) --idle_entries_;
}

void BackingFiles::make_native(Entry& entry, mpool::InodeNumber inode) {
  auto view = views_.find(inode);
  if (!view) return;
  mpool::FileDescriptor file = view->open(name_in_view(inode));
  auto pin = names_.open(inode, {.read = true, .holder = mpool::FileHolder::backing_file},
                         mpool::Blocking::forbidden);
  if (!pin) return;
  try {
    if (cached_ != nullptr) entry.cached = cached_->opened(inode, view, file.get());
    entry.id = register_file(file.get());
  } catch (...) {
    pin->close();
    throw;
  }
  entry.view = std::move(view);
  entry.file = std::move(file);
  entry.pin = std::move(pin);
}

std::uint32_t BackingFiles::register_file(int fd) const {
  const abi::BackingMap map{.fd = fd, .flags = 0, .padding = 0};
  const int id = ::ioctl(fuse_, abi::kBackingOpen, &map);
  if (id <= 0) mpool::raise_system(errno, "/dev/fuse", "registering a backing file");
  return static_cast<std::uint32_t>(id);
}

NativeEntry BackingFiles::enter_map(mpool::InodeNumber inode,
                                    std::shared_ptr<const MapViews::File> file,
                                    std::shared_ptr<const void> keeper) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[inode];
  note_open(entry);
  if (entry.opens == 1 && entry.id == 0 && file != nullptr) {
    try {
      entry.file = file->open();
      entry.id = register_file(entry.file.get());
      entry.shown = std::move(file);
      entry.keeper = std::move(keeper);
    } catch (const std::exception& error) {
      logger_.debug("map: read by the daemon: {}", error.what());
    }
  }
  return NativeEntry(*this, inode, entry.id, false);
}

void BackingFiles::leave(mpool::InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(inode);
  Entry& entry = found->second;
  if (--entry.opens > 0) return;
  if (entry.id == 0) {
    entries_.erase(found);
    return;
  }
  ++idle_entries_;
  if (!std::exchange(told_idle_, true) && idle_) idle_();
}

bool BackingFiles::is_used_by_others(const Entry& entry) {
  std::unique_lock<std::mutex> lock;
  if (entry.shown != nullptr) {
    lock = entry.shown->try_without_looks();
    if (!lock) return true;
  }
  return try_alone(entry.file.get()) != 0;
}

void BackingFiles::unregister(std::uint32_t id) const noexcept {
  ::ioctl(fuse_, abi::kBackingClose, &id);
}

std::size_t BackingFiles::sweep() {
  std::vector<Entry> free;
  std::size_t left = 0;
  {
    const std::lock_guard lock(mutex_);
    told_idle_ = false;
    for (auto it = entries_.begin(); it != entries_.end();) {
      Entry& entry = it->second;
      if (!entry.is_idle() || is_used_by_others(entry)) {
        ++it;
        continue;
      }
      unregister(entry.id);
      free.push_back(std::move(entry));
      it = entries_.erase(it);
      --idle_entries_;
    }
    left = idle_entries_;
  }
  for (const Entry& entry : free)
    entry.release();
  return left;
}

void BackingFiles::sweep_map(mpool::InodeNumber inode, const MapViews::File& file) {
  const auto no_looks = file.without_looks();
  Entry free;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(inode);
    if (found == entries_.end() || !found->second.is_idle()) return;
    if (try_alone(found->second.file.get()) != 0) return;
    unregister(found->second.id);
    free = std::move(found->second);
    entries_.erase(found);
    --idle_entries_;
  }
  free.release();
}

BackingFiles::Counts BackingFiles::counts() const {
  const std::lock_guard lock(mutex_);
  std::size_t kept = 0;
  for (const auto& [inode, entry] : entries_)
    kept += entry.id != 0 ? 1 : 0;
  return {.native = native_, .served = served_, .kept = kept};
}

}  // namespace mpoolfs
