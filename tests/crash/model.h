// What must be found after a power failure.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/device/simulated_device.h"

namespace mpool::test {

// What can be found on media: a value for each thing that is there ("mblock 0x1101": its length and
// checksum). Nothing else may be there.
using Facts = std::map<std::string, std::string>;

// Moments are numbers of operations that have happened.
using Moment = std::size_t;

// The versions of each fact, with the moments at which each began to be made and was durable. A
// workload keeps it, a check asks it what could be there at a moment: the last version that was
// durable, or one that had been begun after it.
class Model {
 public:
  explicit Model(std::shared_ptr<const SimulatedHistory> clock) : clock_(std::move(clock)) {}

  Moment now() const { return clock_->size(); }
  // What is there, durable, at moment 0.
  void start(const Facts& facts);
  // A change begins; nullopt: the fact goes away. The changes of one fact are versions in order.
  void begin(const std::string& fact, std::optional<std::string> value) {
    begin_at(now(), fact, std::move(value));
  }
  // The same for a change that began earlier.
  void begin_at(Moment moment, const std::string& fact, std::optional<std::string> value);
  // All that has begun of a fact is durable.
  void durable(const std::string& fact);
  // A name that must never come into use again, though nothing of it is on the media.
  void reserve(const std::string& fact);
  // True when it was in use, or reserved, at that moment or before.
  bool used(const std::string& fact, Moment moment) const;
  // All names in use at that moment or before are so here, from the start.
  void inherit_names(const Model& other, Moment moment);

  // Empty when `found` could be there at that moment, else what is wrong.
  std::string mismatch(const Facts& found, Moment moment) const;

 private:
  static constexpr Moment kNever = ~Moment{0};
  struct Version {
    std::optional<std::string> value;
    Moment begun;
    Moment durable = kNever;
  };
  using Versions = std::vector<Version>;
  static std::string mismatch_of(const std::string& fact, const Versions& versions,
                                 const std::string* found, Moment moment);

  std::shared_ptr<const SimulatedHistory> clock_;
  std::map<std::string, Versions> facts_;
};

}  // namespace mpool::test
