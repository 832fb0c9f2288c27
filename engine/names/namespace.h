// The named tree of a pool, kept in its root MDC (engine/names/README.md; the records:
// engine/tree/records.md).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/blocking.h"
#include "engine/cache/advice.h"
#include "engine/cache/collection.h"
#include "engine/file/events.h"
#include "engine/file/file_io.h"
#include "engine/file/layout.h"
#include "engine/file/open_file.h"
#include "engine/pool/pool.h"
#include "engine/refs/references.h"
#include "engine/tree/attributes.h"
#include "engine/tree/options.h"
#include "engine/tree/space_stats.h"

namespace mpool {

struct DirectoryEntry {
  std::uint64_t cookie = 0;  // cookie to continue after this entry
  std::string_view name;     // valid during the call
  InodeNumber inode = 0;
  FileKind kind = FileKind::empty;
};

enum class RenameMode { replace, no_replace, exchange };

// What a rename leaves at the old name: nothing, or a whiteout (a character device 0:0 without
// permissions, as overlayfs takes it for a removed name) of this owner.
using Whiteout = std::optional<Owner>;

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
  // program. The pool must outlive the Namespace. ENOTSUP for records of a later version,
  // ENOTRECOVERABLE for damaged ones.
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
  // Committed mblocks as one range of bytes, which must end before the Namespace; delete_unheld()
  // deletes what only it still held. Errors as Collection.
  virtual std::unique_ptr<Collection> make_collection(std::vector<ObjectId> members,
                                                      std::uint64_t max_size) = 0;
  // The mblocks of a committed file, in order, themselves committed. EINVAL for other inodes and
  // for files without mblocks, EAGAIN for a file that is not committed.
  virtual std::vector<ObjectId> mblocks_of(InodeNumber inode) = 0;
  // Deletes, in the background, the objects that waited for holds which have ended.
  virtual void delete_unheld() = 0;

  // Both would block for the size of a log that is not open, or is being opened or emptied, and for
  // a commit in progress. absent stands for ENOENT of the name. nullopt: it would block.
  virtual LookupAnswer lookup(InodeNumber parent, std::string_view name, LookupReference reference,
                              Blocking blocking) = 0;
  virtual std::optional<Attributes> attributes(InodeNumber inode, Blocking blocking) = 0;
  // ENOENT when the name does not exist.
  Attributes lookup(InodeNumber parent, std::string_view name,
                    LookupReference reference = LookupReference::none);
  Attributes attributes(InodeNumber inode) { return *attributes(inode, Blocking::allowed); }
  // nullopt: it would block, as create(), or because the inode is a log, or a file whose commit may
  // have begun.
  virtual std::optional<Attributes> set_attributes(InodeNumber inode, const AttributeChange& change,
                                                   Blocking blocking) = 0;
  Attributes set_attributes(InodeNumber inode, const AttributeChange& change) {
    return *set_attributes(inode, change, Blocking::allowed);
  }

  // An inode lives as long as it has a name, an open file or a reference. A reference does not
  // survive the Namespace. It preserves neither content that was never committed nor content whose
  // space is needed when the pool is full: the inode is then removed, and calls fail with ESTALE.
  // Takes a reference to each inode; inodes that do not exist are set to 0. Never blocks on the
  // device.
  virtual void ref(std::span<InodeNumber> inodes) = 0;
  // Drops references; inodes that do not exist are skipped. False: it would block.
  virtual bool unref(std::span<const InodeReferences> references, Blocking blocking) = 0;
  void unref(std::span<const InodeReferences> references) { unref(references, Blocking::allowed); }

  // nullopt: it would block, as create().
  virtual std::optional<Attributes> make_directory(InodeNumber parent, std::string_view name,
                                                   std::uint32_t mode, Owner owner,
                                                   Blocking blocking) = 0;
  Attributes make_directory(InodeNumber parent, std::string_view name, std::uint32_t mode,
                            Owner owner) {
    return *make_directory(parent, name, mode, owner, Blocking::allowed);
  }
  virtual Attributes make_symlink(InodeNumber parent, std::string_view name,
                                  std::string_view target, Owner owner) = 0;
  virtual std::string read_symlink(InodeNumber inode) = 0;
  // A new regular file, open. EEXIST when the name exists. nullopt: it would block, because the
  // change must be durable on return, or the journal is at work on the tree or has no room.
  virtual std::optional<CreatedFile> create(InodeNumber parent, std::string_view name,
                                            std::uint32_t mode, Owner owner,
                                            const OpenIntent& intent, Blocking blocking) = 0;
  CreatedFile create(InodeNumber parent, std::string_view name, std::uint32_t mode, Owner owner,
                     const OpenIntent& intent) {
    return *create(parent, name, mode, owner, intent, Blocking::allowed);
  }
  // A new write-once file without a name, open; link() may give it one until its last writing
  // handle is closed. It is in the class and has the advice of files of the directory.
  virtual CreatedFile create_unnamed(InodeNumber directory, std::uint32_t mode, Owner owner,
                                     const OpenIntent& intent) = 0;
  // A new regular file without content.
  virtual Attributes make_file(InodeNumber parent, std::string_view name, std::uint32_t mode,
                               Owner owner) = 0;
  // A new special file. device: as Attributes::device, 0 for a file that is no device.
  virtual Attributes make_special(InodeNumber parent, std::string_view name, FileKind kind,
                                  std::uint32_t mode, Owner owner, std::uint64_t device) = 0;
  // ENOENT: the file has no name, and was not created without one (create_unnamed()).
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
  // The whiteout of a rename, which is no exchange, comes with it: a crash leaves both or none.
  // False: it would block, as unlink(): for a file that is being written, and for a replaced file.
  virtual bool rename(InodeNumber parent, std::string_view name, InodeNumber new_parent,
                      std::string_view new_name, RenameMode mode, Whiteout whiteout,
                      Blocking blocking) = 0;
  void rename(InodeNumber parent, std::string_view name, InodeNumber new_parent,
              std::string_view new_name, RenameMode mode, Whiteout whiteout = std::nullopt) {
    rename(parent, name, new_parent, new_name, mode, whiteout, Blocking::allowed);
  }

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
  // user.mpool.advice of a file or directory says how long its pages stay; what is created in a
  // directory inherits it.
  // ENODATA. nullopt: it would block, which is so for user.mpool.* alone.
  virtual std::optional<std::string> get_xattr(InodeNumber inode, std::string_view name,
                                               Blocking blocking) = 0;
  std::string get_xattr(InodeNumber inode, std::string_view name) {
    return *get_xattr(inode, name, Blocking::allowed);
  }
  virtual std::vector<std::string> list_xattrs(InodeNumber inode) = 0;
  // flags: 0, XATTR_CREATE (EEXIST) or XATTR_REPLACE (ENODATA). ENOSPC when the inode would exceed
  // kMaxXattrTotal.
  virtual void set_xattr(InodeNumber inode, std::string_view name, std::string_view value,
                         int flags) = 0;
  virtual void remove_xattr(InodeNumber inode, std::string_view name) = 0;
  // user.mpool.advice; cold: it has none. Never blocks on the device.
  virtual Advice advice(InodeNumber inode) = 0;

  // Of the class that a file created in `directory` goes to.
  virtual SpaceStats space(InodeNumber inode) = 0;
  virtual MetadataStats metadata() const = 0;
  virtual PackStats packs() const = 0;
  // Does now what the background does with packs: moves content out of those that are mostly
  // garbage and deletes those without any. Errors are logged.
  virtual void repack() = 0;

  // The layout of a committed write-once file whose bytes are on the device. nullopt for every
  // other inode, for one that does not exist, and where an object or the device of its class is
  // missing. Valid while the file is open.
  virtual std::optional<FileLayout> layout(InodeNumber inode) = 0;
  // The committed write-once files with objects of their own, in no order.
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

  // The events that it reports; callbacks are set there.
  virtual Events& events() = 0;

  // What a number of rings share for the reads and writes of files. It must not outlive the pool.
  virtual std::unique_ptr<FileIoGroup> make_io_group(std::size_t rings) = 0;
};

}  // namespace mpool
