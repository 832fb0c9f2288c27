// Following the records of the root MDC (engine/tree/records.md, "Batches and crashes" and
// "Validity"). Internal to the engine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "engine/format/records.h"
#include "engine/mlog/mlog.h"
#include "engine/tree/tree.h"

namespace mpool::names {

// The objects that a record brings into use and that are committed after it. A pack exists before a
// record has content in it.
std::vector<ObjectId> new_objects(const Record& record);

// Applies records to a tree batch by batch. Every reference of a record is checked before the
// record is applied: an object belongs to one file, an object that lost its name never gets one
// again, and numbers only grow. Not thread-safe.
class Replay {
 public:
  // Called with a record that does not fit those before it: its number in the log (from 0) and the
  // reason. Throws, or returns: then the record is skipped.
  using OnInvalidRecord = std::function<void(std::uint64_t number, const Error& why)>;

  // `tree` is empty and must outlive it.
  Replay(Tree& tree, OnInvalidRecord on_invalid_record)
      : tree_(tree), on_invalid_record_(std::move(on_invalid_record)) {}

  // The next record of the log.
  void take(Record record);
  // The next record of the log cannot be read.
  void skip() { ++taken_; }
  std::uint64_t taken() const { return taken_; }

  // After the last record: the number of records of the last batch, which may be incomplete.
  std::size_t pending() const { return batch_.size(); }
  // The number of them that took effect: those before the first that names an object that does not
  // exist.
  std::size_t complete_records(const std::function<bool(ObjectId)>& exists) const;
  // The objects named by the records from number `keep` on.
  std::vector<ObjectId> objects_after(std::size_t keep) const;
  // Applies the first `keep` of them and drops the rest.
  void apply_last_batch(std::size_t keep);

  std::uint64_t last_batch() const { return last_batch_; }
  // The last record of the ends of the MDCs.
  const std::optional<MdcEndsRecord>& mdc_ends() const { return mdc_ends_; }
  // Set if the last mount ended cleanly.
  const std::optional<LogSizesRecord>& log_sizes() const { return log_sizes_; }
  // Objects whose names are gone, deleted or not; none of them belongs to a file in the tree.
  const std::unordered_set<ObjectId>& orphaned() const { return orphaned_; }

 private:
  struct Numbered {
    std::uint64_t number;
    Record record;
  };

  void begin_batch(const BatchRecord& mark);
  void roll_back(const RollbackRecord& record);
  void apply(const Record& record);
  void apply_orphans(const OrphanRecord& record);
  void apply_content(const ContentRecord& content, const Record& record);
  void check_inode(const Record& record) const;
  void check_free(const std::vector<ObjectId>& objects, InodeNumber inode) const;
  void own(const std::vector<ObjectId>& objects, InodeNumber inode);
  void orphan(ObjectId object);
  void orphan_unnamed(InodeNumber inode);
  void give_up(const Record& record);
  // Runs a step for record `number`; a record that does not fit goes to on_invalid_record_.
  template <typename Step>
  void attempt(std::uint64_t number, const Step& step);

  Tree& tree_;
  const OnInvalidRecord on_invalid_record_;
  std::vector<Numbered> batch_;  // records since the last BATCH
  std::uint64_t last_batch_ = 0;
  InodeNumber inode_limit_ = 0;  // of the last BATCH; 0: there was none
  std::optional<MdcEndsRecord> mdc_ends_;
  std::optional<LogSizesRecord> log_sizes_;
  std::uint64_t taken_ = 0;
  std::unordered_map<ObjectId, InodeNumber> owners_;  // of the objects of the tree's files
  std::unordered_set<ObjectId> orphaned_;
};

// True when the first record shows another client's log: it is not an OWNER, and no later record is
// one of mpoolfs. Without records: when `user_type`, of the pool, is that of another program.
// Rewinds `reader`.
bool belongs_to_another_client(MlogReader& reader, const Uuid& user_type);

// The known state of an object that a file names. Without a record: it may exist, but its MDC
// cannot be read. `log`: of an mlog whose device is present.
struct KnownObject {
  bool may_exist = false;
  std::optional<ObjectRecord> record;
  std::optional<MlogLocation> log = std::nullopt;
};

// Calls `fault` for each fault of the objects of an inode: missing, or shorter than the file
// requires, or a pack that cannot have such a record.
void check_objects(const Inode& inode, const std::function<KnownObject(ObjectId)>& find,
                   const std::function<void(const std::string&)>& fault);

}  // namespace mpool::names
