// Reading the tree from the root MDC, and writing all of it.
#include <cerrno>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"
#include "engine/names/namespace.h"
#include "engine/names/replay.h"

namespace mpool {

std::unique_ptr<Namespace> Namespace::mount(Pool& pool, const NamespaceOptions& options) {
  return std::make_unique<names::NamespaceImpl>(pool, options);
}

}  // namespace mpool

namespace mpool::names {
namespace {

[[noreturn]] void damaged(const Pool& pool, std::uint64_t record, int code,
                          std::string_view detail) {
  raise(code, "pool " + pool.name(), "root MDC, record {}: {}", record, detail);
}

// False when the root MDC belongs to another client.
bool read_records(const Pool& pool, const Mdc& mdc, Replay& replay) {
  MlogReader reader = mdc.reader();
  std::vector<std::byte> bytes;
  while (reader.next(bytes)) {
    if (replay.taken() == 0 && !is_owner_record(bytes)) return false;
    auto record = decode(bytes);
    if (!record) {
      damaged(pool, replay.taken(), record.error().later_version ? ENOTSUP : ENOTRECOVERABLE,
              record.error().detail);
    }
    replay.take(std::move(*record));
  }
  return true;
}

}  // namespace

NamespaceImpl::NamespaceImpl(Pool& pool, const NamespaceOptions& options)
    : pool_(pool), options_(options), dirty_logs_(pool.name()) {
  load();
}

void NamespaceImpl::load() {
  mdc_ = pool_.open_root_mdc();
  Replay replay(tree_, [this](std::uint64_t record, const Error& why) {
    damaged(pool_, record, why.code(), why.detail());
  });
  foreign_ = !read_records(pool_, *mdc_, replay);
  if (foreign_) {
    spdlog::warn(
        "pool {}: its root MDC belongs to another program; the named tree is empty and read-only",
        pool_.name());
  }
  const std::size_t complete =
      replay.complete_records([this](ObjectId object) { return pool_.find(object).has_value(); });
  const bool rolled_back = complete < replay.pending();
  if (rolled_back) {
    spdlog::info(
        "pool {}: {} changes of the last second before a crash were not complete and are undone",
        pool_.name(), replay.pending() - complete);
  }
  replay.settle(complete);
  // Every other record wants the root: without one the MDC is new, or a crash cut its first flush.
  const bool fresh = tree_.find(kRootInode) == nullptr;
  if (fresh) take_possession();
  if (foreign_ || options_.read_only) return;

  if (fresh) {
    for (const auto& record : snapshot())
      mdc_->append(record);
  } else if (rolled_back) {
    mdc_->append(encode({now(), RollbackRecord{static_cast<std::uint32_t>(complete)}}));
  }
  // The last batch is settled: from here on its objects may go. And no inode number that is handed
  // out from now on will be again, whatever comes of its file.
  const std::uint64_t batch = replay.last_batch() + 1;
  mdc_->sync(mdc_->append(encode({now(), BatchRecord{batch, tree_.next_inode() + kInodeReserve}})));
  // Most were deleted before: what is left is what a crash kept from it.
  std::vector<ObjectId> dead;
  for (const ObjectId object : replay.dead()) {
    if (pool_.find(object)) dead.push_back(object);
  }
  if (!options_.hold_deletes && !dead.empty()) pool_.remove(std::exchange(dead, {}));
  journal_ = std::make_unique<Journal>(
      pool_, *mdc_,
      Journal::Options{.interval = options_.commit_interval,
                       .first_batch = batch + 1,
                       .hold_deletes = options_.hold_deletes,
                       .held = std::move(dead)},
      Journal::Owner{.snapshot = [this] { return snapshot(); },
                     .committed =
                         [this](const std::vector<ObjectRecord>& objects) {
                           const std::lock_guard lock(pending_mutex_);
                           for (const ObjectRecord& object : objects) {
                             pending_objects_.erase(object.id);
                           }
                         },
                     .next_inode =
                         [this] {
                           const TreeLook lock(tree_mutex_);
                           return tree_.next_inode();
                         },
                     .write_logs = [this] { dirty_logs_.write(); },
                     .make_logs_durable =
                         [this](std::span<Device* const> flushed) {
                           if (dirty_logs_.make_durable(flushed)) trim_idle_logs();
                         },
                     .written = [this](Journal::Ticket last) { tell_durable(last); }});
}

// An empty tree: the root directory, owned as the pool's configuration says.
void NamespaceImpl::take_possession() {
  const ConfigRecord config = pool_.config();
  const Nanoseconds time = now();
  const bool configured = config.root_log_1 != ObjectId{};
  tree_.apply(
      {time, CreateRecord{.inode = kRootInode,
                          .parent = 0,
                          .name = {},
                          .attributes = {.mode = configured ? config.mode & 07777 : 0755,
                                         .uid = config.uid,
                                         .gid = config.gid,
                                         .atime = time,
                                         .mtime = time,
                                         .ctime = time},
                          .media_class = MediaClass::capacity,
                          .choice = Choice::none,
                          .target = {},
                          .content = {.kind = FileKind::directory, .size = 0, .extents = {}}}});
}

std::vector<std::vector<std::byte>> NamespaceImpl::snapshot() {
  const TreeLook lock(tree_mutex_);
  std::vector<std::vector<std::byte>> records;
  records.push_back(encode({now(), OwnerRecord{}}));
  tree_.snapshot([&](const Record& record) { records.push_back(encode(record)); });
  return records;
}

NamespaceImpl::~NamespaceImpl() {
  if (!journal_) return;
  try {
    dispose_unnamed();
    sync();
  } catch (const std::exception& error) {
    spdlog::error("pool {}: ending the mount: {}", pool_.name(), error.what());
  }
  journal_.reset();
  // Where the journal failed, logs may still be written.
  dirty_logs_.sync();
}

}  // namespace mpool::names
