// The permitted states after a power failure.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/simulated_device.h"

namespace mpool::test {

// The possible content of media: a value for each object ("mblock 0x1101": its length and
// checksum). No other object may exist.
using Facts = std::map<std::string, std::string>;

// A moment is the number of operations performed.
using Moment = std::size_t;

// The versions of each fact, with the moments at which each was begun and became durable. A
// workload maintains it; a check queries the possible state at a moment: the last durable version,
// or one begun after it.
class Model {
 public:
  explicit Model(std::shared_ptr<const SimulatedHistory> clock) : clock_(std::move(clock)) {}

  Moment now() const { return clock_->size(); }
  // The durable state at moment 0.
  void start(const Facts& facts);
  // A change begins; nullopt: the fact is removed. The changes of one fact are versions in order.
  void begin(const std::string& fact, std::optional<std::string> value) {
    begin_at(now(), fact, std::move(value));
  }
  // The same for a change that began earlier.
  void begin_at(Moment moment, const std::string& fact, std::optional<std::string> value);
  // All versions of the fact begun so far are durable.
  void durable(const std::string& fact);
  // A name that must never be used again, although it is not on the media.
  void reserve(const std::string& fact);
  // True when it was in use, or reserved, at that moment or before.
  bool used(const std::string& fact, Moment moment) const;
  // Names in use in `other` at that moment or before are in use here from the start.
  void inherit_names(const Model& other, Moment moment);

  // Empty when `found` is possible at that moment, otherwise the difference.
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
