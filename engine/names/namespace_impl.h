// The implementation of Namespace: a facade over its parts, each the owner of its locks.
//
// Lock order: ActiveInode::persist_mutex or append_mutex, content_lock or log_lock, the journal's
// change barrier (shared), RecordedTree::mutex(), then leaves (Journal's own, FileCommitter's,
// LogFiles', DirtyLogs', Events' and CommitPlaceholder's). That of Events::catch_up is taken with
// the journal's barrier, or with no other lock. Nothing waits for the device under the tree's lock,
// and nothing for the journal under it or the barrier. The journal's thread takes none of the locks
// before the barrier.
//
// What never waits for the device (Blocking::forbidden, plan_read, start_write, end_write) takes of
// these only the tree's lock and the leaves, tries content_lock, log_lock, append_mutex and the
// barrier, and takes the locks of ContentWriter and MblockWriter, which are not held during I/O
// either.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/file/active_inodes.h"
#include "engine/file/file_committer.h"
#include "engine/file/file_table.h"
#include "engine/file/log_files.h"
#include "engine/file/object_allocator.h"
#include "engine/file/repacker.h"
#include "engine/names/namespace.h"
#include "engine/tree/recorded_tree.h"

namespace mpool::names {

class NamespaceImpl final : public Namespace {
 public:
  NamespaceImpl(Pool& pool, const NamespaceOptions& options);
  ~NamespaceImpl() override;

  bool foreign() const override { return tree_.foreign(); }
  bool owns(ObjectId object) const override { return tree_.owns(object); }
  std::unique_ptr<References::Hold> hold_object(ObjectId object) override {
    return std::make_unique<References::Hold>(references_, ObjectHolder::open_object, object);
  }
  std::unique_ptr<Collection> make_collection(std::vector<ObjectId> members,
                                              std::uint64_t max_size) override {
    return std::make_unique<Collection>(references_, std::move(members), max_size);
  }
  std::vector<ObjectId> mblocks_of(InodeNumber inode) override;
  void delete_unheld() override;

  using Namespace::attributes;
  using Namespace::create;
  using Namespace::get_xattr;
  using Namespace::lookup;
  using Namespace::make_directory;
  using Namespace::open;
  using Namespace::remove_directory;
  using Namespace::rename;
  using Namespace::set_attributes;
  using Namespace::unlink;
  using Namespace::unref;
  LookupAnswer lookup(InodeNumber parent, std::string_view name, LookupReference reference,
                      Blocking blocking) override;
  std::optional<Attributes> attributes(InodeNumber inode, Blocking blocking) override;
  std::optional<Attributes> set_attributes(InodeNumber inode, const AttributeChange& change,
                                           Blocking blocking) override;
  void ref(std::span<InodeNumber> inodes) override { inodes_.ref(inodes); }
  bool unref(std::span<const InodeReferences> references, Blocking blocking) override {
    return inodes_.unref(references, blocking);
  }
  std::optional<Attributes> make_directory(InodeNumber parent, std::string_view name,
                                           std::uint32_t mode, mpool::Owner owner,
                                           Blocking blocking) override {
    return make_inode(parent, name, {.kind = FileKind::directory, .mode = mode, .owner = owner},
                      blocking);
  }
  Attributes make_symlink(InodeNumber parent, std::string_view name, std::string_view target,
                          mpool::Owner owner) override;
  std::string read_symlink(InodeNumber inode) override;
  std::optional<CreatedFile> create(InodeNumber parent, std::string_view name, std::uint32_t mode,
                                    mpool::Owner owner, const OpenIntent& intent,
                                    Blocking blocking) override {
    return files_.create(parent, name, mode, owner, intent, blocking);
  }
  CreatedFile create_unnamed(InodeNumber directory, std::uint32_t mode, mpool::Owner owner,
                             const OpenIntent& intent) override {
    return files_.create_unnamed(directory, mode, owner, intent);
  }
  Attributes make_file(InodeNumber parent, std::string_view name, std::uint32_t mode,
                       mpool::Owner owner) override {
    return *make_inode(parent, name, {.kind = FileKind::empty, .mode = mode, .owner = owner},
                       Blocking::allowed);
  }
  Attributes make_special(InodeNumber parent, std::string_view name, FileKind kind,
                          std::uint32_t mode, mpool::Owner owner, std::uint64_t device) override;
  Attributes link(InodeNumber inode, InodeNumber parent, std::string_view name) override;
  bool unlink(InodeNumber parent, std::string_view name, Blocking blocking) override;
  bool remove_directory(InodeNumber parent, std::string_view name, Blocking blocking) override;
  bool rename(InodeNumber parent, std::string_view name, InodeNumber new_parent,
              std::string_view new_name, RenameMode mode, Whiteout whiteout,
              Blocking blocking) override;
  void read_directory(InodeNumber directory, std::uint64_t cookie,
                      const std::function<bool(const DirectoryEntry&)>& take) override;
  InodeNumber parent_of(InodeNumber directory) override;
  std::unique_ptr<OpenFile> open(InodeNumber inode, const OpenIntent& intent,
                                 Blocking blocking) override {
    return files_.open(inode, intent, blocking);
  }
  Attributes truncate(InodeNumber inode, std::uint64_t size) override;
  std::optional<std::string> get_xattr(InodeNumber inode, std::string_view name,
                                       Blocking blocking) override;
  std::vector<std::string> list_xattrs(InodeNumber inode) override;
  Advice advice(InodeNumber inode) override;
  void set_xattr(InodeNumber inode, std::string_view name, std::string_view value,
                 int flags) override;
  void remove_xattr(InodeNumber inode, std::string_view name) override;
  SpaceStats space(InodeNumber inode) override { return tree_.space(inode); }
  MetadataStats metadata() const override { return tree_.metadata(); }
  std::optional<FileLayout> layout(InodeNumber inode) override { return files_.layout(inode); }
  std::vector<InodeNumber> committed_files() override;
  void hold_deletes(bool hold) override;
  void repack() override {
    if (tree_.is_writable()) repacker_.run();
  }
  PackStats packs() const override;
  std::string references() const override { return inodes_.describe_references(); }
  void sync() override;
  Losses losses() const override;
  Events& events() override { return events_; }
  std::unique_ptr<FileIoGroup> make_io_group(std::size_t rings) override;

 private:
  using LogReadLock = std::shared_lock<FairMutex>;

  // lookup.cpp
  LookupAnswer look_up_once(InodeNumber parent, std::string_view name, LookupReference reference);
  bool try_set_log_size(const Inode& inode, Attributes& attributes) const;
  Attributes with_log_size(Attributes attributes);
  std::uint64_t log_size(InodeNumber inode);

  // name_changes.cpp
  // Find the inode that unlink() and remove_directory() remove; throw their errors.
  Inode& file_to_remove(InodeNumber parent, std::string_view name);
  Inode& directory_to_remove(InodeNumber parent, std::string_view name);
  struct NewInode {
    FileKind kind;
    std::uint32_t mode;
    mpool::Owner owner;
    std::string_view target = {};  // of a symbolic link
    std::uint64_t device = 0;      // of a special file
  };
  std::optional<Attributes> make_inode(InodeNumber parent, std::string_view name,
                                       const NewInode& wanted, Blocking blocking);
  Journal::Ticket inherit_policy(InodeNumber inode, const Inode& parent, Journal::Ticket ticket);
  void check_link(InodeNumber inode, InodeNumber parent, std::string_view name);
  void give_first_name(InodeNumber inode, InodeNumber parent, std::string_view name);
  void check_rename(const Inode& inode, const Inode* target, InodeNumber new_parent,
                    RenameMode mode);
  // Returns an inode that must be recorded first; 0: renamed; nullopt: it would block.
  std::optional<InodeNumber> try_rename(InodeNumber parent, std::string_view name,
                                        InodeNumber new_parent, std::string_view new_name,
                                        RenameMode mode, Whiteout whiteout, Blocking blocking);
  Journal::Ticket make_whiteout(const Inode& directory, std::string_view name, mpool::Owner owner);
  Journal::Ticket rename_recorded(const RenameRecord& record, Inode* target);
  Journal::Ticket rename_pending(const RenameRecord& record, Inode& inode, Inode* target);

  // xattrs.cpp
  Journal::Ticket change_xattr(Inode& inode, XattrRecord record);
  static void check_xattr_room(const Inode& inode, std::string_view name, std::size_t value_size);

  // Each part uses those before it only.
  Pool& pool_;
  Events events_;
  References references_;
  RecordedTree tree_;
  ObjectAllocator allocator_;
  Packs packs_;
  LogFiles logs_;
  ActiveInodes inodes_;
  FileCommitter committer_;
  FileTable files_;
  Repacker repacker_;
};

}  // namespace mpool::names
