// From written to committed: what write-once files bring into the journal (engine/file/README.md,
// "Commit").
#include <algorithm>
#include <cassert>

#include "engine/file/file_committer.h"

namespace mpool::names {
namespace {

// The extents are in order, within the length, and have written bytes of the sealed mblocks, or a
// record of the pack, only.
bool is_consistent(const ContentWriter::Sealed& sealed) {
  std::uint64_t end = 0;
  for (const Extent& extent : sealed.extents) {
    if (extent.length == 0 || extent.file_offset < end) return false;
    end = extent.file_offset + extent.length;
    if (sealed.packed.pack && sealed.packed.pack->id() == extent.object) continue;
    const auto holds = [&](const auto& mblock) {
      return mblock.object.id == extent.object &&
             extent.position + extent.length <= mblock.object.written_length;
    };
    if (std::ranges::none_of(sealed.mblocks, holds)) return false;
  }
  return end <= sealed.length;
}

}  // namespace

// The placeholder of the commit, while a scope uses it; closed at its end.
class FileCommitter::PlaceholderScope {
 public:
  PlaceholderScope(Journal& journal, Journal::SharedPlaceholder placeholder)
      : journal_(journal), placeholder_(std::move(placeholder)) {}
  ~PlaceholderScope() {
    if (placeholder_) journal_.close_placeholder(*placeholder_);
  }
  PlaceholderScope(const PlaceholderScope&) = delete;
  PlaceholderScope& operator=(const PlaceholderScope&) = delete;

  Journal::Placeholder* get() const { return placeholder_.get(); }

 private:
  Journal& journal_;
  const Journal::SharedPlaceholder placeholder_;
};

// Where the records of a commit belong; at the end of the queue unless it is the last one. So do
// those of a file that replaces another one, of which there may be changes behind it.
FileCommitter::PlaceholderScope FileCommitter::placeholder_of_commit(const Inode& inode,
                                                                     ActiveInode& state) {
  if (!state.is_committing() || inode.displaces != 0) inodes_.withdraw_placeholder(state);
  return {tree_.journal(), state.placeholder.exchange(nullptr)};
}

// Records an inode that is not on the media yet, with its present content in the tree.
Journal::Ticket FileCommitter::record_pending(Inode& inode, Change change,
                                              Journal::Placeholder* placeholder) {
  const CreateRecord record = create_record(inode, inode.open->parent, inode.open->name);
  // The parent changed when the file was created, and perhaps since.
  const Inode& parent = tree_.get(record.parent);
  change.record = encode({parent.attributes.mtime, record});
  Journal::Ticket ticket = tree_.journal().add(std::move(change), placeholder);
  inode.recorded = true;
  if (inode.xattrs) {
    for (const auto& [key, value] : *inode.xattrs) {
      ticket = tree_.record_only(
          {inode.attributes.ctime, XattrRecord{inode.number, key, true, value}}, placeholder);
    }
  }
  if (parent.attributes.ctime != parent.attributes.mtime) ticket = tree_.record_attributes(parent);
  inodes_.release_displaced(inode, ActiveInodes::DisplacedRecord::of_caller);
  return ticket;
}

// Content of a file that lost its name while it was written. Its open handles use it; it is removed
// with the last of them, or by a crash. Content in a pack needs no record for that.
Journal::Ticket FileCommitter::record_nameless(Change change) {
  if (change.mblocks.empty() && !change.packed.pack) return 0;
  OrphanRecord orphans;
  for (const SealedMblock& mblock : change.mblocks) {
    if (!mblock.extended) orphans.objects.push_back(mblock.object.id);
  }
  if (!orphans.objects.empty()) change.record = encode({tree_.now(), std::move(orphans)});
  return tree_.journal().add(std::move(change));
}

// No record mentions the inode, and it has no name.
bool FileCommitter::is_nameless_pending(InodeNumber number) {
  const TreeReadLock lock(tree_.mutex());
  const Inode& inode = tree_.get(number);
  return !inode.recorded && inode.links == 0;
}

Journal::Ticket FileCommitter::persist(InodeNumber number, ActiveInode& state, bool last) {
  const std::lock_guard one(state.persist_mutex);
  if (state.sticky_error) std::rethrow_exception(state.sticky_error);
  const auto writer = state.current_writer();
  if (!writer) return 0;  // it was committed meanwhile
  if (!last && is_nameless_pending(number)) {
    // A crash removes it, and a name that it may get (link()) must find its mblocks unrecorded.
    writer->drain();
    return 0;
  }
  const std::lock_guard content(state.content_lock);
  ContentWriter::Sealed sealed = last ? writer->seal_deferring() : writer->seal(false);
  try {
    return record_sealed(number, state, std::move(sealed));
  } catch (...) {
    state.sticky_error = std::current_exception();
    writer->forget_sealed();
    throw;
  }
}

// Bytes of the records of an inode that is not on the media yet, without its content.
std::size_t FileCommitter::pending_size(InodeNumber number) {
  constexpr std::size_t kXattrOverhead = 128;  // of the record and of the log
  std::size_t size = kSmallRecord;
  const Inode& inode = tree_.get(number);
  if (inode.recorded || !inode.xattrs) return size;
  for (const auto& [name, value] : *inode.xattrs)
    size += kXattrOverhead + name.size() + value.size();
  return size;
}

ChangeLock FileCommitter::begin_recording(InodeNumber number, std::size_t extents) {
  const std::size_t content = extents * sizeof(Extent);
  for (;;) {
    std::size_t pending;
    {
      const TreeReadLock lock(tree_.mutex());
      pending = pending_size(number);
    }
    ChangeLock lock = tree_.begin_change(content + pending, RoomFor::content, pending);
    if (pending_size(number) <= pending) return lock;
  }
}

Journal::Ticket FileCommitter::record_sealed(InodeNumber number, ActiveInode& state,
                                             ContentWriter::Sealed sealed) {
  const ChangeLock lock = begin_recording(number, sealed.extents.size());
  return record_sealed_locked(tree_.get(number), state, std::move(sealed));
}

Journal::Ticket FileCommitter::record_sealed_locked(Inode& inode, ActiveInode& state,
                                                    ContentWriter::Sealed sealed) {
  assert(is_consistent(sealed));
  // A declared length without data is no content: the next open for writing decides the kind.
  const bool has_content = !sealed.extents.empty() || inode.extents;
  const FileKind kind = has_content ? FileKind::write_once : FileKind::empty;
  ContentRecord record{inode.number, false, {kind, sealed.length, std::move(sealed.extents)}};
  const Content& content = record.content;
  const bool nameless = inode.links == 0 && inode.displaced_by == 0;
  const PlaceholderScope placeholder = placeholder_of_commit(inode, state);
  // No reader can exist: the mblocks are released.
  if (nameless && state.is_committing() && state.holders.total() == 1) {
    state.enter(Writing::dropping);
    return 0;
  }
  const bool changes = !content.extents.empty() || inode.size != content.size;
  // The time of the last write: stat(2) gives it already, and does not change by the commit.
  const Nanoseconds written = state.content_written_at;
  const Nanoseconds time = written != 0 ? written : tree_.now();
  const bool keeps_times = state.times_set || inode.attributes.ctime > time;
  if (changes) {
    const Nanoseconds mtime = inode.attributes.mtime;
    const Nanoseconds ctime = inode.attributes.ctime;
    tree_.apply({time, record});
    if (state.times_set) inode.attributes.mtime = mtime;
    inode.attributes.ctime = std::max(ctime, time);
  }
  {
    const std::lock_guard pending(pending_mutex_);
    for (const SealedMblock& mblock : sealed.mblocks)
      pending_objects_[mblock.object.id] = {mblock.object, mblock.deferred};
  }
  Change change{.mblocks = std::move(sealed.mblocks), .packed = std::move(sealed.packed)};
  if (nameless) return record_nameless(std::move(change));
  if (!inode.recorded) return record_pending(inode, std::move(change), placeholder.get());
  if (!changes) return 0;
  change.record = encode({time, record});
  const Journal::Ticket ticket = tree_.journal().add(std::move(change), placeholder.get());
  return keeps_times ? tree_.record_attributes(inode, placeholder.get()) : ticket;
}

void FileCommitter::fsync(InodeNumber number, ActiveInode& state) {
  const Journal::Ticket ticket = persist(number, state, false);
  if (ticket != 0) {
    tree_.journal().wait(ticket);
  } else {
    tree_.journal().wait_all();
  }
  tree_.check_online();
}

void FileCommitter::record_early(InodeNumber number) {
  State state;
  {
    const TreeLock lock(tree_.mutex());
    Inode& inode = tree_.get(number);
    if (inode.recorded) return;
    state = inodes_.pin(inode, FileHolder::call);
  }
  const auto release = [&] {
    const ChangeLock lock = tree_.lock_for_change();
    inodes_.close(number, FileHolder::call);
  };
  try {
    persist(number, *state, false);
  } catch (...) {
    release();
    throw;
  }
  release();
}

void FileCommitter::undo_first_name(InodeNumber number) {
  const ChangeLock lock = tree_.lock_for_change();
  if (const Inode* const inode = tree_.find(number); inode != nullptr && inode->open)
    roll_back_create(number, *inode->open);
}

bool FileCommitter::try_check_sticky_error(ActiveInode& state) {
  const std::unique_lock one(state.persist_mutex, std::try_to_lock);
  if (one && state.sticky_error) std::rethrow_exception(state.sticky_error);
  return one.owns_lock();
}

void FileCommitter::check_sticky_error(ActiveInode& state) {
  const std::lock_guard one(state.persist_mutex);
  if (state.sticky_error) std::rethrow_exception(state.sticky_error);
}

// Content that an fsync brought into the tree is removed like a deleted file.
void FileCommitter::discard(InodeNumber number, ActiveInode& state) {
  const std::lock_guard one(state.persist_mutex);
  const std::lock_guard content(state.content_lock);
  state.current_writer()->discard();
  std::shared_ptr<ContentWriter> replaced;  // destroyed without locks: it may release mblocks
  const ChangeLock lock = tree_.begin_change(kSmallRecord, RoomFor::release);
  state.sticky_error = nullptr;
  inodes_.withdraw_placeholder(state);
  Inode& inode = tree_.get(number);
  if (inode.kind == FileKind::empty && inode.size == 0) return;
  const Record record{tree_.now(), ContentRecord{number, true, {FileKind::empty, 0, {}}}};
  std::vector<ObjectId> deletes = inode.objects();
  tree_.apply(record);
  replaced = state.set_writer(packs_.make_writer(inode.media_class));
  tree_.record_deletes(inode, record, std::move(deletes));
}

void FileCommitter::truncate(InodeNumber number, ActiveInode& state, std::uint64_t size) {
  if (size == 0) return discard(number, state);
  const std::lock_guard one(state.persist_mutex);
  if (state.sticky_error) std::rethrow_exception(state.sticky_error);
  const std::lock_guard content(state.content_lock);
  const auto writer = state.current_writer();
  const bool shrinks = size < writer->length();
  writer->truncate(size);
  if (!shrinks) return;
  try {
    trim_recorded(number, size);
  } catch (...) {
    state.sticky_error = std::current_exception();
    writer->forget_sealed();
    throw;
  }
}

// Removes content behind this length that an fsync brought into the tree.
void FileCommitter::trim_recorded(InodeNumber number, std::uint64_t size) {
  const ChangeLock lock = tree_.begin_change(kSmallRecord, RoomFor::release);
  Inode& inode = tree_.get(number);
  if (inode.open) inodes_.withdraw_placeholder(*inode.open);
  if (!inode.extents || inode.size <= size) return;
  const bool keeps_some = inode.extents->front().file_offset < size;
  const FileKind kind = keeps_some ? FileKind::write_once : FileKind::empty;
  const Record record{tree_.now(), ContentRecord{number, !keeps_some, {kind, size, {}}}};
  const std::vector<ObjectId> before = inode.objects();
  tree_.apply(record);
  tree_.record_deletes(inode, record, missing_objects(before, inode));
}

void FileCommitter::note_objects_committed(std::span<const ObjectRecord> objects) {
  const std::lock_guard lock(pending_mutex_);
  for (const ObjectRecord& object : objects) {
    const auto pending = pending_objects_.find(object.id);
    if (pending == pending_objects_.end()) continue;
    // A later seal has made it longer.
    if (pending->second.record.written_length > object.written_length) continue;
    pending_objects_.erase(pending);
  }
}

void FileCommitter::note_committed(InodeNumber number, Journal::Ticket ticket) {
  {
    const std::lock_guard lock(pending_mutex_);
    not_durable_.emplace_back(ticket, number);
  }
  // It may have become durable before it was recorded in not_durable_.
  if (const Journal::Ticket written = tree_.journal().written(); written >= ticket)
    notify_durable(written);
}

void FileCommitter::notify_durable(Journal::Ticket last) {
  std::vector<InodeNumber> durable;
  {
    const std::lock_guard lock(pending_mutex_);
    std::erase_if(not_durable_, [&](const auto& noted) {
      if (noted.first > last) return false;
      durable.push_back(noted.second);
      return true;
    });
  }
  if (!durable.empty()) events_.durable(durable);
}

}  // namespace mpool::names
