#include "fuse/native/native_reads.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include <pthread.h>

#include "engine/base/error.h"
#include "engine/cache/page_cache.h"
#include "fuse/native/erofs_image.h"

namespace mpoolfs {

NativeReads::NativeReads(const mpool::Pool& pool, mpool::Namespace& names, ViewDevices devices,
                         NativeChoice choice, bool other_readers, ReaderWatch& watch,
                         mpool::Reaper& reaper, std::uint64_t map_read_ahead)
    : names_(names),
      tunables_(pool.tunables().views),
      logger_(pool.logger()),
      devices_(std::move(devices)),
      views_(names, devices_, tunables_),
      map_views_(devices_, map_read_ahead),
      cached_(reaper, names),
      watch_(watch),
      queue_(std::make_shared<Queue>(tunables_.pending_threshold, pool.clock())),
      choice_(choice),
      waiting_(other_readers) {
  if (other_readers) {
    logger_.warn(
        "programs that read files of an earlier mount, whose daemon was killed, still have them "
        "open: deleted files keep their space until they are done, and the daemon serves all "
        "reads");
  }
  if (choice == NativeChoice::off) {
    turn_off("native=off");
    return;
  }
  try {
    check_views();
  } catch (const mpool::Error& error) {
    if (choice == NativeChoice::on) {
      mpool::raise(error.code(), "native=on", "not possible here: {}", error.what());
    }
    turn_off(error.what());
    devices_.claim();
  }
}

NativeReads::~NativeReads() {
  stop();
}

void NativeReads::turn_off(const std::string& why) {
  const std::lock_guard lock(reason_mutex_);
  off_ = true;
  reason_ = why;
}

void NativeReads::check_views() {
  devices_.attach();
  devices_.release_claims();
  const std::array<ErofsPiece, 1> piece{{{.length = mpool::kPageSize}}};
  const std::array<ErofsFile, 1> file{{{.name = "0", .size = mpool::kPageSize, .pieces = piece}}};
  const View view(build_erofs_image(file, devices_.sizes()).bytes, devices_.paths());
  if (const int code = try_alone(view.open("0").get())) {
    mpool::raise(code, "leases",
                 "{}: without them (sysctl fs.leases-enable=1, fcntl(2)) the end of reading is not "
                 "noticed",
                 mpool::errno_text(code));
  }
  if (!waiting_) claim_by_view();
}

// The next view exists before the view that claims the devices is dropped.
void NativeReads::claim_by_view() {
  if (devices_.only_files()) return;
  devices_.release_claims();
  claim_.emplace(build_erofs_image({}, devices_.sizes()).bytes, devices_.paths());
}

void NativeReads::prepare(int fuse) {
  if (!wanted()) return;
  files_.emplace(names_, views_, fuse, &cached_, logger_);
  files_->on_idle([queue = queue_] {
    const std::lock_guard lock(queue->mutex);
    queue->idle_files = true;
    queue->changed.notify_one();
  });
}

void NativeReads::start(bool passthrough) {
  if (wanted() && !passthrough) {
    constexpr const char* kWhy =
        "this kernel has no FUSE passthrough (Linux 6.9 or later, CONFIG_FUSE_PASSTHROUGH)";
    if (choice_ == NativeChoice::on) mpool::raise(ENOTSUP, "native=on", "not possible: {}", kWhy);
    turn_off(kWhy);
    claim_.reset();
    devices_.claim();
  }
  if (wanted()) {
    names_.events().durable.set(
        [queue = queue_](std::span<const mpool::InodeNumber> inodes) { queue->add(inodes); });
    names_.events().removed.set(
        [queue = queue_](mpool::InodeNumber inode) { queue->remove(inode); });
    names_.events().no_room.set([this] { files_->sweep(); });
    const auto paths = devices_.paths();
    watch_.watch({paths.begin(), paths.end()});
    if (!waiting_) show_all();
  }
  if (wanted() || waiting_) thread_ = std::thread([this] { run(); });
}

void NativeReads::stop() {
  names_.events().durable.set(nullptr);
  names_.events().removed.set(nullptr);
  names_.events().no_room.set(nullptr);
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->stopping = true;
    queue_->changed.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  map_views_.stop();
  files_.reset();
}

NativeEntry NativeReads::enter(mpool::InodeNumber inode, bool committed) {
  if (!files_) return {};
  if (committed && queue_->is_due(inode)) show_pending();
  return files_->enter(inode, committed);
}

std::optional<NativeEntry> NativeReads::try_enter(mpool::InodeNumber inode) {
  if (!files_) return std::optional<NativeEntry>(std::in_place);
  if (queue_->is_due(inode)) return std::nullopt;
  return files_->try_enter(inode);
}

void NativeReads::leave(mpool::InodeNumber inode) {
  if (files_) files_->leave(inode);
}

std::shared_ptr<const MapViews::File> NativeReads::show_map(const mpool::FileLayout& layout) {
  if (off_ || waiting_ || !files_) return nullptr;
  try {
    return map_views_.add(layout);
  } catch (const mpool::Error& error) {
    logger_.warn("a map is read by the daemon: {}", error.what());
    return nullptr;
  }
}

NativeEntry NativeReads::enter_map(mpool::InodeNumber inode,
                                   std::shared_ptr<const MapViews::File> file,
                                   std::shared_ptr<const void> keeper) {
  if (!files_) return {};
  return files_->enter_map(inode, std::move(file), std::move(keeper));
}

void NativeReads::Queue::add(std::span<const mpool::InodeNumber> durable) {
  const std::lock_guard lock(mutex);
  if (!collecting) return;
  pending.insert(durable.begin(), durable.end());
  pending_count = pending.size();
  if (above_pending_threshold()) changed.notify_one();
}

void NativeReads::Queue::remove(mpool::InodeNumber inode) {
  const std::lock_guard lock(mutex);
  if (!collecting) return;
  pending.erase(inode);
  pending_count = pending.size();
  // A view of it may be in the making.
  removed.push_back(inode);
  if (removed.size() == 1) changed.notify_one();
}

void NativeReads::Queue::tried(std::span<const mpool::InodeNumber> tried,
                               std::span<const mpool::InodeNumber> left,
                               mpool::Clock::Duration pause) {
  const std::lock_guard lock(mutex);
  for (const mpool::InodeNumber inode : tried)
    pending.erase(inode);
  pending.insert(left.begin(), left.end());
  pending_count = pending.size();
  blocked_until = clock.now() + pause;
}

bool NativeReads::Queue::is_due(mpool::InodeNumber inode) {
  if (pending_count.load(std::memory_order_relaxed) == 0) return false;
  const std::lock_guard lock(mutex);
  return pending.contains(inode) && can_show();
}

bool NativeReads::Queue::above_pending_threshold() const {
  return pending.size() >= pending_threshold && can_show();
}

// False when the thread must end.
bool NativeReads::wait_for_work() {
  std::unique_lock lock(queue_->mutex);
  const auto work = [this] {
    return queue_->stopping || queue_->idle_files || !queue_->removed.empty() ||
           queue_->above_pending_threshold();
  };
  const auto stopping = [this] { return queue_->stopping; };
  const auto wait_for = [&](mpool::Clock::Duration time, const auto& done) {
    queue_->clock.wait_until(queue_->changed, lock, queue_->clock.now() + time, done);
  };
  if (waiting_) {
    wait_for(tunables_.readers_interval, stopping);
  } else if (swept_left_ > 0) {
    wait_for(tunables_.mapped_interval, work);
  } else {
    queue_->changed.wait(lock, work);
  }
  if (!queue_->stopping) {
    wait_for(queue_->idle_files ? tunables_.idle_time : tunables_.interval, stopping);
  }
  return !queue_->stopping;
}

void NativeReads::run() {
  ::pthread_setname_np(::pthread_self(), "mpoolfs-native");
  while (wait_for_work()) {
    if (waiting_) {
      wait_for_readers();
      continue;
    }
    bool many = false;
    {
      const std::lock_guard lock(queue_->mutex);
      queue_->idle_files = false;
      many = queue_->above_pending_threshold();
    }
    if (many) show_pending();
    forget_removed();
    sweep();
  }
}

// Checks whether the readers of an earlier mount have ended.
void NativeReads::wait_for_readers() {
  if (devices_.has_other_readers()) return;
  logger_.info("the readers of an earlier mount are gone");
  names_.hold_deletes(false);
  try {
    if (wanted()) {
      claim_by_view();
      show_all();
    }
  } catch (const std::exception& error) {
    logger_.warn("the files of earlier mounts are read by the daemon: {}", error.what());
  }
  waiting_ = false;
}

// No file is missed from here on.
void NativeReads::collect() {
  const std::lock_guard lock(queue_->mutex);
  queue_->collecting = true;
}

void NativeReads::show_all() {
  collect();
  const std::vector<mpool::InodeNumber> committed = names_.committed_files();
  // A crash must not undo the content of a view.
  names_.sync();
  const std::lock_guard one(show_mutex_);
  show(committed);
}

void NativeReads::show_pending() {
  const std::lock_guard one(show_mutex_);
  std::vector<mpool::InodeNumber> inodes;
  {
    const std::lock_guard lock(queue_->mutex);
    if (!queue_->can_show()) return;
    inodes.assign(queue_->pending.begin(), queue_->pending.end());
  }
  if (!inodes.empty()) show(std::move(inodes));
}

// Called with show_mutex_.
void NativeReads::show(std::vector<mpool::InodeNumber> inodes) {
  const std::vector<mpool::InodeNumber> tried = inodes;
  mpool::Clock::Duration pause{};
  try {
    const std::size_t views = views_.views();
    // Merging adds a view as long as the old ones are in use.
    if (views >= tunables_.merge_threshold && views < tunables_.max_views) views_.merge();
    if (views_.views() >= tunables_.max_views) {
      pause = tunables_.full_pause;
    } else {
      views_.add(inodes);
      inodes.clear();
      failures_ = 0;
    }
  } catch (const std::exception& error) {
    pause = tunables_.failure_pause * (1u << std::min(failures_, tunables_.max_doublings));
    if (failures_++ == 0) {
      logger_.warn(
          "some committed files are read by the daemon, until a view of them can be made: {}",
          error.what());
    }
  }
  queue_->tried(tried, inodes, pause);
}

void NativeReads::forget_removed() {
  std::vector<mpool::InodeNumber> removed;
  {
    const std::lock_guard lock(queue_->mutex);
    removed.swap(queue_->removed);
  }
  if (removed.empty()) return;
  const std::lock_guard one(show_mutex_);
  drop_pages(removed);
  views_.forget(removed);
}

// Those of removed files would stay in memory as long as their view.
void NativeReads::drop_pages(std::span<const mpool::InodeNumber> removed) const {
  for (const mpool::InodeNumber inode : removed) {
    const auto view = views_.find(inode);
    if (!view) continue;
    try {
      mpool::drop_unmapped_pages(view->open(name_in_view(inode)).get(), 0, 0);
    } catch (const mpool::Error& error) {
      logger_.debug("inode {}: {}", inode, error.what());
    }
  }
}

void NativeReads::sweep() {
  try {
    swept_left_ = files_->sweep();
  } catch (const std::exception& error) {
    logger_.error("letting go of files that are read no more: {}", error.what());
  }
}

NativeStats NativeReads::stats() const {
  NativeStats stats{.state = "on",
                    .reason = {},
                    .files = views_.files() + queue_->pending_count,
                    .views = views_.views()};
  {
    const std::lock_guard lock(reason_mutex_);
    stats.reason = reason_;
  }
  if (off_) {
    stats.state = "off";
  } else if (waiting_) {
    stats.state = "waiting";
    stats.reason = "programs still read files of an earlier mount, whose daemon was killed";
  }
  if (files_) {
    const BackingFiles::Counts counts = files_->counts();
    stats.opens = counts.native;
    stats.served = counts.served;
    stats.kept = counts.kept;
  }
  return stats;
}

}  // namespace mpoolfs
