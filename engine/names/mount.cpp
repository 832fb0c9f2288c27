// Reading the tree from the root MDC, and writing all of it.
#include <cerrno>
#include <unordered_set>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"
#include "engine/names/namespace.h"

namespace mpool {

std::unique_ptr<Namespace> Namespace::mount(Pool& pool, const NamespaceOptions& options) {
  return std::make_unique<names::NamespaceImpl>(pool, options);
}

}  // namespace mpool

namespace mpool::names {
namespace {

// The objects that a record brings into use.
const std::vector<Extent>& new_extents(const Record& record) {
  static const std::vector<Extent> none;
  if (const auto* create = std::get_if<CreateRecord>(&record.body)) return create->content.extents;
  if (const auto* content = std::get_if<ContentRecord>(&record.body)) {
    return content->content.extents;
  }
  return none;
}

}  // namespace

// Applies the records of the MDC batch by batch (records.md, "Batches and crashes").
struct NamespaceImpl::Replay {
  NamespaceImpl& names;
  std::vector<Record> batch;  // records since the last BATCH
  std::uint64_t last_number = 0;
  std::uint64_t position = 0;         // records read, for messages
  std::unordered_set<ObjectId> dead;  // objects whose names are gone

  [[noreturn]] void damaged(int code, std::string_view detail) const {
    raise(code, "pool " + names.pool_.name(), "root MDC, record {}: {}", position, detail);
  }

  void bury(const std::vector<Extent>& extents) {
    for (const Extent& extent : extents)
      dead.insert(extent.object);
  }

  void apply(const Record& record) {
    if (const auto* orphan = std::get_if<OrphanRecord>(&record.body)) {
      dead.insert(orphan->objects.begin(), orphan->objects.end());
      return;
    }
    if (const auto* content = std::get_if<ContentRecord>(&record.body);
        content != nullptr && content->replace) {
      const Inode* inode = names.tree_.find(content->inode);
      if (inode != nullptr && inode->extents) bury(*inode->extents);
    }
    const InodeNumber unnamed = names.tree_.apply(record);
    if (unnamed == 0) return;
    for (const ObjectId object : names.tree_.get(unnamed).objects())
      dead.insert(object);
    names.tree_.erase(unnamed);
  }

  void apply_batch(std::size_t keep) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (i < keep) {
        apply(batch[i]);
      } else {
        bury(new_extents(batch[i]));
      }
    }
    batch.clear();
  }

  void take(const Record& record) {
    if (const auto* mark = std::get_if<BatchRecord>(&record.body)) {
      apply_batch(batch.size());
      last_number = mark->number;
      names.tree_.raise_next_inode(mark->next_inode);
    } else if (const auto* rollback = std::get_if<RollbackRecord>(&record.body)) {
      apply_batch(rollback->keep);
    } else if (!std::holds_alternative<OwnerRecord>(record.body)) {
      batch.push_back(record);
    }
  }

  void read() {
    MlogReader reader = names.mdc_->reader();
    std::vector<std::byte> bytes;
    for (; reader.next(bytes); ++position) {
      if (position == 0 && !is_owner_record(bytes)) {
        names.foreign_ = true;
        return;
      }
      auto record = decode(bytes);
      if (!record) {
        damaged(record.error().later_version ? ENOTSUP : ENOTRECOVERABLE, record.error().detail);
      }
      try {
        take(*record);
      } catch (const Error& error) {
        damaged(error.code(), error.detail());
      }
    }
  }

  // How many records of the last batch happened: those before the first that names a missing
  // object.
  std::size_t complete_records() const {
    std::size_t complete = 0;
    for (const Record& record : batch) {
      for (const Extent& extent : new_extents(record)) {
        if (!names.pool_.find(extent.object)) return complete;
      }
      ++complete;
    }
    return complete;
  }
};

NamespaceImpl::NamespaceImpl(Pool& pool, const NamespaceOptions& options)
    : pool_(pool), options_(options) {
  load();
}

void NamespaceImpl::load() {
  mdc_ = pool_.open_root_mdc();
  Replay replay{.names = *this, .batch = {}, .dead = {}};
  replay.read();
  if (foreign_) {
    spdlog::warn(
        "pool {}: its root MDC belongs to another program; the named tree is empty and read-only",
        pool_.name());
  }
  const std::size_t complete = replay.complete_records();
  const bool rolled_back = complete < replay.batch.size();
  if (rolled_back) {
    spdlog::info(
        "pool {}: {} changes of the last second before a crash were not complete and are undone",
        pool_.name(), replay.batch.size() - complete);
  }
  replay.apply_batch(complete);
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
  mdc_->sync(mdc_->append(
      encode({now(), BatchRecord{++replay.last_number, tree_.next_inode() + kInodeReserve}})));
  // Most were deleted before: what is left is what a crash kept from it.
  std::vector<ObjectId> dead;
  for (const ObjectId object : replay.dead) {
    if (pool_.find(object)) dead.push_back(object);
  }
  if (!dead.empty()) pool_.remove(dead);
  journal_ = std::make_unique<Journal>(
      pool_, *mdc_,
      Journal::Options{.interval = options_.commit_interval, .first_batch = replay.last_number + 1},
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
                     .sync_logs = [this] { sync_dirty_logs(false); }});
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
    sync();
  } catch (const std::exception& error) {
    spdlog::error("pool {}: ending the mount: {}", pool_.name(), error.what());
  }
  journal_.reset();
}

}  // namespace mpool::names
