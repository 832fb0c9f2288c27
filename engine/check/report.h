// Collecting findings. Internal to engine/check.
#pragma once

#include <array>
#include <string>

#include "engine/check/check.h"

namespace mpool::check {

// Counts findings and passes them on, up to a limit for each area: a log that lost its middle
// produces thousands.
class Report {
 public:
  static constexpr std::size_t kMaxPerArea = 200;

  Report(const Options& options, Result& result) : options_(options), result_(result) {}

  void add(const Finding& finding);
  void error(Area area, std::string where, std::string what, std::string advice);
  void note(Area area, std::string where, std::string what, std::string advice);
  // `step`: the action that finishes it, for Plan.
  void unfinished(Area area, std::string where, std::string what, std::string step);
  // Reports how many findings were suppressed.
  void close();

  // Errors of an area that repairing superblocks does not correct.
  std::size_t errors(Area area) const { return errors_[static_cast<std::size_t>(area)]; }
  bool can_finish() const {
    return errors(Area::superblocks) + errors(Area::metadata) + errors(Area::tree) == 0;
  }
  void progress(std::string_view step, std::uint64_t done, std::uint64_t total) const {
    if (options_.progress) options_.progress(step, done, total);
  }
  Result& result() { return result_; }
  const Options& options() const { return options_; }

 private:
  static constexpr std::size_t kAreas = 4;

  const Options& options_;
  Result& result_;
  std::array<std::size_t, kAreas> errors_{};
  std::array<std::size_t, kAreas> told_{};
  std::array<std::size_t, kAreas> held_back_{};
};

}  // namespace mpool::check
