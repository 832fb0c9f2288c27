#include "fuse/view/native_reads.h"

#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include "engine/base/error.h"
#include "fuse/view/erofs_image.h"

namespace mpoolfs {

namespace {

using namespace std::chrono_literals;

// Between a view and the next: what is committed meanwhile shares one.
constexpr auto kViewInterval = 50ms;
// How long a backing file is kept for who opens it again, and how often those are looked at whose
// readers have mapped them.
constexpr auto kIdleTime = 100ms;
constexpr auto kMappedInterval = 1s;
constexpr auto kReadersInterval = 1s;

// Each file that the kernel reads by itself is open here, too.
void allow_many_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

NativeReads::NativeReads(mpool::Namespace& names, ViewDevices devices, NativeChoice choice,
                         bool other_readers, ReaderWatch& watch)
    : names_(names),
      devices_(std::move(devices)),
      views_(names, devices_),
      watch_(watch),
      queue_(std::make_shared<Queue>()),
      choice_(choice),
      waiting_(other_readers) {
  if (other_readers) {
    spdlog::warn(
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
    allow_many_files();
  } catch (const mpool::Error& error) {
    if (choice == NativeChoice::on) {
      mpool::raise(error.code(), "native=on", "not possible here: {}", error.what());
    }
    turn_off(error.what());
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
  const std::array<ErofsPiece, 1> piece{{{.length = mpool::kPageSize}}};
  const std::array<ErofsFile, 1> file{{{.name = "0", .size = mpool::kPageSize, .pieces = piece}}};
  const View view(build_erofs_image(file, devices_.sizes()).bytes, devices_.paths());
  if (const int code = try_alone(view.open("0").get())) {
    mpool::raise(code, "leases",
                 "{}: without them (sysctl fs.leases-enable=1, fcntl(2)) the end of reading is not "
                 "noticed",
                 mpool::errno_text(code));
  }
}

void NativeReads::prepare(int fuse) {
  if (!wanted()) return;
  files_.emplace(names_, views_, fuse);
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
  }
  if (wanted()) {
    names_.on_durable([queue = queue_](std::span<const mpool::InodeNumber> inodes) {
      const std::lock_guard lock(queue->mutex);
      queue->durable.insert(queue->durable.end(), inodes.begin(), inodes.end());
      queue->changed.notify_one();
    });
    names_.on_no_room([this] { files_->sweep(); });
    const auto paths = devices_.paths();
    watch_.watch({paths.begin(), paths.end()});
    if (!waiting_) show_all();
  }
  if (wanted() || waiting_) thread_ = std::thread([this] { run(); });
}

void NativeReads::stop() {
  names_.on_durable(nullptr);
  names_.on_no_room(nullptr);
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->stopping = true;
    queue_->changed.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  files_.reset();
}

NativeEntry NativeReads::enter(mpool::InodeNumber inode, bool committed) {
  return files_ ? files_->enter(inode, committed) : NativeEntry();
}

std::optional<NativeEntry> NativeReads::enter_now(mpool::InodeNumber inode) {
  return files_ ? files_->enter_now(inode) : std::optional<NativeEntry>(std::in_place);
}

void NativeReads::leave(mpool::InodeNumber inode) {
  if (files_) files_->leave(inode);
}

// False when it is time to end.
bool NativeReads::wait_for_work() {
  std::unique_lock lock(queue_->mutex);
  const auto work = [this] {
    return queue_->stopping || (!waiting_ && !queue_->durable.empty()) || queue_->idle_files;
  };
  if (waiting_) {
    queue_->changed.wait_for(lock, kReadersInterval, [this] { return queue_->stopping; });
  } else if (swept_left_ > 0) {
    queue_->changed.wait_for(lock, kMappedInterval, work);
  } else {
    queue_->changed.wait(lock, work);
  }
  if (!queue_->stopping) {
    const auto more = queue_->idle_files ? kIdleTime : kViewInterval;
    queue_->changed.wait_for(lock, more, [this] { return queue_->stopping; });
  }
  return !queue_->stopping;
}

void NativeReads::run() {
  while (wait_for_work()) {
    if (waiting_) {
      wait_for_readers();
      continue;
    }
    std::vector<mpool::InodeNumber> durable;
    {
      const std::lock_guard lock(queue_->mutex);
      durable.swap(queue_->durable);
      queue_->idle_files = false;
    }
    if (!durable.empty()) show(durable);
    sweep();
  }
}

// Looks whether the readers of an earlier mount are gone.
void NativeReads::wait_for_readers() {
  if (devices_.has_other_readers()) return;
  spdlog::info("the readers of an earlier mount are gone");
  names_.hold_deletes(false);
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->durable.clear();
  }
  try {
    if (wanted()) show_all();
  } catch (const std::exception& error) {
    spdlog::warn("the files of earlier mounts are read by the daemon: {}", error.what());
  }
  waiting_ = false;
}

void NativeReads::show_all() {
  const std::vector<mpool::InodeNumber> committed = names_.committed_files();
  // A crash must not undo what a view shows.
  names_.sync();
  show(committed);
}

void NativeReads::show(const std::vector<mpool::InodeNumber>& inodes) {
  const bool failing = !unshown_.empty();
  unshown_.insert(unshown_.end(), inodes.begin(), inodes.end());
  try {
    views_.add(unshown_);
    unshown_.clear();
    if (views_.views() > ViewSet::kManyViews) views_.merge();
  } catch (const std::exception& error) {
    if (failing) return;
    spdlog::warn(
        "some committed files are read by the daemon, until a view of them can be made: {}",
        error.what());
  }
}

void NativeReads::sweep() {
  try {
    swept_left_ = files_->sweep();
  } catch (const std::exception& error) {
    spdlog::error("letting go of files that are read no more: {}", error.what());
  }
}

NativeFacts NativeReads::facts() const {
  NativeFacts facts{.state = "on", .reason = {}, .files = views_.files(), .views = views_.views()};
  {
    const std::lock_guard lock(reason_mutex_);
    facts.reason = reason_;
  }
  if (off_) {
    facts.state = "off";
  } else if (waiting_) {
    facts.state = "waiting";
    facts.reason = "programs still read files of an earlier mount, whose daemon was killed";
  }
  if (files_) {
    const BackingFiles::Counts counts = files_->counts();
    facts.opens = counts.native;
    facts.served = counts.served;
    facts.kept = counts.kept;
  }
  return facts;
}

}  // namespace mpoolfs
