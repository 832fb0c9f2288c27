// Following the records of the root MDC (records.md, "Batches and crashes"). Internal to the
// engine.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "engine/names/tree.h"

namespace mpool::names {

// The objects that a record brings into use.
const std::vector<Extent>& new_extents(const Record& record);

// Applies records to a tree batch by batch. Not thread-safe.
class Replay {
 public:
  // Told of a record that does not fit the tree: its number in the log (from 0) and why. Throws, or
  // returns: then the record is passed over.
  using Misfit = std::function<void(std::uint64_t number, const Error& why)>;

  // `tree` is empty and must outlive it.
  Replay(Tree& tree, Misfit misfit) : tree_(tree), misfit_(std::move(misfit)) {}

  // The next record of the log.
  void take(Record record);
  // The next record of the log is not to be had.
  void skip() { ++taken_; }
  std::uint64_t taken() const { return taken_; }

  // After the last record: those of the last batch, which perhaps did not happen.
  std::size_t pending() const { return batch_.size(); }
  // How many of them did: those before the first that names an object that does not exist.
  std::size_t complete_records(const std::function<bool(ObjectId)>& exists) const;
  // Applies the first `keep` of them and gives up the others.
  void settle(std::size_t keep);

  std::uint64_t last_batch() const { return last_batch_; }
  // Objects whose names are gone, deleted or not.
  const std::unordered_set<ObjectId>& dead() const { return dead_; }

 private:
  void bury(const std::vector<Extent>& extents);
  void apply(const Record& record);

  struct Numbered {
    std::uint64_t number;
    Record record;
  };

  Tree& tree_;
  const Misfit misfit_;
  std::vector<Numbered> batch_;  // records since the last BATCH
  std::uint64_t last_batch_ = 0;
  std::uint64_t taken_ = 0;
  std::unordered_set<ObjectId> dead_;
};

}  // namespace mpool::names
