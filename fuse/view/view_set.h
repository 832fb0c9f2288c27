// The views of a mount, and which of them shows a file.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/names/names.h"
#include "fuse/view/view.h"
#include "fuse/view/view_devices.h"

namespace mpoolfs {

// The name of an inode's file in its view.
std::string name_in_view(mpool::InodeNumber inode);

// Threads: find() and the numbers from any; add() and merge() from one at a time. A view that is
// found stays as long as it is held, whatever happens here.
class ViewSet {
 public:
  // More views than this are to be merged: each costs the kernel about 100 KiB.
  static constexpr std::size_t kManyViews = 200;

  // Both outlive it. The devices are attached.
  ViewSet(mpool::Namespace& names, const ViewDevices& devices) : names_(names), devices_(devices) {}

  // Makes one view of those of the files that are committed (and on the media:
  // Namespace::on_durable) and that EROFS can show. Returns it, null when there are none. Errors as
  // View; then nothing has changed.
  std::shared_ptr<const View> add(std::vector<mpool::InodeNumber> inodes);
  // Puts the files of many small views into one, and forgets those that are gone. Files already
  // open stay with their old view.
  void merge();

  // Null: no view shows it.
  std::shared_ptr<const View> find(mpool::InodeNumber inode) const;

  std::size_t files() const;
  std::size_t views() const;

 private:
  struct Member {
    std::weak_ptr<const View> view;
    std::size_t files = 0;
  };

  mpool::Namespace& names_;
  const ViewDevices& devices_;
  mutable std::mutex mutex_;
  std::unordered_map<mpool::InodeNumber, std::shared_ptr<const View>> shown_;
  std::vector<Member> members_;  // may have gone
};

}  // namespace mpoolfs
