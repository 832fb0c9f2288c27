#include "tests/apps/queue.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "tests/apps/calls.h"

namespace apps {
namespace {

constexpr std::size_t kSegmentCapacity = std::size_t{1} << 20;  // of the logs
constexpr std::size_t kStateCapacity = std::size_t{1} << 20;
constexpr unsigned kMaxTries = 20'000;

// Records have numbers, in the order of their pushes.
struct QueueState {
  struct Segment {
    std::uint64_t id = 0;     // of the mlog
    std::uint64_t first = 0;  // the number of its first record
  };
  std::vector<Segment> segments;    // the oldest first
  std::vector<std::uint64_t> free;  // logs whose records do not count, perhaps never committed
  std::uint64_t head = 0;           // the number of the next record to pop

  // As one record.
  std::string encode() const {
    Encoder record;
    record.number(head);
    record.number(static_cast<std::uint32_t>(segments.size()));
    for (const Segment& segment : segments) {
      record.number(segment.id);
      record.number(segment.first);
    }
    record.number(static_cast<std::uint32_t>(free.size()));
    for (const std::uint64_t id : free)
      record.number(id);
    return std::move(record.bytes());
  }
  static QueueState decode(std::string_view bytes) {
    Decoder record(bytes);
    QueueState state;
    state.head = record.number<std::uint64_t>();
    for (auto left = record.number<std::uint32_t>(); left > 0; --left) {
      const auto id = record.number<std::uint64_t>();
      state.segments.push_back({.id = id, .first = record.number<std::uint64_t>()});
    }
    for (auto left = record.number<std::uint32_t>(); left > 0; --left)
      state.free.push_back(record.number<std::uint64_t>());
    return state;
  }
};

// Excludes the other processes. The kernel gives it up when the process ends.
class FileLock {
 public:
  explicit FileLock(int fd) : fd_(fd) {
    while (::flock(fd_, LOCK_EX) != 0) {
      if (errno != EINTR) throw CallError(errno, "flock");
    }
  }
  ~FileLock() { ::flock(fd_, LOCK_UN); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_;
};

// An open mlog for one use. Its position of reading is shared with other processes: the caller has
// the lock.
class SegmentLog {
 public:
  SegmentLog(const Pool& pool, std::uint64_t id) {
    std::uint64_t generation = 0;
    check(mpool_mlog_open(pool.get(), id, 0, &generation, &log_), "mpool_mlog_open");
  }
  ~SegmentLog() { (void)mpool_mlog_close(log_); }
  SegmentLog(const SegmentLog&) = delete;
  SegmentLog& operator=(const SegmentLog&) = delete;

  // All records, the oldest first.
  std::vector<std::string> records() {
    check(mpool_mlog_rewind(log_), "mpool_mlog_rewind");
    const auto read = [this](void* data, std::size_t size, std::size_t* length) {
      return mpool_mlog_read(log_, data, size, length);
    };
    std::vector<std::string> records;
    RecordReader reader;
    for (std::string record; reader.next(read, record);)
      records.push_back(record);
    return records;
  }
  std::size_t used() {
    std::size_t used = 0;
    check(mpool_mlog_len(log_, &used), "mpool_mlog_len");
    return used;
  }
  void append(std::string record) {
    iovec part{.iov_base = record.data(), .iov_len = record.size()};
    check(mpool_mlog_append(log_, &part, record.size(), 1), "mpool_mlog_append");
  }
  void erase() { check(mpool_mlog_erase(log_, 0), "mpool_mlog_erase"); }

 private:
  mpool_mlog* log_ = nullptr;
};

}  // namespace

class Queue::Impl {
 public:
  Impl(const std::string& pool, const QueueId& id, const std::string& lock_file,
       const QueueOptions& options)
      : lock_fd_(::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)),
        options_(options),
        id_(id),
        pool_(pool) {
    if (lock_fd_ < 0) throw CallError(errno, lock_file);
  }
  ~Impl() {
    if (mdc_ != nullptr) (void)mpool_mdc_close(mdc_);
    ::close(lock_fd_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  bool push(const std::string& record);
  bool pop(const std::function<void(const std::string& record)>& take);
  Stats stats();

 private:
  // Reads the state. The caller has the lock, as for all below.
  void load();
  void read_state();
  void reopen_state();
  // Durable on return.
  void save();
  bool add_segment(std::uint64_t first);

  const int lock_fd_;
  const QueueOptions options_;
  const QueueId id_;
  Pool pool_;
  mpool_mdc* mdc_ = nullptr;
  QueueState state_;
};

// --- the state ---

void Queue::Impl::reopen_state() {
  if (mdc_ != nullptr) (void)mpool_mdc_close(std::exchange(mdc_, nullptr));
  check(mpool_mdc_open(pool_.get(), id_.state[0], id_.state[1], 0, &mdc_), "mpool_mdc_open");
}

void Queue::Impl::read_state() {
  check(mpool_mdc_rewind(mdc_), "mpool_mdc_rewind");
  const auto read = [this](void* data, std::size_t size, std::size_t* length) {
    return mpool_mdc_read(mdc_, data, size, length);
  };
  state_ = {};
  RecordReader reader;
  for (std::string record; reader.next(read, record);)
    state_ = QueueState::decode(record);
}

void Queue::Impl::load() {
  if (mdc_ == nullptr) reopen_state();
  for (unsigned tries = 0;; ++tries) {
    try {
      return read_state();
    } catch (const CallError& error) {
      // A process was killed in a compaction. Its session ends in a moment: EBUSY until then. Its
      // compaction has failed afterwards: EINVAL.
      if (tries == kMaxTries || (error.code() != EINVAL && error.code() != EBUSY)) throw;
      if (error.code() == EINVAL) {
        reopen_state();
      } else {
        ::usleep(1000);
      }
    }
  }
}

void Queue::Impl::save() {
  std::size_t used = 0;
  std::string record = state_.encode();
  const auto append = [&](bool sync) {
    check(mpool_mdc_append(mdc_, record.data(), static_cast<ssize_t>(record.size()), sync),
          "mpool_mdc_append");
  };
  check(mpool_mdc_usage(mdc_, &used), "mpool_mdc_usage");
  if (used < options_.state_bytes) return append(true);
  check(mpool_mdc_cstart(mdc_), "mpool_mdc_cstart");
  append(false);
  check(mpool_mdc_cend(mdc_), "mpool_mdc_cend");
}

// --- segments ---

// False: there are as many as may be.
bool Queue::Impl::add_segment(std::uint64_t first) {
  if (state_.segments.size() >= options_.max_segments) return false;
  while (!state_.free.empty()) {
    const std::uint64_t id = state_.free.back();
    state_.free.pop_back();
    try {
      SegmentLog(pool_, id).erase();
    } catch (const CallError& error) {
      // The process that allocated it was killed before the commit, perhaps a moment ago.
      if (error.code() != ENOENT && error.code() != EINVAL) throw;
      continue;
    }
    state_.segments.push_back({.id = id, .first = first});
    save();
    return true;
  }
  mlog_capacity capacity{};
  capacity.lcp_captgt = kSegmentCapacity;
  std::uint64_t id = 0;
  check(mpool_mlog_alloc(pool_.get(), MP_MED_CAPACITY, &capacity, &id, nullptr),
        "mpool_mlog_alloc");
  state_.free.push_back(id);
  save();  // before the commit: no log is without an owner
  check(mpool_mlog_commit(pool_.get(), id), "mpool_mlog_commit");
  return add_segment(first);
}

bool Queue::Impl::push(const std::string& record) {
  const FileLock lock(lock_fd_);
  load();
  if (state_.segments.empty() && !add_segment(state_.head)) return false;
  {
    SegmentLog log(pool_, state_.segments.back().id);
    if (log.used() + record.size() <= options_.segment_bytes) {
      log.append(record);
      return true;
    }
    const std::uint64_t next = state_.segments.back().first + log.records().size();
    if (!add_segment(next)) return false;
  }
  SegmentLog(pool_, state_.segments.back().id).append(record);
  return true;
}

bool Queue::Impl::pop(const std::function<void(const std::string& record)>& take) {
  const FileLock lock(lock_fd_);
  load();
  if (state_.segments.empty()) return false;
  // The last segment stays, also when all of it was taken.
  while (state_.segments.size() > 1 && state_.head == state_.segments[1].first) {
    state_.free.push_back(state_.segments.front().id);
    state_.segments.erase(state_.segments.begin());
  }
  const QueueState::Segment segment = state_.segments.front();
  const std::vector<std::string> records = SegmentLog(pool_, segment.id).records();
  const std::uint64_t at = state_.head - segment.first;
  if (at >= records.size()) return false;
  take(records[at]);
  ++state_.head;
  save();
  return true;
}

Queue::Stats Queue::Impl::stats() {
  const FileLock lock(lock_fd_);
  load();
  Stats stats{.pushed = state_.head,
              .popped = state_.head,
              .segments = state_.segments.size(),
              .free_segments = state_.free.size()};
  if (state_.segments.empty()) return stats;
  const QueueState::Segment last = state_.segments.back();
  stats.pushed = last.first + SegmentLog(pool_, last.id).records().size();
  return stats;
}

// --- the queue ---

QueueId Queue::create(const std::string& pool) {
  const Pool open(pool);
  const mdc_capacity capacity{.mdt_captgt = kStateCapacity, .mdt_spare = false};
  QueueId id;
  check(
      mpool_mdc_alloc(open.get(), &id.state[0], &id.state[1], MP_MED_CAPACITY, &capacity, nullptr),
      "mpool_mdc_alloc");
  check(mpool_mdc_commit(open.get(), id.state[0], id.state[1]), "mpool_mdc_commit");
  return id;
}

Queue::Queue(const std::string& pool, const QueueId& id, const std::string& lock_file,
             const QueueOptions& options)
    : impl_(std::make_unique<Impl>(pool, id, lock_file, options)) {}

Queue::~Queue() = default;

bool Queue::push(const std::string& record) {
  return impl_->push(record);
}

bool Queue::pop(const std::function<void(const std::string& record)>& take) {
  return impl_->pop(take);
}

Queue::Stats Queue::stats() {
  return impl_->stats();
}

}  // namespace apps
