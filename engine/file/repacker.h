// Gets back the space of packs in the background (engine/file/README.md, "Small files").
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/base/metrics.h"
#include "engine/file/packs.h"
#include "engine/jobs/job.h"
#include "engine/tree/recorded_tree.h"

namespace mpool::names {

// Deletes packs without content, and moves the content of those that are mostly garbage to the pack
// that is being filled. A file is moved by one record after its content is written again: a crash
// leaves it in one pack or the other. Open files go on reading the old pack, which they hold.
//
// Threads: all functions may be called at the same time. mutex_ is taken before the locks of a
// change; the job's thread and callers of run() hold it during I/O.
class Repacker {
 public:
  Repacker(RecordedTree& tree, Packs& packs);

  // From here on garbage wakes the job, if Tunables::Packing::collect_delay is not 0. The tree must
  // be loaded and writable.
  void start();
  // Ends the job. Must be called before the journal ends, if start() was.
  void stop();
  // Does at once what there is to do. Errors are logged.
  void run();

 private:
  struct Pass {
    ObjectId pack;
    std::vector<InodeNumber> inodes;  // with content in it, from the last on
  };

  JobStep step(JobOrder order);
  JobStep take_step();
  std::optional<Pass> begin_pass();
  ObjectId choose() const;
  std::vector<InodeNumber> inodes_in(ObjectId pack) const;
  void end_pass();
  std::uint64_t move(InodeNumber inode, ObjectId pack);
  bool move(InodeNumber inode, const Extent& extent);

  RecordedTree& tree_;
  Pool& pool_;
  Packs& packs_;
  Counter& moved_bytes_;
  std::mutex mutex_;  // guards what follows but job_
  std::optional<Pass> pass_;
  // Packs that kept content after a pass: the number of their extents then.
  std::map<ObjectId, std::uint64_t> stuck_;
  std::optional<Job> job_;
};

}  // namespace mpool::names
