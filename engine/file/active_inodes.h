// How long inodes live: as long as they have a name, an open file or a reference.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <unordered_set>

#include "engine/file/active_inode.h"
#include "engine/file/events.h"
#include "engine/file/log_files.h"
#include "engine/tree/recorded_tree.h"

namespace mpool::names {

using State = std::shared_ptr<ActiveInode>;

// Threads: functions with an Inode, change() and unpin() need the locks of a change, ref(), unref()
// and destroy_unnamed() take them.
class ActiveInodes {
 public:
  ActiveInodes(RecordedTree& tree, LogFiles& logs, Events& events)
      : tree_(tree), logs_(logs), events_(events) {}

  // Keeps an inode: pin() before a step that may remove the last name, unpin() after it.
  State pin(Inode& inode, FileHolder holder);
  void unpin(InodeNumber inode, FileHolder holder);
  // unpin() where a failure cannot be reported: it is logged.
  void close(InodeNumber inode, FileHolder holder) noexcept;
  // With the tree's lock. Attributes without the size of a log.
  Attributes describe(const Inode& inode) const;
  // The content or the inode changes after all: the commit does not belong where it was closed.
  void withdraw_placeholder(ActiveInode& state);
  // See Namespace::references().
  std::string describe_references() const;

  void ref(std::span<InodeNumber> inodes);
  bool unref(std::span<const InodeReferences> references, Blocking blocking);
  // Destroys content that only references keep.
  void destroy_unnamed();

  // Applies a record to the tree and queues it; destroys the inode that lost its last name.
  Journal::Ticket change(const Record& record);
  // The same for a change of the inode itself; records nothing for an inode that is not on the
  // media.
  Journal::Ticket change_if_on_media(const Inode& inode, const Record& record);
  // An inode that is not recorded leaves its name: removes the inode it displaced from the media,
  // too.
  enum class DisplacedRecord : std::uint8_t { needed, of_caller };
  Journal::Ticket release_displaced(Inode& inode, DisplacedRecord record);

 private:
  void destroy_inode(Inode& inode);
  // The inode lost a name or a holder: destroys it, or only what it has in memory while it is open,
  // unless that is needed.
  void release_unneeded(Inode& inode);
  void drop_references(std::span<const InodeReferences> references);
  bool may_destroy_slowly(const InodeReferences& references);

  RecordedTree& tree_;
  LogFiles& logs_;
  Events& events_;
  // Inodes without a name or an open file: kept by references alone, or about to be opened or
  // destroyed. Guarded by the tree's lock.
  std::unordered_set<InodeNumber> unnamed_;
};

}  // namespace mpool::names
