#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "fuse/native/native_reads.h"
#include "fuse/native/reader_watch.h"
#include "fuse/ops/operations.h"

namespace mpoolfs {

namespace {

// An open file on its way to HandleTable: closed if a later step fails.
class OpenedFile {
 public:
  explicit OpenedFile(std::unique_ptr<mpool::OpenFile> file) : file_(std::move(file)) {}
  ~OpenedFile() {
    if (file_) file_->close();
  }
  OpenedFile(const OpenedFile&) = delete;
  OpenedFile& operator=(const OpenedFile&) = delete;

  const mpool::OpenFile& operator*() const { return *file_; }
  std::unique_ptr<mpool::OpenFile> take() { return std::move(file_); }

 private:
  std::unique_ptr<mpool::OpenFile> file_;
};

// Clears the mode bits that a write of the caller must clear (mode_after_write()).
void drop_privileges(const Call& call, mpool::InodeNumber inode) {
  const mpool::Attributes attributes = call.names().attributes(inode);
  mpool::AttributeChange change;
  change.mode = mode_after_write(attributes, call.caller);
  if (change.mode == attributes.mode) return;
  call.names().set_attributes(inode, change);
  call.file_system.notifier->attributes_changed(inode);
}

// Called before a write of a file that may have such bits.
void drop_privileges(const Call& call, KernelHandle& handle) {
  // Cleared first: a concurrent chmod sets the flag again, after the mode.
  handle.set_may_have_privileges(false);
  try {
    drop_privileges(call, handle.file().inode());
  } catch (...) {
    handle.set_may_have_privileges(true);
    throw;
  }
}

// Whether a file may have mode bits that a write must clear.
enum class Privileges { none, possible };

// The reaper knows the pages of native files by their views.
void track(const Call& call, KernelHandle& handle, const mpool::OpenIntent& intent) {
  const mpool::OpenFile& file = handle.file();
  ServedFiles* const served = call.file_system.served;
  if (served == nullptr || intent.write || intent.direct || !file.cacheable()) return;
  const auto attributes = call.names().attributes(file.inode(), mpool::Blocking::forbidden);
  if (attributes && attributes->size > 0)
    handle.set_served(served->opened(file.inode(), attributes->size));
}

// Registers an open file. Committed content is cached forever, by the kernel's own file where it
// has one, and can be mapped.
Opened registered(const Call& call, OpenedFile& file, Privileges privileges,
                  const mpool::OpenIntent& intent, NativeEntry native) {
  if (intent.read && !(*file).cacheable() && (*file).kind() == mpool::FileKind::write_once) {
    call.file_system.notifier->note_early_reader((*file).inode());
  }
  HandleTable& handles = call.file_system.handles;
  KernelHandle& handle = handles.add(file.take(), intent);
  handle.set_may_have_privileges(intent.write && privileges == Privileges::possible);
  if (native.backing_id() == 0) track(call, handle, intent);
  native.count();
  return {handles, handle, std::move(native), intent.write};
}

NativeEntry enter(const Call& call, const mpool::OpenFile& file, const mpool::OpenIntent& intent) {
  return call.file_system.native.enter(file.inode(), file.cacheable() && !intent.write);
}

// Opens a committed file for reading without blocking. nullopt: nothing was done.
std::optional<Opened> open_without_waiting(const Call& call, mpool::InodeNumber inode,
                                           const mpool::OpenIntent& intent) {
  if (intent.write || intent.truncate) return std::nullopt;
  // Before the file is open: closing it again might block.
  std::optional<NativeEntry> native = call.file_system.native.try_enter(inode);
  if (!native) return std::nullopt;
  auto opened = call.names().open(inode, intent, mpool::Blocking::forbidden);
  if (!opened) return std::nullopt;
  OpenedFile file(std::move(opened));
  return registered(call, file, Privileges::possible, intent, *std::move(native));
}

struct Created {
  mpool::Attributes attributes;
  std::unique_ptr<mpool::OpenFile> file;
  Privileges privileges = Privileges::none;
};

Created to_created(std::pair<mpool::Attributes, std::unique_ptr<mpool::OpenFile>> made) {
  const bool has_bits = (made.first.mode & kPrivilegeBits) != 0;
  return {.attributes = made.first,
          .file = std::move(made.second),
          .privileges = has_bits ? Privileges::possible : Privileges::none};
}

// An existing file found by open(2) with O_CREAT and without O_EXCL.
Created open_existing(const Call& call, mpool::InodeNumber parent, std::string_view name,
                      const mpool::OpenIntent& intent) {
  const mpool::InodeNumber inode = call.names().lookup(parent, name).inode;
  OpenedFile file(call.names().open(inode, intent));
  if (intent.truncate) drop_privileges(call, inode);
  const mpool::Attributes attributes = call.names().attributes(inode);
  return {.attributes = attributes, .file = file.take(), .privileges = Privileges::possible};
}

std::optional<Created> create_unnamed(const Call& call, mpool::InodeNumber directory,
                                      const Ownership& owned, int flags) {
  if (!call.can_block()) return std::nullopt;
  return to_created(
      call.names().create_unnamed(directory, owned.mode, owned.owner, to_intent(flags)));
}

// Returns nullopt and does nothing if it must not block and would have to: a thread that may block
// opens an existing file.
std::optional<Created> create_or_open(const Call& call, mpool::InodeNumber parent,
                                      std::string_view name, const Ownership& owned, int flags) {
  const mpool::OpenIntent intent = to_intent(flags);
  try {
    auto created =
        call.names().create(parent, name, owned.mode, owned.owner, intent, call.blocking);
    if (!created) return std::nullopt;
    return to_created(std::move(*created));
  } catch (const mpool::Error& error) {
    if (error.code() != EEXIST || (flags & O_EXCL) != 0) throw;
  }
  if (!call.can_block()) return std::nullopt;
  return open_existing(call, parent, name, intent);
}

}  // namespace

std::optional<Opened> op_open(const Call& call, mpool::InodeNumber inode,
                              const FileArgument& argument) {
  const mpool::OpenIntent intent = to_intent(argument.flags);
  if (!call.can_block()) return open_without_waiting(call, inode, intent);
  OpenedFile file(call.names().open(inode, intent));
  if (intent.truncate) drop_privileges(call, inode);
  return registered(call, file, Privileges::possible, intent, enter(call, *file, intent));
}

std::optional<CreatedFile> op_create(const Call& call, mpool::InodeNumber parent,
                                     std::string_view name, mode_t mode,
                                     const FileArgument& argument) {
  const Ownership owned = ownership_of_new(call, parent, mode);
  auto created = name == kUnnamed ? create_unnamed(call, parent, owned, argument.flags)
                                  : create_or_open(call, parent, name, owned, argument.flags);
  if (!created) return std::nullopt;
  OpenedFile file(std::move(created->file));
  if (name != kUnnamed) call.file_system.notifier->entries_changed(parent);
  mpool::InodeNumber referred_to = created->attributes.inode;
  call.names().ref({&referred_to, 1});  // the open file keeps it until here
  const mpool::OpenIntent intent = to_intent(argument.flags);
  return CreatedFile{
      .entry = {created->attributes},
      .opened = registered(call, file, created->privileges, intent, enter(call, *file, intent))};
}

mpool::ReadResult op_read(const Call& call, const FileArgument& argument, std::uint64_t offset,
                          std::size_t size, mpool::ByteSpan memory, mpool::FileIo& io,
                          mpool::FileRead& operation) {
  // Every READ is first handled on a thread that must not block: count it there.
  if (!call.can_block()) call.file_system.readers.note_request();
  if (size > memory.size()) mpool::raise(EINVAL, "read", "{} bytes at a time", size);
  std::optional<mpool::OnRing<mpool::FileRead>> ring;  // workers have none
  if (!call.can_block()) {
    if (ServedFile* const served = argument.handle->served())
      call.file_system.served->note_read(*served, offset, size);
    ring.emplace(io, operation);
  }
  return argument.file().read(offset, size, memory, ring, call.blocking);
}

mpool::IoState op_write(const Call& call, const FileArgument& argument, std::uint64_t offset,
                        mpool::ConstByteSpan data, mpool::FileIo& io, mpool::FileWrite& operation) {
  KernelHandle& handle = *argument.handle;
  mpool::OpenFile& file = handle.file();
  // The kernel leaves the sync to the daemon for O_DSYNC descriptors and writes.
  const bool sync = (argument.flags & O_DSYNC) != 0;
  const bool drops = handle.may_have_privileges() && call.caller.uid != 0;
  std::optional<mpool::OnRing<mpool::FileWrite>> ring;  // workers have none
  if (!call.can_block()) {
    if (sync || drops) return mpool::IoState::would_block;
    ring.emplace(io, operation);
  }
  if (drops) drop_privileges(call, handle);
  const mpool::IoState state = file.write(offset, data, handle.append(), ring, call.blocking);
  if (sync) file.fsync();
  return state;
}

Outcome op_flush(const Call& call, mpool::InodeNumber, const FileArgument& argument) {
  return done_if(argument.file().flush(call.blocking));
}

Outcome op_release(const Call& call, mpool::InodeNumber inode, const FileArgument& argument) {
  if (!call.file_system.handles.close(*argument.handle, call.blocking)) return Outcome::would_block;
  call.file_system.native.leave(inode);
  return Outcome::done;
}

Outcome op_fsync(const Call&, mpool::InodeNumber, int, const FileArgument& argument) {
  argument.file().fsync();
  return Outcome::done;
}

FoundOffset op_lseek(const Call&, mpool::InodeNumber, off_t offset, int whence,
                     const FileArgument& argument) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE)
    mpool::raise(EINVAL, "lseek", "whence {}", whence);
  return {argument.file().seek(checked_offset(offset),
                               whence == SEEK_DATA ? mpool::SeekFor::data : mpool::SeekFor::hole)};
}

// Allocates space. If mode 0 were refused with EOPNOTSUPP, posix_fallocate(3) would write zeros
// over the whole file; so it is accepted, except for logs.
Outcome op_fallocate(const Call&, mpool::InodeNumber, int mode, off_t offset, off_t length,
                     const FileArgument& argument) {
  if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0) {
    mpool::raise(EOPNOTSUPP, "fallocate", "mode {:#x}: space can only be set aside", mode);
  }
  const std::uint64_t begin = checked_offset(offset);
  const std::uint64_t size = checked_offset(length);
  if (begin + size > std::numeric_limits<off_t>::max()) {
    mpool::raise(EFBIG, "fallocate", "offset {} and length {}", offset, length);
  }
  const auto change = mode == 0 ? mpool::LengthChange::extend : mpool::LengthChange::keep;
  argument.file().allocate(begin, size, change);
  return Outcome::done;
}

}  // namespace mpoolfs
