// Open files: handles, opening and reading (engine/file/README.md, "Open files").
#include "engine/file/file_table.h"

#include <cerrno>
#include <utility>

#include "engine/tree/policy.h"

namespace mpool::names {

class FileTable::FileHandle final : public OpenFile, private ReadSource {
 public:
  FileHandle(FileTable& files, InodeNumber inode, State state, FileKind kind, bool cacheable,
             OpenIntent intent)
      : files_(files),
        inode_(inode),
        state_(std::move(state)),
        kind_(kind),
        cacheable_(cacheable),
        intent_(intent) {}

  InodeNumber inode() const override { return inode_; }
  FileKind kind() const override { return kind_; }
  bool cacheable() const override { return cacheable_; }

  ReadResult read(std::uint64_t offset, std::size_t length, ByteSpan memory,
                  std::optional<OnRing<FileRead>> on, Blocking blocking) override {
    if (!intent_.read) refuse_inode(EBADF, inode_, "not open for reading");
    if (on && kind_ != FileKind::log) {
      ReadResult result = on->io.read(*this, buffering(), offset, length, memory, on->operation);
      if (result.state != IoState::would_block) return result;
    }
    if (blocking == Blocking::forbidden) return {};
    const ByteSpan into = memory.first(length);
    return {IoState::done, into.first(kind_ == FileKind::log
                                          ? files_.logs_.read(inode_, *state_, offset, into)
                                          : files_.read_content(inode_, *state_, offset, into))};
  }

  IoState write(std::uint64_t offset, ConstByteSpan data, bool append,
                std::optional<OnRing<FileWrite>> on, Blocking blocking) override {
    check_writer();
    if (kind_ == FileKind::log) {
      if (blocking == Blocking::forbidden) return IoState::would_block;
      files_.logs_.append(inode_, state_, append ? std::nullopt : std::optional(offset), data);
      return IoState::done;
    }
    files_.inodes_.withdraw_placeholder(*state_);
    const auto writer = state_->current_writer();
    std::unique_lock order(state_->append_mutex, std::defer_lock);
    IoState state = IoState::would_block;
    // The holder of the mutex may be blocked in an allocation.
    if (on && (!append || order.try_lock())) {
      StartedWrite started =
          writer->start_write(append ? writer->length() : offset, data, buffering());
      started.writer = writer;
      state = on->io.write(std::move(started), on->operation);
    }
    if (state == IoState::would_block) {
      if (blocking == Blocking::forbidden) return state;
      if (append && !order) order.lock();
      writer->write(append ? writer->length() : offset, data, buffering());
      state = IoState::done;
    }
    state_->content_written_at = files_.tree_.now();
    return state;
  }

  void truncate(std::uint64_t size) override {
    check_writer();
    if (kind_ == FileKind::log) {
      if (size != 0) refuse_inode(EPERM, inode_, "a log can only be truncated to 0");
      files_.logs_.erase(inode_, *state_);
    } else {
      files_.committer_.truncate(inode_, *state_, size);
      state_->content_written_at = files_.tree_.now();
    }
  }

  void allocate(std::uint64_t offset, std::uint64_t length, LengthChange change) override {
    check_writer();
    if (kind_ == FileKind::log) refuse_inode(EOPNOTSUPP, inode_, "a log has no space set aside");
    const SpaceStats space = files_.tree_.space(inode_);
    if (length / space.block_size > space.blocks) {
      refuse_inode(ENOSPC, inode_, "the range is larger than its class");
    }
    const auto writer = state_->current_writer();
    writer->set_aside(offset, length);
    if (change == LengthChange::keep) return;
    files_.inodes_.withdraw_placeholder(*state_);
    writer->declare_length(offset + length);
    state_->content_written_at = files_.tree_.now();
  }

  std::optional<std::uint64_t> seek(std::uint64_t offset, SeekFor what) override {
    return files_.seek(inode_, *state_, offset, what);
  }

  void fsync() override {
    if (!intent_.write) {
      files_.sync_others(inode_, *state_);
    } else if (kind_ == FileKind::log) {
      files_.logs_.sync(inode_, *state_);
    } else {
      files_.committer_.fsync(inode_, *state_);
    }
  }

  bool flush(Blocking blocking) override {
    if (!intent_.write) return true;
    files_.tree_.check_online();
    const bool log = kind_ == FileKind::log;
    // Gathered data is written when the file ends: if it may find no room, close(2) must return the
    // error.
    const bool syncs =
        files_.tree_.options().sync || (!log && !files_.allocator_.room_is_certain());
    if (blocking == Blocking::forbidden) {
      if (syncs) return false;
      if (!log && !files_.committer_.try_check_sticky_error(*state_)) return false;
      if (!log && !state_->current_writer()->is_drained()) return false;
    } else if (syncs) {
      fsync();
    } else if (!log) {
      files_.committer_.check_sticky_error(*state_);
      state_->current_writer()->drain();
    }
    files_.committer_.add_placeholder(*state_);
    return true;
  }

  bool close(Blocking blocking) noexcept override {
    if (!closing_ && blocking == Blocking::forbidden && try_close()) {
      state_.reset();
      return true;
    }
    if (!closing_) closing_ = files_.committer_.begin_close(*state_, intent_.write);
    if (blocking == Blocking::forbidden) return false;
    files_.committer_.end_close(inode_, state_, *closing_, intent_.holder);
    state_.reset();
    return true;
  }

 private:
  std::uint64_t source_id() const noexcept override { return inode_; }
  bool plan_read(std::uint64_t offset, std::size_t length, ByteSpan memory,
                 ReadPlan& plan) override {
    return files_.plan_content(inode_, *state_, offset, length, memory, plan);
  }
  bool try_close() noexcept {
    return intent_.write ? files_.committer_.try_close_writer(inode_, state_)
                         : files_.committer_.try_close_reader(inode_, state_, intent_.holder);
  }
  Buffering buffering() const { return intent_.direct ? Buffering::device : Buffering::memory; }
  void check_writer() const {
    if (!intent_.write) refuse_inode(EBADF, inode_, "not open for writing");
    files_.tree_.check_online();
  }

  FileTable& files_;
  const InodeNumber inode_;
  State state_;                                    // null once closed
  std::optional<FileCommitter::Closing> closing_;  // begun by a close() that must not block
  const FileKind kind_;
  const bool cacheable_;
  const OpenIntent intent_;
};

// --- opening ---

std::unique_ptr<OpenFile> FileTable::open(InodeNumber number, const OpenIntent& wanted,
                                          Blocking blocking) {
  OpenIntent intent = wanted;
  intent.write = wanted.write || wanted.truncate;
  if (blocking == Blocking::forbidden)
    return intent.write ? nullptr : try_open_reader(number, intent);
  std::unique_ptr<OpenFile> file;
  Journal::Ticket ticket = 0;
  while (!file) {
    // The barrier must not be held while waiting for a commit, which needs it.
    committer_.wait_for_release(number);
    const ChangeLock lock =
        intent.write ? tree_.begin_change(kSmallRecord, RoomFor::release) : tree_.lock_for_change();
    Inode& inode = tree_.get(number);
    const bool committing = is_committing(inode);
    if (!committing) file = open_locked(inode, intent, ticket);
  }
  try {
    if (tree_.options().sync && ticket != 0) tree_.journal().wait(ticket);
    if (intent.truncate) file->truncate(0);
  } catch (...) {
    file->close();
    throw;
  }
  return file;
}

std::unique_ptr<OpenFile> FileTable::try_open_reader(InodeNumber number, const OpenIntent& intent) {
  const TreeLock lock(tree_.mutex());
  Inode& inode = tree_.get(number);
  if (!is_committed(inode)) return nullptr;
  Journal::Ticket unused = 0;
  return open_locked(inode, {.read = true, .holder = intent.holder}, unused);
}

std::unique_ptr<OpenFile> FileTable::open_locked(Inode& inode, const OpenIntent& intent,
                                                 Journal::Ticket& ticket) {
  if (inode.is_directory()) refuse_inode(EISDIR, inode.number, "is a directory");
  if (inode.kind == FileKind::symlink) refuse_inode(ELOOP, inode.number, "is a symbolic link");
  if (is_special(inode.kind)) refuse_inode(EINVAL, inode.number, "is a special file");
  const bool committed = is_committed(inode);
  if (intent.write && committed) {
    // Not EPERM: programs that can work read-only (mount -o loop, editors) then open for reading.
    refuse_inode(EACCES, inode.number, "is committed: its content cannot change any more");
  }
  const bool starts = intent.write && inode.kind == FileKind::empty && !is_being_written(inode);
  // A file with a declared length does not become a log.
  const bool appends = inode.choice == Choice::none && intent.append && inode.size == 0;
  const bool log = starts && (inode.choice == Choice::mlog || appends);
  const auto writer = starts && !log ? packs_.make_writer(inode.media_class) : nullptr;
  if (writer) writer->declare_length(inode.size);
  if (log && inode.on_media()) {
    ticket =
        inodes_.change({tree_.now(), ContentRecord{inode.number, true, {FileKind::log, 0, {}}}});
  } else if (log) {
    inode.kind = FileKind::log;
  }
  const State state = inodes_.pin(inode, intent.holder);
  if (intent.write) {
    inodes_.withdraw_placeholder(*state);
    ++state->writers;
  }
  if (writer) {
    state->set_writer(writer);
    state->enter(Writing::open);
    state->times_set = false;
    state->content_written_at = 0;
    state->sticky_error = nullptr;
  }
  const FileKind kind = state->writer ? FileKind::write_once : inode.kind;
  return std::make_unique<FileHandle>(*this, inode.number, state, kind, committed, intent);
}

std::optional<CreatedFile> FileTable::create(InodeNumber parent, std::string_view name,
                                             std::uint32_t mode, mpool::Owner owner,
                                             const OpenIntent& intent, Blocking blocking) {
  std::optional<ChangeLock> lock =
      tree_.begin_change(kSmallRecord, room_for_names(owner), blocking);
  if (!lock) return std::nullopt;
  return create_locked(*lock, parent, name, mode, owner, intent);
}

CreatedFile FileTable::create_locked(ChangeLock& lock, InodeNumber parent, std::string_view name,
                                     std::uint32_t mode, mpool::Owner owner,
                                     const OpenIntent& intent) {
  Inode& directory = tree_.get_directory(parent);
  tree_.check_new_name(directory, name);
  const CreateRecord record = tree_.new_inode(directory, name, FileKind::empty, mode, owner);
  if (!pool_.has_class(record.media_class)) {
    refuse_inode(ENODEV, parent, "the device of its class is missing");
  }
  const bool log =
      record.choice == Choice::mlog || (record.choice == Choice::none && intent.append);
  const bool recorded = log || !intent.write;
  const std::string advice = stored_xattr(directory, kAdviceXattr);
  Journal::Ticket ticket = 0;
  const auto change = [&](const Record& made) {
    if (recorded) {
      ticket = inodes_.change(made);
    } else {
      tree_.apply(made);
    }
  };
  change({record.attributes.mtime, record});
  if (!advice.empty()) {
    change({record.attributes.ctime,
            XattrRecord{record.inode, std::string(kAdviceXattr), true, advice}});
  }
  Inode& inode = tree_.get(record.inode);
  inode.recorded = recorded;
  auto file = open_locked(inode, intent, ticket);
  inode.open->parent = parent;
  inode.open->name = name;
  const Attributes attributes = inodes_.describe(inode);
  try {
    tree_.finish(lock, ticket);
  } catch (...) {
    file->close();
    throw;
  }
  return {attributes, std::move(file)};
}

CreatedFile FileTable::create_unnamed(InodeNumber parent, std::uint32_t mode, mpool::Owner owner,
                                      const OpenIntent& intent) {
  if (!intent.write) refuse_inode(EINVAL, parent, "a file without a name is for writing");
  const ChangeLock lock = tree_.begin_change(kSmallRecord, room_for_names(owner));
  const Inode& directory = tree_.get_directory(parent);
  if (directory.links == 0) refuse_inode(ENOENT, parent, "was removed");
  CreateRecord record = tree_.new_inode(directory, {}, FileKind::empty, mode, owner);
  if (!pool_.has_class(record.media_class)) {
    refuse_inode(ENODEV, parent, "the device of its class is missing");
  }
  record.choice = Choice::mblock;
  Inode& inode = tree_.add_unnamed(record);
  const std::string advice = stored_xattr(directory, kAdviceXattr);
  if (!advice.empty()) {
    tree_.apply({record.attributes.ctime,
                 XattrRecord{record.inode, std::string(kAdviceXattr), true, advice}});
  }
  Journal::Ticket unused = 0;
  auto file = open_locked(inode, intent, unused);
  return {inodes_.describe(inode), std::move(file)};
}

void FileTable::sync_others(InodeNumber number, ActiveInode& state) {
  if (!tree_.is_writable()) return;
  FileKind kind;
  {
    const TreeReadLock lock(tree_.mutex());
    kind = tree_.get(number).kind;
  }
  if (kind == FileKind::log) {
    logs_.sync(number, state);
  } else {
    committer_.fsync(number, state);
  }
}

}  // namespace mpool::names
