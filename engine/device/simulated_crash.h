// What a power failure leaves on simulated media.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/device/simulated_device.h"

namespace mpool {

// What a discarded range holds afterwards.
enum class DiscardEffect : std::uint8_t { keeps, zeros, random };

// What arrived of an operation that no flush has made durable. Sectors are the device's: it writes
// each whole or not at all. A discard arrives whole or not (lost).
struct Survival {
  enum class Kind : std::uint8_t {
    lost,
    whole,
    prefix,   // the first `value` sectors
    suffix,   // all but them
    sectors,  // any, chosen by the seed `value`
  };
  Kind kind = Kind::whole;
  std::uint64_t value = 0;
  std::string to_string() const;
};

using MediaSet = std::vector<std::shared_ptr<SimulatedMedia>>;

// Media that share the pages of others and change without them.
MediaSet copy_of(const MediaSet& media);

// Goes through a history, one operation after the other, and makes images of the media as a power
// failure could leave them there. Used by one thread.
class CrashImages {
 public:
  // `start`: the media when the history began, by number of the device; not changed.
  CrashImages(const MediaSet& start, std::vector<SimulatedOperation> history, DiscardEffect effect);

  std::size_t size() const { return history_.size(); }
  // How many operations happened so far.
  std::size_t position() const { return position_; }
  // The next operation happens. There must be one.
  void advance();

  // The writes and discards that happened and are not durable, in order.
  std::size_t pending_count() const { return pending_.size(); }
  const SimulatedOperation& pending(std::size_t index) const { return history_[pending_[index]]; }
  // How many sectors a write has; 1 for a discard.
  std::uint64_t pending_sectors(std::size_t index) const;

  // The media after all of a history, when nothing survives that was not made durable.
  static MediaSet durable(const MediaSet& start, std::vector<SimulatedOperation> history,
                          DiscardEffect effect);
  // The media with what survives of each pending operation: as many as pending_count().
  MediaSet image(std::span<const Survival> survivals) const;

 private:
  void apply(MediaSet& media, const SimulatedOperation& operation, const Survival& survival) const;
  void apply_torn(SimulatedMedia& media, const SimulatedOperation& operation,
                  const Survival& survival) const;
  void apply_discard(SimulatedMedia& media, const SimulatedOperation& operation) const;

  const std::vector<SimulatedOperation> history_;
  const DiscardEffect effect_;
  MediaSet durable_;
  std::size_t position_ = 0;
  std::vector<std::size_t> pending_;  // indices into history_
};

}  // namespace mpool
