// The views of a mount, and which of them shows a file.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/base/tunables.h"
#include "engine/names/namespace.h"
#include "fuse/native/view.h"
#include "fuse/native/view_devices.h"

namespace mpoolfs {

// The name of an inode's file in its view.
std::string name_in_view(mpool::InodeNumber inode);

// Threads: find(), set_read_ahead() and the numbers from any; add(), merge() and forget() from one
// at a time. A view that was found stays alive while the caller holds it, regardless of changes
// here.
class ViewSet {
 public:
  // `names` and `devices` must outlive it. The devices are attached.
  ViewSet(mpool::Namespace& names, const ViewDevices& devices,
          const mpool::Tunables::Views& tunables = {})
      : names_(names), devices_(devices), merge_threshold_(tunables.merge_threshold) {}

  // Makes one view of those of the files that are committed (and durable: Events::durable)
  // and that EROFS can show. Removes the other files from `inodes`, also when it throws. Returns
  // the view, null when there are none. Errors as View; nothing else has then changed.
  std::shared_ptr<const View> add(std::vector<mpool::InodeNumber>& inodes);
  // Merges the files of the smaller half of the views into one, unless few views have files to be
  // opened. Files already open stay with their old view.
  void merge();
  // The files are deleted: a view is dropped with its last file.
  void forget(std::span<const mpool::InodeNumber> inodes);

  // Greatest read-ahead in bytes, of files that are opened in present and later views.
  void set_read_ahead(std::size_t bytes, const mpool::Logger& logger);

  // Null: no view shows it.
  std::shared_ptr<const View> find(mpool::InodeNumber inode) const;

  std::size_t files() const;
  // Includes views whose files were merged into another view and are still open.
  std::size_t views() const;

 private:
  struct Member {
    std::weak_ptr<const View> view;
    std::vector<mpool::InodeNumber> inodes;  // some may be deleted; empty: merged into another
  };

  void drop_ended();
  std::vector<Member> choose_to_merge() const;
  void forget_unless_shown_by(const std::shared_ptr<const View>& kept,
                              std::span<const mpool::InodeNumber> inodes);

  mpool::Namespace& names_;
  const ViewDevices& devices_;
  const std::size_t merge_threshold_;
  mutable std::mutex mutex_;
  std::size_t read_ahead_ = View::kReadAhead;
  std::unordered_map<mpool::InodeNumber, std::shared_ptr<const View>> shown_;
  std::vector<Member> members_;  // may be expired
};

}  // namespace mpoolfs
