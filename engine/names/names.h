// The named tree of a pool, kept in its root MDC (engine/names/README.md; the records:
// engine/names/records.md).
#pragma once

#include <array>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/object/content_writer.h"
#include "engine/pool/pool.h"

namespace mpool {

// Never reused, stable over mounts. 1 is the root directory.
using InodeNumber = std::uint64_t;
inline constexpr InodeNumber kRootInode = 1;
inline constexpr std::size_t kMaxNameLength = 255;       // bytes
inline constexpr std::size_t kMaxSymlinkLength = 4095;   // bytes
inline constexpr std::size_t kMaxXattrSize = 64u << 10;  // bytes: one value
// Bytes: the names and values of all extended attributes of an inode.
inline constexpr std::size_t kMaxXattrTotal = kMaxXattrSize + kMaxNameLength;

enum class FileKind : std::uint8_t {
  directory = 1,
  symlink = 2,
  empty =
      3,  // a regular file without content: the next opening for writing decides what it becomes
  write_once = 4,  // stored in mblocks
  log = 5,         // append-only: a chain of mlogs
  // Special files: nothing but a name and attributes, all else is the kernel's.
  fifo = 6,
  socket = 7,
  character_device = 8,
  block_device = 9,
};
constexpr bool is_regular(FileKind kind) {
  return kind >= FileKind::empty && kind <= FileKind::log;
}
constexpr bool is_special(FileKind kind) {
  return kind >= FileKind::fifo && kind <= FileKind::block_device;
}

// The bits of a mode beside those of the file type: chmod(2).
inline constexpr std::uint32_t kPermissionBits = 07777;

struct Attributes {
  InodeNumber inode = 0;
  FileKind kind = FileKind::empty;
  std::uint32_t mode = 0;  // permission bits only
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t links = 0;
  std::uint64_t size = 0;    // bytes
  std::uint64_t blocks = 0;  // 512-byte units of the zones that the content takes
  std::uint64_t device = 0;  // of a device: its major number << 32 | its minor number
  std::timespec atime{}, mtime{}, ctime{};
  // The content can no longer change: the caller may cache pages and attributes until told
  // otherwise.
  bool committed = false;
  // A write-once file that is open for writing, or whose commit is under way.
  bool being_written = false;
};

// What set_attributes changes; absent fields stay. A change of size is not among them
// (OpenFile::truncate).
struct AttributeChange {
  std::optional<std::uint32_t> mode, uid, gid;
  std::optional<std::timespec> atime, mtime;
};

struct Owner {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

struct DirectoryEntry {
  std::uint64_t cookie = 0;  // where reading goes on after this entry
  std::string_view name;     // valid during the call
  InodeNumber inode = 0;
  FileKind kind = FileKind::empty;
};

struct OpenIntent {
  bool read = false;
  bool write = false;
  bool append = false;    // O_APPEND
  bool truncate = false;  // O_TRUNC
};

struct SpaceFacts {
  std::uint64_t block_size = 0;  // bytes: the zone size of the class
  std::uint64_t blocks = 0, free = 0, available = 0;
  std::uint64_t files = 0;            // inodes
  std::uint64_t available_files = 0;  // more that users can make and give content
};

// How full the root MDC is. In bytes.
struct MetadataFacts {
  std::uint64_t capacity = 0;
  std::uint64_t used = 0;               // in its active log, garbage included
  std::uint64_t live = 0;               // of it what the tree needs, about
  std::uint64_t possible_capacity = 0;  // what it could grow to with the free space there is
};

// Whether a range that space is set aside for becomes part of the file.
enum class LengthChange : std::uint8_t { keep, extend };

enum class RenameMode { replace, no_replace, exchange };

// Transfers that together give what OpenFile::read() would.
struct ReadPlan {
  static constexpr std::size_t kMaxTransfers = 8;
  // Of whole pages, all multiples of kPageSize.
  struct Transfer {
    Device* device;
    std::uint64_t offset;  // bytes on the device
    std::size_t at;        // bytes from the start of the memory
    std::size_t length;    // bytes
  };
  std::size_t length = 0;  // bytes: what read() would return
  std::size_t count = 0;   // 0: nothing to transfer
  std::array<Transfer, kMaxTransfers> transfers;
};

// Where the content of a committed write-once file lies.
struct FileLayout {
  struct Piece {
    std::uint64_t file_offset = 0;  // bytes
    std::uint64_t length = 0;       // bytes
    MediaClass media_class = MediaClass::capacity;
    std::uint64_t device_offset = 0;  // bytes on the device of the class
  };
  InodeNumber inode = 0;
  std::uint64_t size = 0;  // bytes
  std::vector<Piece>
      pieces;  // in order of file_offset, not overlapping; what they leave out is zeros
};

// An open file. Made by Namespace::open and create; must be closed once, before the Namespace ends.
//
// Threads: all functions but close() and close_now() may be called at the same time.
class OpenFile {
 public:
  virtual ~OpenFile() = default;

  virtual InodeNumber inode() const = 0;
  virtual FileKind kind() const = 0;
  // The content is committed: it can be cached and mapped.
  virtual bool cacheable() const = 0;

  // Reads at most into.size() bytes; fewer only at the end of the file. Of a write-once file that
  // is not committed: what was written so far, by any handle.
  virtual std::size_t read(std::uint64_t offset, ByteSpan into) = 0;
  // Plans the read of `length` bytes at `offset` without waiting and without I/O. `memory` is
  // aligned to kPageSize, and its size a multiple of kPageSize that is not less than `length`. The
  // transfers are for the caller to make, in any order; they fill [0, plan.length) of the memory,
  // but for gaps of the file, which are zeroed in this call already, and may touch the rest of the
  // page in which plan.length lies. False (plan and memory hold anything) where that is not
  // possible: the file is not a committed write-once file, pages of it do not fall on pages of the
  // memory, too many transfers, content that read() refuses; then call read(). Errors: EBADF, EIO
  // as read().
  // No lock is taken, but for the first plan of a file since it was opened by anybody.
  virtual bool plan_read(std::uint64_t offset, std::size_t length, ByteSpan memory,
                         ReadPlan& plan) = 0;
  // Write-once: EINVAL for bytes that are on the device already. Log: one record, at the end; with
  // `append` false EINVAL at any other offset. EBADF when opened for reading. Errors: ENOSPC, EIO,
  // EFBIG.
  virtual void write(std::uint64_t offset, ConstByteSpan data, bool append) = 0;
  // The same without waiting; see ContentWriter::start_write. Logs always must wait. A transfer is
  // ended with end_write(), once; its outcome (0 or an errno) the request has in common with the
  // file: later writes, fsync and close fail with it, too.
  virtual StartedWrite start_write(std::uint64_t offset, ConstByteSpan data, bool append) = 0;
  // Makes room for a write, waiting as write() would, so that start_write() of the same bytes need
  // not wait for it. Errors as write(). Logs need none.
  virtual void reserve(std::uint64_t offset, std::size_t length) = 0;
  // ftruncate. Write-once being written: to 0 discards, to more declares, to less removes the tail,
  // of which nothing can be written again that was on the device. Log: to 0 erases, otherwise
  // EPERM.
  virtual void truncate(std::uint64_t size) = 0;
  // fallocate: writes to the range do not fail for want of room until the last close. An fsync ends
  // that for the rest of the zones that were written to. ENOSPC with nothing changed; EOPNOTSUPP of
  // logs; EBADF when opened for reading.
  virtual void allocate(std::uint64_t offset, std::uint64_t length, LengthChange change) = 0;
  // Everything written so far, by any handle, is durable on return, the file's name included.
  virtual void fsync() = 0;
  // A descriptor was closed (there may be others): reports what went wrong so far.
  virtual void flush() = 0;
  // The same without waiting; false, and nothing done, where flush() might have to.
  virtual bool flush_now() = 0;
  // The last close. Commits when this is the last writing handle. Never throws: a commit that fails
  // is logged and the file vanishes.
  virtual void close() noexcept = 0;
  // The same without waiting; false, and nothing done, where that is not possible: something is to
  // be deleted, or committed, other than a new small file all of which can stay in memory.
  virtual bool close_now() noexcept = 0;
};

struct NamespaceOptions {
  bool read_only = false;  // nothing is written; changes fail with EROFS
  bool sync = false;       // every commit and every change of a directory is durable on return
  // Longest time for which a change that is not synced is only in memory, beside that of writing
  // it. sync(2) does not reach a mount of type fuse, so it is short; a busy mount makes 5 batches a
  // second, each of 2 to 4 flushes.
  std::chrono::milliseconds commit_interval{200};
  std::uint64_t log_mlog_size = 0;  // bytes of each mlog of a log; 0: one zone
  bool hold_deletes = false;        // as Namespace::hold_deletes(true), from the beginning
};

// References to one inode; see Namespace::ref().
struct InodeReferences {
  InodeNumber inode = 0;
  std::uint64_t count = 0;
};
// Whether a lookup takes a reference to what it finds.
enum class LookupReference : std::uint8_t { none, take };

// What lookup_now() found.
struct LookupAnswer {
  enum class Kind : std::uint8_t { found, absent, must_wait };
  Kind kind = Kind::must_wait;
  Attributes attributes{};  // must_wait: all but the size

  explicit operator bool() const { return kind == Kind::found; }
  const Attributes& operator*() const { return attributes; }
};

// What was accepted and is not on the media.
struct Losses {
  bool device_failed = false;  // for writing
  std::uint64_t changes = 0;   // of the tree
  std::uint64_t files = 0;     // whose content could not be committed
  std::uint64_t logs = 0;      // that have appended records in memory only

  bool any() const { return device_failed || changes + files + logs > 0; }
};

// The tree and its files.
//
// Threads: all functions may be called at the same time. Calls that change something may wait for
// the device; those named ..._now never do, and lookup() and attributes() only where
// they know no answer, the size of a log. Order:
// changes reach the device in the order they were made; after a crash a prefix of them is there.
// Errors: Error with the errno of the POSIX call that corresponds; EIO for every change after
// metadata could not be written.
class Namespace {
 public:
  // Reads the tree from the pool's root MDC (an empty one is taken into possession) and finishes
  // what a crash interrupted. The pool must outlive it. ENOTSUP for records of a later version,
  // ENOTRECOVERABLE for damaged ones.
  static std::unique_ptr<Namespace> mount(Pool& pool, const NamespaceOptions& options);
  // Makes everything durable. All files must be closed.
  virtual ~Namespace() = default;

  // The root MDC belongs to another client: the tree is empty and read-only.
  virtual bool foreign() const = 0;

  virtual Attributes lookup(InodeNumber parent, std::string_view name,
                            LookupReference reference = LookupReference::none) = 0;
  virtual Attributes attributes(InodeNumber inode) = 0;
  // The same, never waiting for the device nor for a thread that does. must_wait, nullopt: only
  // lookup() and attributes() can tell (a log that is not open, or just being opened or emptied).
  // absent stands for ENOENT of the name; other errors are thrown as by lookup(). A reference is
  // taken to what is found unless it is being written: ref() is for that.
  virtual LookupAnswer lookup_now(InodeNumber parent, std::string_view name,
                                  LookupReference reference = LookupReference::none) = 0;
  virtual std::optional<Attributes> attributes_now(InodeNumber inode) = 0;
  virtual Attributes set_attributes(InodeNumber inode, const AttributeChange& change) = 0;

  // An inode lives as long as it has a name, an open file or a reference. A reference does not
  // survive the Namespace, and it keeps no content that was never committed, nor content whose
  // space is needed when the pool is full: the inode is gone then, and calls fail with ESTALE.
  // Takes a reference to each inode; those that do not exist become 0. Never waits for the device.
  virtual void ref(std::span<InodeNumber> inodes) = 0;
  // Drops references; inodes that do not exist are skipped.
  virtual void unref(std::span<const InodeReferences> references) = 0;
  // The same without waiting; false, and nothing dropped, where that is not possible.
  virtual bool unref_now(std::span<const InodeReferences> references) = 0;

  virtual Attributes make_directory(InodeNumber parent, std::string_view name, std::uint32_t mode,
                                    Owner owner) = 0;
  virtual Attributes make_symlink(InodeNumber parent, std::string_view name,
                                  std::string_view target, Owner owner) = 0;
  virtual std::string read_symlink(InodeNumber inode) = 0;
  // A new regular file, open. EEXIST when the name exists.
  virtual std::pair<Attributes, std::unique_ptr<OpenFile>> create(InodeNumber parent,
                                                                  std::string_view name,
                                                                  std::uint32_t mode, Owner owner,
                                                                  const OpenIntent& intent) = 0;
  // The same without waiting; nullopt, and nothing done, where that is not possible: the change has
  // to be durable on return, or the journal is at work on the tree or has no room.
  virtual std::optional<std::pair<Attributes, std::unique_ptr<OpenFile>>> create_now(
      InodeNumber parent, std::string_view name, std::uint32_t mode, Owner owner,
      const OpenIntent& intent) = 0;
  // A new regular file without content.
  virtual Attributes make_file(InodeNumber parent, std::string_view name, std::uint32_t mode,
                               Owner owner) = 0;
  // A new special file. device: as Attributes::device, 0 for what is no device.
  virtual Attributes make_special(InodeNumber parent, std::string_view name, FileKind kind,
                                  std::uint32_t mode, Owner owner, std::uint64_t device) = 0;
  virtual Attributes link(InodeNumber inode, InodeNumber parent, std::string_view name) = 0;
  virtual void unlink(InodeNumber parent, std::string_view name) = 0;
  virtual void remove_directory(InodeNumber parent, std::string_view name) = 0;
  // The same without waiting; false, and nothing done, where that is not possible: the change has
  // to be durable on return, the journal is at work on the tree or has no room, the name is that of
  // a log, of a file that is being written, or of one with very many objects. Errors as the others.
  virtual bool unlink_now(InodeNumber parent, std::string_view name) = 0;
  virtual bool remove_directory_now(InodeNumber parent, std::string_view name) = 0;
  virtual void rename(InodeNumber parent, std::string_view name, InodeNumber new_parent,
                      std::string_view new_name, RenameMode mode) = 0;

  // Calls `take` for the entries after `cookie` (0: from the start), "." and ".." not among them,
  // in a stable order, until it returns false. `take` runs under the tree's lock: it must not call
  // back.
  virtual void read_directory(InodeNumber directory, std::uint64_t cookie,
                              const std::function<bool(const DirectoryEntry&)>& take) = 0;
  virtual InodeNumber parent_of(InodeNumber directory) = 0;

  // EACCES for opening a committed file for writing; waits for a commit under way. EINVAL for a
  // special file.
  virtual std::unique_ptr<OpenFile> open(InodeNumber inode, const OpenIntent& intent) = 0;
  // The same without waiting, for reading; null where only open() can tell: the inode is no
  // write-once file, or not committed yet. Errors as open().
  virtual std::unique_ptr<OpenFile> open_now(InodeNumber inode) = 0;
  // truncate(2) of a file not opened: as OpenFile::truncate.
  virtual Attributes truncate(InodeNumber inode, std::uint64_t size) = 0;

  // Extended attributes: user.* (ENOTSUP otherwise). user.mpool.class (capacity|staging) and
  // user.mpool.create (rules) of a directory are its policy, inherited by what is created in it;
  // user.mpool.type, .objects, .class (of files) and .committed are facts, read-only (EPERM).
  virtual std::string get_xattr(InodeNumber inode, std::string_view name) = 0;  // ENODATA
  virtual std::vector<std::string> list_xattrs(InodeNumber inode) = 0;
  // flags: 0, XATTR_CREATE (EEXIST) or XATTR_REPLACE (ENODATA). ENOSPC when the inode would have
  // more than kMaxXattrTotal.
  virtual void set_xattr(InodeNumber inode, std::string_view name, std::string_view value,
                         int flags) = 0;
  virtual void remove_xattr(InodeNumber inode, std::string_view name) = 0;

  // Of the class that a file created in `directory` goes to.
  virtual SpaceFacts space(InodeNumber inode) = 0;
  virtual MetadataFacts metadata() const = 0;

  // Of a committed write-once file whose bytes are on the device; nullopt for every other inode,
  // for one that does not exist, and where an object or the device of its class is missing. It
  // stays true while the file is open.
  virtual std::optional<FileLayout> layout(InodeNumber inode) = 0;
  // The committed write-once files, in no order.
  virtual std::vector<InodeNumber> committed_files() = 0;
  // While deletes are held, what lost its last name keeps its objects: somebody may still read
  // their zones. When the hold ends they are deleted; when the Namespace ends, or after a crash,
  // the next mount does that.
  virtual void hold_deletes(bool hold) = 0;

  // Everything done so far is durable on return.
  virtual void sync() = 0;
  // After sync() threw: what did not become durable. Before it: what is not durable yet is among
  // it.
  virtual Losses losses() const = 0;

  // Called (on a thread of the engine, without locks) when a name went away by itself, because the
  // commit of its file failed.
  using Vanished =
      std::function<void(InodeNumber parent, const std::string& name, InodeNumber inode)>;
  virtual void on_vanished(Vanished callback) = 0;
  // Called the same way when the content of a file became committed: cached attributes are stale.
  using Committed = std::function<void(InodeNumber inode)>;
  virtual void on_committed(Committed callback) = 0;
  // Called the same way when the content of committed files is on the media with their records: not
  // even a crash undoes them any more.
  using Durable = std::function<void(std::span<const InodeNumber> inodes)>;
  virtual void on_durable(Durable callback) = 0;
  // Called when a file with content lost its last name, open file and reference. The tree's lock is
  // held: the callback must neither wait nor call back.
  using Removed = std::function<void(InodeNumber inode)>;
  virtual void on_removed(Removed callback) = 0;
  // Called, on the thread that asks for space and without locks, when there is none left: to close
  // files whose objects are deleted then. The call after which another takes its place may still
  // come.
  virtual void on_no_room(std::function<void()> callback) = 0;
};

}  // namespace mpool
