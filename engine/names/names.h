// The named tree of a pool, kept in its root MDC (engine/names/README.md; the records:
// engine/names/records.md).
#pragma once

#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/blocking.h"
#include "engine/base/bytes.h"
#include "engine/base/uuid.h"
#include "engine/file/file_io.h"
#include "engine/pool/pool.h"
#include "engine/refs/file_holders.h"
#include "engine/refs/references.h"

namespace mpool {

// Never reused, stable over mounts. 1 is the root directory.
using InodeNumber = std::uint64_t;
inline constexpr InodeNumber kRootInode = 1;
// The user type of pools that hold a named tree, set at their first mount: their root MDC is not
// free for other programs.
inline constexpr Uuid kTreeUserType{
    {std::byte{0x6d}, std::byte{0x70}, std::byte{0x6f}, std::byte{0x6f}, std::byte{0x6c},
     std::byte{0x66}, std::byte{0x43}, std::byte{0x73}, std::byte{0x9b}, std::byte{0x1e},
     std::byte{0x52}, std::byte{0xc7}, std::byte{0xd0}, std::byte{0xa4}, std::byte{0xe6},
     std::byte{0x83}}};
inline constexpr std::size_t kMaxNameLength = 255;       // bytes
inline constexpr std::size_t kMaxSymlinkLength = 4095;   // bytes
inline constexpr std::size_t kMaxXattrSize = 64u << 10;  // bytes: one value
// Bytes: the names and values of all extended attributes of an inode.
inline constexpr std::size_t kMaxXattrTotal = kMaxXattrSize + kMaxNameLength;

enum class FileKind : std::uint8_t {
  directory = 1,
  symlink = 2,
  empty = 3,       // a regular file without content: the next open for writing decides its kind
  write_once = 4,  // stored in mblocks
  log = 5,         // append-only: a chain of mlogs
  // Special files: only a name and attributes; the kernel implements the rest.
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

// The bits of a mode except the file type: chmod(2).
inline constexpr std::uint32_t kPermissionBits = 07777;

struct Attributes {
  InodeNumber inode = 0;
  FileKind kind = FileKind::empty;
  std::uint32_t mode = 0;  // permission bits only
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t links = 0;
  std::uint64_t size = 0;    // bytes
  std::uint64_t blocks = 0;  // 512-byte units of the zones of the content
  std::uint64_t device = 0;  // of a device: its major number << 32 | its minor number
  std::timespec atime{}, mtime{}, ctime{};
  // The content can no longer change: the caller may cache pages and attributes until it is
  // notified.
  bool committed = false;
  // A write-once file that is open for writing, or with a commit in progress.
  bool being_written = false;
};

// The changes of set_attributes; absent fields stay. It cannot change the size
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
  std::uint64_t cookie = 0;  // cookie to continue after this entry
  std::string_view name;     // valid during the call
  InodeNumber inode = 0;
  FileKind kind = FileKind::empty;
};

struct OpenIntent {
  bool read = false;
  bool write = false;
  bool append = false;    // O_APPEND
  bool truncate = false;  // O_TRUNC
  bool direct = false;    // O_DIRECT: Buffering::device
  FileHolder holder = FileHolder::open_file;
};

struct SpaceStats {
  std::uint64_t block_size = 0;  // bytes: the zone size of the class
  std::uint64_t blocks = 0, free = 0, available = 0;
  std::uint64_t files = 0;            // inodes
  std::uint64_t available_files = 0;  // further inodes that users can create and give content
};

// Usage of the root MDC. In bytes.
struct MetadataStats {
  std::uint64_t capacity = 0;
  std::uint64_t used = 0;               // in its active log, garbage included
  std::uint64_t live = 0;               // of it, approximate bytes that the tree needs
  std::uint64_t possible_capacity = 0;  // limit of growth with the present free space
};

// Whether an allocated range becomes part of the file.
enum class LengthChange : std::uint8_t { keep, extend };

enum class RenameMode { replace, no_replace, exchange };

// The location of the content of a committed write-once file.
struct FileLayout {
  struct Piece {
    std::uint64_t file_offset = 0;  // bytes
    std::uint64_t length = 0;       // bytes
    MediaClass media_class = MediaClass::capacity;
    std::uint64_t device_offset = 0;  // bytes on the device of the class
  };
  InodeNumber inode = 0;
  std::uint64_t size = 0;     // bytes
  std::vector<Piece> pieces;  // in order of file_offset, not overlapping; gaps are zeros
};

// An open file. Made by Namespace::open and create; must be closed once, before the Namespace ends.
//
// Threads: all functions except close() may be called at the same time.
class OpenFile {
 public:
  virtual ~OpenFile() = default;

  virtual InodeNumber inode() const = 0;
  virtual FileKind kind() const = 0;
  // The content is committed: it can be cached and mapped.
  virtual bool cacheable() const = 0;

  // Reads at most into.size() bytes; fewer only at the end of the file. Of a write-once file that
  // is not committed: the content written so far, by any handle. Errors: EBADF, EIO.
  virtual std::size_t read(std::uint64_t offset, ByteSpan into) = 0;
  // The same of `length` bytes, without blocking on the device: `operation` is finished on the ring
  // of `io`, on whose thread the call is made. `memory` is aligned to kPageSize; its size is a
  // multiple of kPageSize and not less than `length`. It is used until the end and may be touched
  // up to the end of the page in which the data ends. Blocking::forbidden: would_block for files
  // other than committed write-once files, and where the content does not lie in whole pages of the
  // device. Blocking::allowed: these are read before the call returns.
  virtual ReadResult read(FileIo& io, std::uint64_t offset, std::size_t length, ByteSpan memory,
                          FileRead& operation, Blocking blocking) = 0;
  // Write-once: EINVAL for bytes that are on the device already. Log: one record, at the end; with
  // `append` false EINVAL at any other offset. EBADF when opened for reading. Errors: ENOSPC, EIO,
  // EFBIG.
  virtual void write(std::uint64_t offset, ConstByteSpan data, bool append) = 0;
  // The same without blocking on the device: `operation` is finished on the ring of `io`, on whose
  // thread the call is made; `data` is used until then. done: the data is taken, and may be on the
  // device later; a failure then is returned by later writes, fsync and close. Blocking::forbidden:
  // would_block for logs, and where zones must be allocated or memory is short.
  // Blocking::allowed: these are written before the call returns.
  virtual IoState write(FileIo& io, std::uint64_t offset, ConstByteSpan data, bool append,
                        FileWrite& operation, Blocking blocking) = 0;
  // ftruncate. Write-once file being written: size 0 discards, a greater size declares, a smaller
  // size removes the tail; bytes of the tail that were on the device cannot be written again. Log:
  // size 0 erases, otherwise EPERM.
  virtual void truncate(std::uint64_t size) = 0;
  // fallocate: until the last close, writes to the range do not fail for lack of room. An fsync
  // ends this guarantee for the rest of the zones that were written to. ENOSPC with nothing
  // changed; EOPNOTSUPP for logs; EBADF when opened for reading.
  virtual void allocate(std::uint64_t offset, std::uint64_t length, LengthChange change) = 0;
  // Everything written so far by any handle, and the name of the file, is durable on return.
  virtual void fsync() = 0;
  // A descriptor was closed (others may exist): returns the errors so far. If close() follows, with
  // no write between, the commit comes here in the order of changes.
  // False: it would block.
  virtual bool flush(Blocking blocking) = 0;
  void flush() { flush(Blocking::allowed); }
  // The last close. Commits when this is the last writing handle. Never throws: a failed commit is
  // logged and the file is removed. False: it would block, which is so unless a new small file
  // stays in memory completely, or there is nothing to commit or delete. Then close() must follow,
  // which may block: batches of changes and calls about this file wait for it.
  virtual bool close(Blocking blocking) noexcept = 0;
  void close() noexcept { close(Blocking::allowed); }
};

struct NamespaceOptions {
  bool read_only = false;  // no writes; changes fail with EROFS
  bool sync = false;       // every commit and every change of a directory is durable on return
  // Longest time for which an unsynced change is only in memory, plus the time to write it. sync(2)
  // does not reach a mount of type fuse, so the time is short. A busy mount makes 5 batches a
  // second, each of 2 to 4 flushes.
  std::chrono::milliseconds commit_interval{200};
  std::uint64_t log_mlog_size = 0;  // bytes of each mlog of a log; 0: one zone
  bool hold_deletes = false;        // as Namespace::hold_deletes(true), from the beginning
  std::function<bool()> reads_active = nullptr;  // of all groups made: FileIoGroup::on_reads_active
};

// References to one inode; see Namespace::ref().
struct InodeReferences {
  InodeNumber inode = 0;
  std::uint64_t count = 0;
};
// Whether a lookup takes a reference to the inode it finds.
enum class LookupReference : std::uint8_t { none, take };

struct LookupAnswer {
  enum class Kind : std::uint8_t { found, absent, would_block };
  Kind kind = Kind::would_block;
  Attributes attributes{};  // would_block: all except the size

  explicit operator bool() const { return kind == Kind::found; }
  const Attributes& operator*() const { return attributes; }
};

// Accepted changes that are not on the media.
struct Losses {
  bool device_failed = false;  // for writing
  std::uint64_t changes = 0;   // of the tree
  std::uint64_t files = 0;     // whose content could not be committed
  std::uint64_t logs = 0;      // with appended records in memory only

  bool any() const { return device_failed || changes + files + logs > 0; }
};

// The tree and its files.
//
// Threads: all functions may be called at the same time. Calls without a parameter of type Blocking
// may block if they change the tree or a file.
// Order: changes reach the device in the order they were made; after a crash a prefix of them is
// present. The commit of a file counts as made at the last OpenFile::flush() before its close.
// Errors: Error with the errno of the corresponding POSIX call; EIO for every change after metadata
// could not be written.
class Namespace {
 public:
  // Reads the tree from the pool's root MDC and finishes operations that a crash interrupted. An
  // empty one becomes ours, and the pool of kTreeUserType, unless it has the user type of another
  // program. The pool must outlive the Namespace. ENOTSUP for records of a later
  // version, ENOTRECOVERABLE for damaged ones.
  static std::unique_ptr<Namespace> mount(Pool& pool, const NamespaceOptions& options);
  // Makes everything durable. All files must be closed.
  virtual ~Namespace() = default;

  // The root MDC belongs to another client: the tree is empty and read-only.
  virtual bool foreign() const = 0;
  // False if the object exists since before the mount and is certainly not the tree's: no record
  // ever named it. All objects of a foreign pool are such.
  virtual bool owns(ObjectId object) const = 0;
  // Keeps an object for reading it by its id, also when its file is removed. The hold must end
  // before the Namespace. ENOENT: there is no such committed object, or it is being deleted.
  virtual std::unique_ptr<References::Hold> hold_object(ObjectId object) = 0;

  // Both would block for the size of a log that is not open, or is being opened or emptied, and for
  // a commit in progress. absent stands for ENOENT of the name. nullopt: it would block.
  virtual LookupAnswer lookup(InodeNumber parent, std::string_view name, LookupReference reference,
                              Blocking blocking) = 0;
  virtual std::optional<Attributes> attributes(InodeNumber inode, Blocking blocking) = 0;
  // ENOENT when the name does not exist.
  Attributes lookup(InodeNumber parent, std::string_view name,
                    LookupReference reference = LookupReference::none);
  Attributes attributes(InodeNumber inode) { return *attributes(inode, Blocking::allowed); }
  virtual Attributes set_attributes(InodeNumber inode, const AttributeChange& change) = 0;

  // An inode lives as long as it has a name, an open file or a reference. A reference does not
  // survive the Namespace. It preserves neither content that was never committed nor content whose
  // space is needed when the pool is full: the inode is then removed, and calls fail with ESTALE.
  // Takes a reference to each inode; inodes that do not exist are set to 0. Never blocks on the
  // device.
  virtual void ref(std::span<InodeNumber> inodes) = 0;
  // Drops references; inodes that do not exist are skipped. False: it would block.
  virtual bool unref(std::span<const InodeReferences> references, Blocking blocking) = 0;
  void unref(std::span<const InodeReferences> references) { unref(references, Blocking::allowed); }

  virtual Attributes make_directory(InodeNumber parent, std::string_view name, std::uint32_t mode,
                                    Owner owner) = 0;
  virtual Attributes make_symlink(InodeNumber parent, std::string_view name,
                                  std::string_view target, Owner owner) = 0;
  virtual std::string read_symlink(InodeNumber inode) = 0;
  // A new regular file, open. EEXIST when the name exists. nullopt: it would block, because the
  // change must be durable on return, or the journal is at work on the tree or has no room.
  using Created = std::pair<Attributes, std::unique_ptr<OpenFile>>;
  virtual std::optional<Created> create(InodeNumber parent, std::string_view name,
                                        std::uint32_t mode, Owner owner, const OpenIntent& intent,
                                        Blocking blocking) = 0;
  Created create(InodeNumber parent, std::string_view name, std::uint32_t mode, Owner owner,
                 const OpenIntent& intent) {
    return *create(parent, name, mode, owner, intent, Blocking::allowed);
  }
  // A new regular file without content.
  virtual Attributes make_file(InodeNumber parent, std::string_view name, std::uint32_t mode,
                               Owner owner) = 0;
  // A new special file. device: as Attributes::device, 0 for a file that is no device.
  virtual Attributes make_special(InodeNumber parent, std::string_view name, FileKind kind,
                                  std::uint32_t mode, Owner owner, std::uint64_t device) = 0;
  virtual Attributes link(InodeNumber inode, InodeNumber parent, std::string_view name) = 0;
  // False: it would block, as create(), or because the name is that of a log, of a file that is
  // being written, or of a file with very many objects.
  virtual bool unlink(InodeNumber parent, std::string_view name, Blocking blocking) = 0;
  virtual bool remove_directory(InodeNumber parent, std::string_view name, Blocking blocking) = 0;
  void unlink(InodeNumber parent, std::string_view name) {
    unlink(parent, name, Blocking::allowed);
  }
  void remove_directory(InodeNumber parent, std::string_view name) {
    remove_directory(parent, name, Blocking::allowed);
  }
  virtual void rename(InodeNumber parent, std::string_view name, InodeNumber new_parent,
                      std::string_view new_name, RenameMode mode) = 0;

  // Calls `take` for the entries after `cookie` (0: from the start), without "." and "..", in a
  // stable order, until it returns false. `take` runs under the tree's lock: it must not call back.
  virtual void read_directory(InodeNumber directory, std::uint64_t cookie,
                              const std::function<bool(const DirectoryEntry&)>& take) = 0;
  virtual InodeNumber parent_of(InodeNumber directory) = 0;

  // EACCES for opening a committed file for writing; EINVAL for a special file. Null: it would
  // block, which is so except for reading a committed write-once file.
  virtual std::unique_ptr<OpenFile> open(InodeNumber inode, const OpenIntent& intent,
                                         Blocking blocking) = 0;
  std::unique_ptr<OpenFile> open(InodeNumber inode, const OpenIntent& intent) {
    return open(inode, intent, Blocking::allowed);
  }
  // truncate(2) of a file that is not open: as OpenFile::truncate.
  virtual Attributes truncate(InodeNumber inode, std::uint64_t size) = 0;

  // Extended attributes: user.* (ENOTSUP otherwise). user.mpool.class (capacity|staging) and
  // user.mpool.create (rules) of a directory are its policy, inherited by what is created in it;
  // user.mpool.type, .objects, .class (of files) and .committed are facts, read-only (EPERM).
  virtual std::string get_xattr(InodeNumber inode, std::string_view name) = 0;  // ENODATA
  virtual std::vector<std::string> list_xattrs(InodeNumber inode) = 0;
  // flags: 0, XATTR_CREATE (EEXIST) or XATTR_REPLACE (ENODATA). ENOSPC when the inode would exceed
  // kMaxXattrTotal.
  virtual void set_xattr(InodeNumber inode, std::string_view name, std::string_view value,
                         int flags) = 0;
  virtual void remove_xattr(InodeNumber inode, std::string_view name) = 0;

  // Of the class that a file created in `directory` goes to.
  virtual SpaceStats space(InodeNumber inode) = 0;
  virtual MetadataStats metadata() const = 0;

  // The layout of a committed write-once file whose bytes are on the device. nullopt for every
  // other inode, for one that does not exist, and where an object or the device of its class is
  // missing. Valid while the file is open.
  virtual std::optional<FileLayout> layout(InodeNumber inode) = 0;
  // The committed write-once files, in no order.
  virtual std::vector<InodeNumber> committed_files() = 0;
  // While deletes are held, a file that lost its last name keeps its objects: the kernel may still
  // read their zones. The end of the hold deletes them; when the Namespace ends, or after a crash,
  // the next mount does.
  virtual void hold_deletes(bool hold) = 0;

  // What keeps inodes and objects (engine/refs/README.md), as a text table; then the inodes
  // without a name. Reads all inodes.
  virtual std::string references() const = 0;

  // Everything done so far is durable on return.
  virtual void sync() = 0;
  // After sync() threw: the changes that did not become durable. Before: includes changes that are
  // not durable yet.
  virtual Losses losses() const = 0;

  // Called (on a thread of the engine, without locks) when a name was removed because the commit of
  // its file failed.
  using CreateFailed =
      std::function<void(InodeNumber parent, const std::string& name, InodeNumber inode)>;
  virtual void on_create_failed(CreateFailed callback) = 0;
  // Called in the same way when the content of a file became committed: cached attributes are
  // stale.
  using Committed = std::function<void(InodeNumber inode)>;
  virtual void on_committed(Committed callback) = 0;
  // Called in the same way when the content and the records of committed files are durable: a crash
  // no longer undoes them.
  using Durable = std::function<void(std::span<const InodeNumber> inodes)>;
  virtual void on_durable(Durable callback) = 0;
  // Called when a file with content lost its last name, open file and reference. The tree's lock is
  // held: the callback must neither block nor call back.
  using Removed = std::function<void(InodeNumber inode)>;
  virtual void on_removed(Removed callback) = 0;
  // Called without locks, on the thread that needs space, when no space is left: the callee closes
  // files whose objects can then be deleted. When the callback is replaced, one more call of the
  // old one may follow.
  virtual void on_no_room(std::function<void()> callback) = 0;
  // Called without locks, on a thread that may block, when a file has no writer any more unless a
  // close() is on its way (OpenFile::flush). The callee returns when every call that was requested
  // from it before has been made: also the close() of files whose last close(2) has returned.
  // When the callback has been replaced, the old one is not called and no call is in progress.
  virtual void on_catch_up(std::function<void()> callback) = 0;

  // What a number of rings share for the reads and writes of files. It must not outlive the pool.
  virtual std::unique_ptr<FileIoGroup> make_io_group(std::size_t rings) = 0;
};

}  // namespace mpool
