// Open files: handles, opening and reading (engine/names/README.md, "Open files").
#include <cerrno>
#include <chrono>
#include <utility>

#include "engine/base/error.h"
#include "engine/names/namespace.h"
#include "engine/names/times.h"

namespace mpool::names {
namespace {

constexpr std::chrono::seconds kDiscardWait{10};

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
    return kind_ == FileKind::log ? names_.read_log(inode_, *state_, offset, into)
                                  : names_.read_content(inode_, *state_, offset, into);
  }

  void write(std::uint64_t offset, ConstByteSpan data, bool append) override {
    check_writer();
    if (kind_ == FileKind::log) {
      names_.append_log(inode_, state_, append ? std::nullopt : std::optional(offset), data);
      return;
    }
    names_.withdraw_placeholder(*state_);
    const auto writer = state_->current_writer();
    if (append) {
      const std::lock_guard lock(state_->append_mutex);
      writer->write(writer->length(), data, buffering());
    } else {
      writer->write(offset, data, buffering());
    }
    state_->content_written_at = names_.now();
  }

  bool plan_read(std::uint64_t offset, std::size_t length, ByteSpan memory,
                 ReadPlan& plan) override {
    if (!intent_.read) refuse_inode(EBADF, inode_, "not open for reading");
    return kind_ != FileKind::log &&
           names_.plan_content(inode_, *state_, offset, length, memory, plan);
  }

  StartedWrite start_write(std::uint64_t offset, ConstByteSpan data, bool append) override {
    check_writer();
    if (kind_ == FileKind::log) return {};
    names_.withdraw_placeholder(*state_);
    auto writer = state_->current_writer();
    std::unique_lock order(state_->append_mutex, std::defer_lock);
    // The holder may be blocked in an allocation.
    if (append && !order.try_lock()) return {};
    StartedWrite write = writer->start_write(append ? writer->length() : offset, data, buffering());
    write.writer = std::move(writer);
    if (write.kind != StartedWrite::Kind::must_wait) state_->content_written_at = names_.now();
    return write;
  }

  void reserve(std::uint64_t offset, std::size_t length) override {
    check_writer();
    if (kind_ != FileKind::log) state_->current_writer()->reserve(offset, length, buffering());
  }

  void truncate(std::uint64_t size) override {
    check_writer();
    if (kind_ == FileKind::log) {
      if (size != 0) refuse_inode(EPERM, inode_, "a log can only be truncated to 0");
      names_.erase_log(inode_, *state_);
    } else {
      names_.truncate_content(inode_, *state_, size);
      state_->content_written_at = names_.now();
    }
  }

  void allocate(std::uint64_t offset, std::uint64_t length, LengthChange change) override {
    check_writer();
    if (kind_ == FileKind::log) refuse_inode(EOPNOTSUPP, inode_, "a log has no space set aside");
    const SpaceStats space = names_.space(inode_);
    if (length / space.block_size > space.blocks) {
      refuse_inode(ENOSPC, inode_, "the range is larger than its class");
    }
    const auto writer = state_->current_writer();
    writer->set_aside(offset, length);
    if (change == LengthChange::keep) return;
    names_.withdraw_placeholder(*state_);
    writer->declare_length(offset + length);
    state_->content_written_at = names_.now();
  }

  void fsync() override {
    if (!intent_.write) {
      names_.sync_others(inode_, *state_);
    } else if (kind_ == FileKind::log) {
      names_.sync_log(inode_, *state_);
    } else {
      names_.fsync_content(inode_, *state_);
    }
  }

  bool flush(Blocking blocking) override {
    if (!intent_.write) return true;
    names_.check_online();
    const bool log = kind_ == FileKind::log;
    // Gathered data is written when the file ends: if it may find no room, close(2) must return the
    // error.
    const bool syncs = names_.sync_always() || (!log && !names_.room_is_certain());
    if (blocking == Blocking::forbidden) {
      if (syncs) return false;
      if (!log && !names_.try_check_sticky_error(*state_)) return false;
      if (!log && !state_->current_writer()->is_drained()) return false;
    } else if (syncs) {
      fsync();
    } else if (!log) {
      names_.check_sticky_error(*state_);
      state_->current_writer()->drain();
    }
    names_.add_placeholder(*state_);
    return true;
  }

  bool close(Blocking blocking) noexcept override {
    if (!closing_ && blocking == Blocking::forbidden && try_close()) {
      state_.reset();
      return true;
    }
    if (!closing_) closing_ = names_.begin_close(*state_, intent_.write);
    if (blocking == Blocking::forbidden) return false;
    names_.end_close(inode_, state_, *closing_);
    state_.reset();
    return true;
  }

 private:
  bool try_close() noexcept {
    return intent_.write ? names_.try_close_writer(inode_, state_)
                         : names_.try_close_reader(inode_, state_);
  }
  Buffering buffering() const { return intent_.direct ? Buffering::device : Buffering::memory; }
  void check_writer() const {
    if (!intent_.write) refuse_inode(EBADF, inode_, "not open for writing");
    names_.check_online();
  }

  NamespaceImpl& names_;
  const InodeNumber inode_;
  NamespaceImpl::State state_;                     // null once closed
  std::optional<NamespaceImpl::Closing> closing_;  // begun by a close() that must not block
  const FileKind kind_;
  const bool cacheable_;
  const OpenIntent intent_;
};

}  // namespace

// --- opening ---

// Runs `allocate`; when there is no room, first makes deletions durable, so that their zones become
// free.
template <typename Allocate>
auto NamespaceImpl::with_room(Allocate allocate) {
  try {
    return allocate();
  } catch (const Error& error) {
    if (error.code() != ENOSPC) throw;
  }
  std::function<void()> no_room;
  {
    const std::lock_guard lock(callback_mutex_);
    no_room = no_room_;
  }
  if (no_room) no_room();
  destroy_unnamed();
  journal_->wait_for_room();
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

std::shared_ptr<ContentWriter> NamespaceImpl::make_writer(MediaClass media_class) {
  const auto allocate = [this, media_class](std::optional<std::uint64_t> near) {
    return allocate_mblock(media_class, near);
  };
  return std::make_shared<ContentWriter>(pool_.zone_size(media_class), allocate,
                                         pool_.write_memory());
}

std::unique_ptr<OpenFile> NamespaceImpl::open(InodeNumber number, const OpenIntent& wanted,
                                              Blocking blocking) {
  OpenIntent intent = wanted;
  intent.write = wanted.write || wanted.truncate;
  if (blocking == Blocking::forbidden) return intent.write ? nullptr : try_open_reader(number);
  std::unique_ptr<OpenFile> file;
  Journal::Ticket ticket = 0;
  while (!file) {
    // The barrier must not be held while waiting for a commit, which needs it.
    wait_for_release(number);
    const ChangeLock lock =
        intent.write ? begin_change(kSmallRecord, RoomFor::release) : lock_for_change();
    Inode& inode = tree_.get(number);
    const bool committing = inode.open && inode.open->committing;
    if (!committing) file = open_locked(inode, intent, ticket);
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

std::unique_ptr<OpenFile> NamespaceImpl::try_open_reader(InodeNumber number) {
  const TreeLock lock(tree_mutex_);
  Inode& inode = tree_.get(number);
  if (!is_committed(inode)) return nullptr;
  Journal::Ticket unused = 0;
  return open_locked(inode, {.read = true}, unused);
}

std::unique_ptr<OpenFile> NamespaceImpl::open_locked(Inode& inode, const OpenIntent& intent,
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
  const auto writer = starts && !log ? make_writer(inode.media_class) : nullptr;
  if (writer) writer->declare_length(inode.size);
  if (log && inode.on_media()) {
    ticket = change({now(), ContentRecord{inode.number, true, {FileKind::log, 0, {}}}});
  } else if (log) {
    inode.kind = FileKind::log;
  }
  const State state = pin_inode(inode);
  if (intent.write) {
    withdraw_placeholder(*state);
    ++state->writers;
  }
  if (writer) {
    state->set_writer(writer);
    state->times_set = false;
    state->content_written_at = 0;
    state->sticky_error = nullptr;
  }
  const FileKind kind = state->writer ? FileKind::write_once : inode.kind;
  return std::make_unique<FileHandle>(*this, inode.number, state, kind, committed, intent);
}

std::optional<Namespace::Created> NamespaceImpl::create(InodeNumber parent, std::string_view name,
                                                        std::uint32_t mode, mpool::Owner owner,
                                                        const OpenIntent& intent,
                                                        Blocking blocking) {
  std::optional<ChangeLock> lock = begin_change(kSmallRecord, room_for_names(owner), blocking);
  if (!lock) return std::nullopt;
  return create_locked(*lock, parent, name, mode, owner, intent);
}

Namespace::Created NamespaceImpl::create_locked(ChangeLock& lock, InodeNumber parent,
                                                std::string_view name, std::uint32_t mode,
                                                mpool::Owner owner, const OpenIntent& intent) {
  Inode& directory = tree_.get_directory(parent);
  check_new_name(directory, name);
  const CreateRecord record = new_inode(directory, name, FileKind::empty, mode, owner);
  if (!pool_.has_class(record.media_class)) {
    refuse_inode(ENODEV, parent, "the device of its class is missing");
  }
  const bool log =
      record.choice == Choice::mlog || (record.choice == Choice::none && intent.append);
  const bool recorded = log || !intent.write;
  Journal::Ticket ticket = 0;
  if (recorded) {
    ticket = change({record.attributes.mtime, record});
  } else {
    tree_.apply({record.attributes.mtime, record});
  }
  Inode& inode = tree_.get(record.inode);
  inode.recorded = recorded;
  auto file = open_locked(inode, intent, ticket);
  inode.open->parent = parent;
  inode.open->name = name;
  const Attributes attributes = describe(inode);
  try {
    finish(lock, ticket);
  } catch (...) {
    file->close();
    throw;
  }
  return {attributes, std::move(file)};
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
  return attributes(number);
}

}  // namespace mpool::names
