// Applying the records of an MDC to the table of its objects.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "engine/pool/object_table.h"
#include "engine/pool/pool_state.h"

namespace mpool {

// Follows the records of MDC `slot` in order and judges each by engine/format/README.md, "Records
// in MDC0..255". Not thread-safe.
class ObjectLoader {
 public:
  // Called with the fault of a record ("record 7: …"). Throws, or returns: then the record is
  // skipped.
  using Fault = std::function<void(const std::string&)>;
  using Checkpoint = std::function<void(ObjectId)>;

  // `properties` and `table` must outlive it.
  ObjectLoader(unsigned slot, const PoolProperties& properties, ObjectTable& table,
               Checkpoint checkpoint, Fault fault);

  void take(ConstByteSpan record);
  // After the last record: checks the consistency of all records.
  void finish();
  std::uint64_t taken() const { return number_; }

 private:
  struct Visitor;
  bool check_object(const ObjectRecord& object);
  bool check_update(const ObjectRecord& object);
  bool check_slot(std::string_view what, ObjectId id);
  void apply(const ObjectRecord& object);
  void apply(const DeleteRecord& record);
  void apply(const CheckpointRecord& record);
  void apply(const EraseRecord& record);
  void apply_property(std::string_view what);
  void missing(std::string_view what, ObjectId id);

  template <typename... Args>
  bool fault(fmt::format_string<Args...> format, Args&&... args);

  const unsigned slot_;
  const PoolProperties& properties_;
  ObjectTable& table_;
  const Checkpoint checkpoint_;
  std::uint64_t last_checkpoint_ = 0;  // its uniquifier
  const Fault fault_;
  std::uint64_t number_ = 0;  // of the record under way
};

}  // namespace mpool
