#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include <fcntl.h>

#include "engine/base/error.h"
#include "fuse/native/native_reads.h"
#include "fuse/native/reader_watch.h"
#include "fuse/ops/answer.h"
#include "fuse/ops/handle_of.h"
#include "fuse/ops/operations.h"
#include "fuse/ops/request_context.h"

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

// Committed content is cached forever, by the kernel's own file where it has one, and can be
// mapped. For other files every read and write is a request, and a shared mapping fails with
// ENODEV.
void set_caching(const mpool::OpenFile& file, bool native, fuse_file_info& info) {
  const bool cached = file.cacheable();
  info.direct_io = cached ? 0 : 1;
  info.keep_cache = cached && !native ? 1 : 0;
}

// Clears the mode bits that a write of the caller must clear (mode_after_write()).
void drop_privileges(fuse_req_t request, FileSystem& file_system, fuse_ino_t inode) {
  const mpool::Attributes attributes = file_system.names.attributes(inode);
  mpool::AttributeChange change;
  change.mode = mode_after_write(attributes, *fuse_req_ctx(request));
  if (change.mode == attributes.mode) return;
  file_system.names.set_attributes(inode, change);
  file_system.notifier->attributes_changed(inode);
}

// Called before a write of a file that may have such bits.
void drop_privileges(fuse_req_t request, FileSystem& file_system, KernelHandle& handle) {
  // Cleared first: a concurrent chmod sets the flag again, after the mode.
  handle.set_may_have_privileges(false);
  try {
    drop_privileges(request, file_system, handle.file().inode());
  } catch (...) {
    handle.set_may_have_privileges(true);
    throw;
  }
}

// Whether a file may have mode bits that a write must clear.
enum class Privileges { none, possible };

// Registers an open file; `reply` gives the answer. -ENOENT from the library means that the kernel
// has dropped the request and will not release the handle.
template <typename Reply>
void reply_open_file(fuse_req_t request, OpenedFile& file, Privileges privileges,
                     const mpool::OpenIntent& intent, NativeEntry& native, fuse_file_info& info,
                     Reply&& reply) {
  FileSystem& file_system = file_system_of(request);
  HandleTable& handles = file_system.handles;
  set_caching(*file, native.backing_id() != 0, info);
  if (intent.read && !(*file).cacheable() && (*file).kind() == mpool::FileKind::write_once) {
    file_system.notifier->note_early_reader((*file).inode());
  }
  // The close of a read-only descriptor carries no information.
  info.noflush = intent.write ? 0 : 1;
  RequestContext::current().set_backing_id(native.backing_id());
  KernelHandle& handle = handles.add(file.take(), intent);
  handle.set_may_have_privileges(intent.write && privileges == Privileges::possible);
  info.fh = handle_number(handle);
  native.count();
  if (reply() != -ENOENT) return native.keep();
  handles.close(handle, mpool::Blocking::allowed);
}

NativeEntry enter(FileSystem& file_system, const mpool::OpenFile& file,
                  const mpool::OpenIntent& intent) {
  return file_system.native.enter(file.inode(), file.cacheable() && !intent.write);
}

// Opens a committed file for reading without blocking. False: nothing was done.
bool open_without_waiting(fuse_req_t request, FileSystem& file_system, fuse_ino_t inode,
                          fuse_file_info& info) {
  const mpool::OpenIntent intent = to_intent(info.flags);
  if (intent.write || intent.truncate) return false;
  // Before the file is open: closing it again might block.
  std::optional<NativeEntry> native = file_system.native.try_enter(inode);
  if (!native) return false;
  auto opened = file_system.names.open(inode, intent, mpool::Blocking::forbidden);
  if (!opened) return false;
  OpenedFile file(std::move(opened));
  reply_open_file(request, file, Privileges::possible, intent, *native, info,
                  [&] { return fuse_reply_open(request, &info); });
  return true;
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
Created open_existing(fuse_req_t request, FileSystem& file_system, fuse_ino_t parent,
                      const char* name, const mpool::OpenIntent& intent) {
  const mpool::InodeNumber inode = file_system.names.lookup(parent, name).inode;
  OpenedFile file(file_system.names.open(inode, intent));
  if (intent.truncate) drop_privileges(request, file_system, inode);
  const mpool::Attributes attributes = file_system.names.attributes(inode);
  return {.attributes = attributes, .file = file.take(), .privileges = Privileges::possible};
}

// Returns nullopt and does nothing if it must not block and would have to: a thread that may block
// opens an existing file.
std::optional<Created> create_or_open(fuse_req_t request, FileSystem& file_system,
                                      fuse_ino_t parent, const char* name, const Ownership& made,
                                      const fuse_file_info& info) {
  mpool::Namespace& names = file_system.names;
  const mpool::OpenIntent intent = to_intent(info.flags);
  try {
    auto created = names.create(parent, name, made.mode, made.owner, intent,
                                RequestContext::current().blocking());
    if (!created) return std::nullopt;
    return to_created(std::move(*created));
  } catch (const mpool::Error& error) {
    if (error.code() != EEXIST || (info.flags & O_EXCL) != 0) throw;
  }
  if (!RequestContext::current().can_block()) return std::nullopt;
  return open_existing(request, file_system, parent, name, intent);
}

// The number of writes that may be answered before they are on the device.
std::size_t writes_behind(FileSystem& file_system) {
  return file_system.readers.reads_active() ? WriteBehind::kPlacesBesideReaders
                                            : WriteBehind::kPlaces;
}

// The kernel passes no negative offsets; this prevents a conversion of one to a huge number.
std::uint64_t checked_offset(off_t offset) {
  if (offset < 0) mpool::raise(EINVAL, "request", "negative offset {}", offset);
  return static_cast<std::uint64_t>(offset);
}

}  // namespace

void op_open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  answer(request, "open", inode, [&](FileSystem& file_system) {
    RequestContext& context = RequestContext::current();
    if (!context.can_block()) {
      if (!open_without_waiting(request, file_system, inode, *info))
        context.defer_to_worker(request);
      return;
    }
    const mpool::OpenIntent intent = to_intent(info->flags);
    OpenedFile file(file_system.names.open(inode, intent));
    if (intent.truncate) drop_privileges(request, file_system, inode);
    NativeEntry native = enter(file_system, *file, intent);
    reply_open_file(request, file, Privileges::possible, intent, native, *info,
                    [&] { return fuse_reply_open(request, info); });
  });
}

void op_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* info) {
  answer(request, "create", parent, [&](FileSystem& file_system) {
    const mpool::OpenIntent intent = to_intent(info->flags);
    const Ownership made =
        ownership_in(file_system.names.attributes(parent), *fuse_req_ctx(request), mode);
    auto created = create_or_open(request, file_system, parent, name, made, *info);
    if (!created) return RequestContext::current().defer_to_worker(request);
    OpenedFile file(std::move(created->file));
    file_system.notifier->entries_changed(parent);
    mpool::InodeNumber referred_to = created->attributes.inode;
    file_system.names.ref({&referred_to, 1});  // the open file keeps it until here
    const fuse_entry_param entry = to_entry(created->attributes, file_system.presentation);
    NativeEntry native = enter(file_system, *file, intent);
    reply_open_file(request, file, created->privileges, intent, native, *info,
                    [&] { return fuse_reply_create(request, &entry, info); });
  });
}

void op_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
             fuse_file_info* info) {
  answer(request, "read", inode, [&](FileSystem& file_system) {
    RequestContext& context = RequestContext::current();
    // Every READ is first handled on a thread that must not block: count it there.
    if (!context.can_block()) file_system.readers.note_request();
    mpool::OpenFile& file = handle_of(*info).file();
    const std::uint64_t from = checked_offset(offset);
    const mpool::ByteSpan payload = context.payload();
    if (size > payload.size()) mpool::raise(EINVAL, "read", "{} bytes at a time", size);
    std::size_t length = 0;
    if (context.can_block()) {
      length = file.read(from, payload.first(size));
    } else {
      if ((info->flags & O_DIRECT) != 0 &&
          context.data_job().read_ahead(request, file, from, size)) {
        return;
      }
      mpool::ReadPlan plan;
      if (!file.plan_read(from, size, payload, plan)) return context.defer_to_worker(request);
      if (plan.count > 0) return context.data_job().start_read(request, plan);
      length = plan.length;
    }
    fuse_reply_buf(request, reinterpret_cast<const char*>(payload.data()), length);
  });
}

void op_write(fuse_req_t request, fuse_ino_t inode, const char* data, size_t size, off_t offset,
              fuse_file_info* info) {
  answer(request, "write", inode, [&](FileSystem& file_system) {
    RequestContext& context = RequestContext::current();
    KernelHandle& handle = handle_of(*info);
    mpool::OpenFile& file = handle.file();
    const std::uint64_t from = checked_offset(offset);
    const mpool::ConstByteSpan payload = mpool::as_bytes(data, size);
    // The kernel leaves the sync to the daemon for O_DSYNC descriptors and writes.
    const bool sync = (info->flags & O_DSYNC) != 0;
    const bool drops = handle.may_have_privileges() && fuse_req_ctx(request)->uid != 0;
    if (drops && context.can_block()) drop_privileges(request, file_system, handle);
    if (!context.can_block()) {
      if (sync || drops) return context.defer_to_worker(request);
      mpool::StartedWrite write = file.start_write(from, payload, handle.append());
      if (write.kind == mpool::StartedWrite::Kind::must_wait)
        return context.defer_to_worker(request);
      if (write.kind == mpool::StartedWrite::Kind::transfer &&
          !context.write_behind().take(write, writes_behind(file_system))) {
        return context.data_job().start_write(request, std::move(write), size);
      }
      fuse_reply_write(request, size);
      return;
    }
    if (!sync && !handle.append() && !context.retried() && file.kind() != mpool::FileKind::log) {
      file.reserve(from, size);
      return context.retry(request);
    }
    file.write(from, payload, handle.append());
    if (sync) file.fsync();
    fuse_reply_write(request, size);
  });
}

void op_flush(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  answer(request, "flush", inode, [&](FileSystem&) {
    RequestContext& context = RequestContext::current();
    if (!handle_of(*info).file().flush(context.blocking())) {
      return context.defer_to_worker(request);
    }
    fuse_reply_err(request, 0);
  });
}

void op_release(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  answer(request, "release", inode, [&](FileSystem& file_system) {
    RequestContext& context = RequestContext::current();
    if (!file_system.handles.close(handle_of(*info), context.blocking())) {
      return context.defer_to_worker(request);
    }
    file_system.native.leave(inode);
    fuse_reply_err(request, 0);
  });
}

void op_fsync(fuse_req_t request, fuse_ino_t inode, int, fuse_file_info* info) {
  answer(request, "fsync", inode, [&](FileSystem&) {
    handle_of(*info).file().fsync();
    fuse_reply_err(request, 0);
  });
}

// Allocates space. If mode 0 were refused with EOPNOTSUPP, posix_fallocate(3) would write zeros
// over the whole file; so it is accepted, except for logs.
void op_fallocate(fuse_req_t request, fuse_ino_t inode, int mode, off_t offset, off_t length,
                  fuse_file_info* info) {
  answer(request, "fallocate", inode, [&](FileSystem&) {
    if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0) {
      mpool::raise(EOPNOTSUPP, "fallocate", "mode {:#x}: space can only be set aside", mode);
    }
    if (length > std::numeric_limits<off_t>::max() - offset) {
      mpool::raise(EFBIG, "fallocate", "offset {} and length {}", offset, length);
    }
    const auto change = mode == 0 ? mpool::LengthChange::extend : mpool::LengthChange::keep;
    handle_of(*info).file().allocate(checked_offset(offset), checked_offset(length), change);
    fuse_reply_err(request, 0);
  });
}

}  // namespace mpoolfs
