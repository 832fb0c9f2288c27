// Open files: the life of a write-once file (filesystem.md, "Write-once files").
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"
#include "engine/names/namespace.h"

namespace mpool::names {
namespace {

// How long an opening for reading waits for a last close that seems to be on its way: the kernel
// sends it without waiting for us, so a reader may overtake it.
constexpr std::chrono::milliseconds kCloseWait{1000};
constexpr std::chrono::seconds kDiscardWait{10};
constexpr std::size_t kSmallRecord = 1024;

[[noreturn]] void refuse_inode(int code, InodeNumber inode, std::string_view why) {
  raise(code, fmt::format("inode {}", inode), "{}", why);
}

class FileHandle final : public OpenFile {
 public:
  FileHandle(NamespaceImpl& names, InodeNumber inode, NamespaceImpl::State state, FileKind kind,
             bool cacheable, OpenIntent intent)
      : names_(names),
        inode_(inode),
        state_(std::move(state)),
        kind_(kind),
        cacheable_(cacheable),
        intent_(intent) {}

  InodeNumber inode() const override { return inode_; }
  FileKind kind() const override { return kind_; }
  bool cacheable() const override { return cacheable_; }

  std::size_t read(std::uint64_t offset, ByteSpan into) override {
    if (!intent_.read) refuse_inode(EBADF, inode_, "not open for reading");
    // An empty file may have become anything since it was opened.
    const FileKind kind = kind_ == FileKind::empty ? names_.kind_of(inode_) : kind_;
    return kind == FileKind::log ? names_.read_log(inode_, *state_, offset, into)
                                 : names_.read_content(inode_, *state_, offset, into);
  }

  void write(std::uint64_t offset, ConstByteSpan data, bool append) override {
    check_writer();
    if (kind_ == FileKind::log) {
      names_.append_log(inode_, state_, append ? std::nullopt : std::optional(offset), data);
      return;
    }
    state_->closing = false;
    if (append) {
      const std::lock_guard lock(state_->append_mutex);
      state_->writer->write(state_->writer->length(), data);
    } else {
      state_->writer->write(offset, data);
    }
  }

  void truncate(std::uint64_t size) override {
    check_writer();
    if (kind_ == FileKind::log) {
      if (size != 0) refuse_inode(EPERM, inode_, "a log can only be truncated to 0");
      names_.erase_log(inode_, *state_);
    } else if (size == 0) {
      state_->writer->discard();
    } else if (size < state_->writer->length()) {
      refuse_inode(EINVAL, inode_, "a write-once file cannot be truncated to a smaller length");
    } else {
      state_->writer->declare_length(size);
    }
  }

  void fsync() override {
    if (!intent_.write) return;
    if (kind_ == FileKind::log) {
      names_.sync_log(inode_, *state_);
    } else {
      names_.fsync_content(inode_, *state_);
    }
  }

  void flush() override {
    if (!intent_.write) return;
    if (names_.sync_always()) {
      fsync();
    } else if (kind_ != FileKind::log) {
      state_->writer->drain();
    }
    if (kind_ != FileKind::log && state_->writer->anything_written()) state_->closing = true;
  }

  void close() noexcept override {
    names_.close_handle(inode_, state_, intent_.write);
    state_.reset();
  }

 private:
  void check_writer() const {
    if (!intent_.write) refuse_inode(EBADF, inode_, "not open for writing");
  }

  NamespaceImpl& names_;
  const InodeNumber inode_;
  NamespaceImpl::State state_;  // null once closed
  const FileKind kind_;
  const bool cacheable_;
  const OpenIntent intent_;
};

}  // namespace

// --- opening ---

// Runs `allocate`; when there is no room, what was deleted is brought to the media first, so that
// its zones come free.
template <typename Allocate>
auto NamespaceImpl::with_room(Allocate allocate) {
  try {
    return allocate();
  } catch (const Error& error) {
    if (error.code() != ENOSPC) throw;
  }
  journal_->wait_all();
  pool_.wait_for_discards(kDiscardWait);
  return allocate();
}

std::unique_ptr<MblockWriter> NamespaceImpl::allocate_mblock(MediaClass media_class,
                                                             std::optional<std::uint64_t> near) {
  const Placement placement{media_class, SpacePolicy::usable_only, near};
  return with_room([&] { return std::make_unique<MblockWriter>(pool_, placement); });
}

ObjectRecord NamespaceImpl::allocate_mlog(MediaClass media_class) {
  const Placement placement{media_class, SpacePolicy::usable_only, std::nullopt};
  return with_room(
      [&] { return pool_.allocate(ObjectType::mlog, options_.log_mlog_size, placement); });
}

void NamespaceImpl::begin_writing(Inode& inode) {
  const MediaClass media_class = inode.media_class;
  inode.open->writer = std::make_shared<ContentWriter>(
      pool_.zone_size(media_class), [this, media_class](std::optional<std::uint64_t> near) {
        return allocate_mblock(media_class, near);
      });
}

// Waits for a commit under way, and a moment for one that seems about to begin.
Inode& NamespaceImpl::wait_until_openable(TreeLock& lock, InodeNumber number,
                                          const OpenIntent& intent) {
  const auto deadline = std::chrono::steady_clock::now() + kCloseWait;
  for (;;) {
    Inode& inode = tree_.get(number);
    const State state = inode.open;
    if (!state || !state->writer) return inode;
    if (state->committing) {
      commits_.wait(lock);
    } else if (intent.write || !state->closing) {
      return inode;
    } else if (commits_.wait_until(lock, deadline) == std::cv_status::timeout) {
      return inode;
    }
  }
}

std::unique_ptr<OpenFile> NamespaceImpl::open(InodeNumber number, const OpenIntent& wanted) {
  OpenIntent intent = wanted;
  intent.write = wanted.write || wanted.truncate;
  if (intent.write) {
    check_writable();
    journal_->make_room(kSmallRecord, intent.truncate);
  }
  {
    // The gate must not be held while waiting for a commit, which needs it.
    TreeLock lock(tree_mutex_);
    wait_until_openable(lock, number, intent);
  }
  std::unique_ptr<OpenFile> file;
  Journal::Ticket ticket = 0;
  {
    ChangeLock lock = lock_for_change();
    file = open_locked(tree_.get(number), intent, ticket);
  }
  try {
    if (options_.sync && ticket != 0) journal_->wait(ticket);
    if (intent.truncate) file->truncate(0);
  } catch (...) {
    file->close();
    throw;
  }
  return file;
}

std::unique_ptr<OpenFile> NamespaceImpl::open_locked(Inode& inode, const OpenIntent& intent,
                                                     Journal::Ticket& ticket) {
  if (inode.is_directory()) refuse_inode(EISDIR, inode.number, "is a directory");
  if (inode.kind == FileKind::symlink) refuse_inode(ELOOP, inode.number, "is a symbolic link");
  const bool being_written = inode.open && inode.open->writer;
  const bool committed = inode.kind == FileKind::write_once && !being_written;
  if (intent.write) {
    if (committed) {
      refuse_inode(EPERM, inode.number, "is committed: its content cannot change any more");
    }
    if (being_written && inode.open->committing) {
      refuse_inode(EPERM, inode.number, "is being committed: its content cannot change any more");
    }
  }
  const State state = hold(inode);
  if (intent.write) {
    ++state->writers;
    if (inode.kind == FileKind::empty && !being_written) {
      const bool log =
          inode.choice == Choice::mlog || (inode.choice == Choice::none && intent.append);
      if (!log) {
        begin_writing(inode);
      } else if (inode.links > 0) {
        ticket = change({now(), ContentRecord{inode.number, true, {FileKind::log, 0, {}}}});
      } else {
        inode.kind = FileKind::log;
      }
    }
  }
  const FileKind kind = state->writer ? FileKind::write_once : inode.kind;
  return std::make_unique<FileHandle>(*this, inode.number, state, kind, committed, intent);
}

std::pair<Attributes, std::unique_ptr<OpenFile>> NamespaceImpl::create(InodeNumber parent,
                                                                       std::string_view name,
                                                                       std::uint32_t mode,
                                                                       mpool::Owner owner,
                                                                       const OpenIntent& intent) {
  std::unique_ptr<OpenFile> file;
  InodeNumber number;
  {
    ChangeLock lock = begin_change(kSmallRecord);
    Inode& directory = tree_.get_directory(parent);
    check_new_name(directory, name);
    const CreateRecord record = new_inode(directory, name, FileKind::empty, mode, owner);
    number = record.inode;
    const bool log =
        record.choice == Choice::mlog || (record.choice == Choice::none && intent.append);
    Journal::Ticket ticket = 0;
    if (log || !intent.write) {
      ticket = change({record.attributes.mtime, record});
    } else {
      tree_.apply({record.attributes.mtime, record});
    }
    Inode& inode = tree_.get(number);
    inode.recorded = log || !intent.write;
    file = open_locked(inode, intent, ticket);
    inode.open->parent = parent;
    inode.open->name = name;
    finish(lock, ticket);
  }
  return {describe_unlocked(number), std::move(file)};
}

Attributes NamespaceImpl::truncate(InodeNumber number, std::uint64_t size) {
  const auto file =
      open(number, {.read = false, .write = true, .append = false, .truncate = false});
  try {
    file->truncate(size);
    file->flush();
  } catch (...) {
    file->close();
    throw;
  }
  file->close();
  return describe_unlocked(number);
}

// --- reading ---

// An object of a recorded file: committed, or on its way to be.
std::optional<ObjectRecord> NamespaceImpl::find_object(ObjectId id) {
  {
    const std::lock_guard lock(pending_mutex_);
    const auto it = pending_objects_.find(id);
    if (it != pending_objects_.end()) return it->second;
  }
  return pool_.find(id);
}

std::shared_ptr<const ReadMap> NamespaceImpl::make_read_map(const Inode& inode) {
  auto map = std::make_shared<ReadMap>();
  map->size = inode.size;
  if (!inode.extents) return map;
  map->pieces.reserve(inode.extents->size());
  for (const Extent& extent : *inode.extents) {
    const auto mblock = find_object(extent.object);
    if (!mblock) {
      refuse_inode(
          EIO, inode.number,
          fmt::format("mblock {} of its content does not exist", extent.object.to_string()));
    }
    map->pieces.push_back({extent.file_offset, extent.length, extent.position, *mblock});
  }
  return map;
}

std::shared_ptr<const ReadMap> NamespaceImpl::read_map(InodeNumber number, OpenState& state) {
  {
    const std::shared_lock lock(tree_mutex_);
    if (state.writer) {
      refuse_inode(EAGAIN, number, "is being written: it can be read when it is closed");
    }
    if (state.read_map) return state.read_map;
  }
  const TreeLock lock(tree_mutex_);
  if (!state.read_map) state.read_map = make_read_map(tree_.get(number));
  return state.read_map;
}

FileKind NamespaceImpl::kind_of(InodeNumber number) {
  const std::shared_lock lock(tree_mutex_);
  return tree_.get(number).kind;
}

std::size_t NamespaceImpl::read_content(InodeNumber number, OpenState& state, std::uint64_t offset,
                                        ByteSpan into) {
  const std::shared_ptr<const ReadMap> map = read_map(number, state);
  if (offset >= map->size) return 0;
  into = into.first(std::min<std::uint64_t>(into.size(), map->size - offset));
  const std::uint64_t end = offset + into.size();
  auto piece = std::ranges::upper_bound(map->pieces, offset, {}, &ReadMap::Piece::file_offset);
  if (piece != map->pieces.begin()) --piece;
  std::uint64_t at = offset;
  for (; piece != map->pieces.end() && piece->file_offset < end; ++piece) {
    const std::uint64_t begin = std::max(at, piece->file_offset);
    const std::uint64_t stop = std::min(end, piece->file_offset + piece->length);
    if (begin >= stop) continue;
    std::memset(into.data() + (at - offset), 0, begin - at);
    read_mblock(pool_, piece->mblock, piece->position + (begin - piece->file_offset),
                into.subspan(begin - offset, stop - begin));
    at = stop;
  }
  std::memset(into.data() + (at - offset), 0, end - at);
  return into.size();
}

// --- committing ---

// Records an inode that is on no media yet, with the content that the tree has for it.
Journal::Ticket NamespaceImpl::record_pending(Inode& inode, Change change) {
  CreateRecord record{.inode = inode.number,
                      .parent = inode.open->parent,
                      .name = inode.open->name,
                      .attributes = inode.attributes,
                      .media_class = inode.media_class,
                      .choice = inode.choice,
                      .target = {},
                      .content = {.kind = inode.kind, .size = inode.size, .extents = {}}};
  if (inode.extents) record.content.extents = *inode.extents;
  // The parent changed when the file was made, and perhaps since.
  const Nanoseconds when = tree_.get(record.parent).attributes.mtime;
  change.record = encode({when, record});
  Journal::Ticket ticket = journal_->add(std::move(change));
  inode.recorded = true;
  if (inode.xattrs) {
    for (const auto& [key, value] : *inode.xattrs) {
      ticket = record_only({inode.attributes.ctime, XattrRecord{inode.number, key, true, value}});
    }
  }
  unshadow(inode, true);
  return ticket;
}

Journal::Ticket NamespaceImpl::persist(InodeNumber number, OpenState& state, bool last) {
  ContentWriter::Sealed sealed = state.writer->seal(last);
  ContentRecord record{number, false, {FileKind::write_once, state.writer->length(), {}}};
  record.content.extents = std::move(sealed.extents);
  journal_->make_room(kSmallRecord + record.content.extents.size() * sizeof(Extent), false);

  ChangeLock lock = lock_for_change();
  Inode& inode = tree_.get(number);
  if (inode.links == 0) return 0;  // nobody will ever read it: the mblocks are given up
  const bool has_content = record.content.size > 0;
  const bool changes = !record.content.extents.empty() || inode.size != record.content.size;
  const Nanoseconds time = now();
  if (has_content && changes) {
    const Nanoseconds mtime = inode.attributes.mtime;
    tree_.apply({time, record});
    if (state.times_set) inode.attributes.mtime = mtime;
  }
  {
    const std::lock_guard pending(pending_mutex_);
    for (const auto& mblock : sealed.mblocks)
      pending_objects_[mblock->id()] = mblock->finish();
  }
  Change change{.record = {}, .mblocks = std::move(sealed.mblocks), .mlog = {}, .deletes = {}};
  if (!inode.recorded) return record_pending(inode, std::move(change));
  if (!has_content || !changes) return 0;
  change.record = encode({time, record});
  Journal::Ticket ticket = journal_->add(std::move(change));
  if (state.times_set) {
    ticket = record_only({time, AttributesRecord{number, inode.attributes, inode.media_class}});
  }
  return ticket;
}

void NamespaceImpl::fsync_content(InodeNumber number, OpenState& state) {
  const Journal::Ticket ticket = persist(number, state, false);
  if (ticket != 0) {
    journal_->wait(ticket);
  } else {
    journal_->wait_all();
  }
}

// The last writing handle was closed.
void NamespaceImpl::commit_closed(InodeNumber number, const State& state) noexcept {
  std::string failure;
  try {
    const Journal::Ticket ticket = persist(number, *state, true);
    if (options_.sync && ticket != 0) journal_->wait(ticket);
  } catch (const std::exception& error) {
    failure = error.what();
  }
  std::shared_ptr<ContentWriter> writer;  // ends without locks: it may give up mblocks
  {
    ChangeLock lock = lock_for_change();
    writer = std::move(state->writer);
    state->writer.reset();
    state->committing = false;
    state->read_map.reset();
    commits_.notify_all();
  }
  if (!failure.empty()) vanish(number, *state, failure);
  Committed callback;
  {
    const std::lock_guard lock(callback_mutex_);
    callback = committed_;
  }
  if (callback) callback(number);
}

// The commit failed: a new file disappears (and what it was about to replace is back), one that was
// recorded before keeps what it had.
void NamespaceImpl::vanish(InodeNumber number, OpenState& state, const std::string& why) {
  bool gone = false;
  {
    ChangeLock lock = lock_for_change();
    Inode& inode = tree_.get(number);
    if (!inode.recorded && inode.links > 0) {
      gone = true;
      Inode& parent = tree_.get_directory(state.parent);
      inode.links = 0;
      if (const InodeNumber shadowed = std::exchange(inode.shadows, 0); shadowed != 0) {
        parent.directory->replace(state.name, shadowed);
        ++tree_.get(shadowed).links;
        drop_hold(shadowed);
      } else {
        parent.directory->erase(state.name);
      }
    }
  }
  spdlog::error("pool {}: file '{}' (inode {}) could not be committed{}: {}", pool_.name(),
                state.name, number,
                gone ? " and is gone" : ", it keeps what was made durable before", why);
  Vanished callback;
  {
    const std::lock_guard lock(callback_mutex_);
    callback = vanished_;
  }
  if (gone && callback) callback(state.parent, state.name, number);
}

void NamespaceImpl::close_handle(InodeNumber number, const State& state, bool writer) noexcept {
  bool commit = false;
  bool log_closed = false;
  if (writer) {
    const TreeLock lock(tree_mutex_);
    const bool last = --state->writers == 0;
    commit = last && state->writer;
    log_closed = last && !state->writer;
    state->committing = commit;
  }
  if (commit) commit_closed(number, state);
  try {
    if (log_closed) record_log_times(number, *state);
    const ChangeLock lock = lock_for_change();
    drop_hold(number);
  } catch (const std::exception& error) {
    spdlog::error("pool {}: closing inode {}: {}", pool_.name(), number, error.what());
  }
}

}  // namespace mpool::names
