// What a power failure leaves on simulated media.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/io/simulated_device.h"

namespace mpool {

// The content of a discarded range.
enum class DiscardEffect : std::uint8_t { keeps, zeros, random };

// The part of an operation, not covered by a flush, that reached the media. Sectors are the
// device's: each is written completely or not at all. A discard takes effect completely or not at
// all.
struct Survival {
  enum class Kind : std::uint8_t {
    lost,
    whole,
    prefix,   // the first `value` sectors
    suffix,   // all but the first `value` sectors
    sectors,  // a subset, chosen by the seed `value`
  };
  Kind kind = Kind::whole;
  std::uint64_t value = 0;
  std::string to_string() const;
};

using MediaSet = std::vector<std::shared_ptr<SimulatedMedia>>;

// Media that share the pages of `media`; later changes do not affect `media`.
MediaSet copy_of(const MediaSet& media);

// Steps through a history, one operation at a time, and makes images of the media as a power
// failure could leave them at that point. Used by one thread.
class CrashImages {
 public:
  // `start`: the media at the beginning of the history, by number of the device; not changed.
  CrashImages(const MediaSet& start, std::vector<SimulatedOperation> history, DiscardEffect effect);

  std::size_t size() const { return history_.size(); }
  // The number of operations performed so far.
  std::size_t position() const { return position_; }
  // Performs the next operation. There must be one.
  void advance();

  // The number of writes and discards performed and not durable.
  std::size_t pending_count() const { return pending_.size(); }
  const SimulatedOperation& pending(std::size_t index) const { return history_[pending_[index]]; }
  // The number of sectors of a write; 1 for a discard.
  std::uint64_t pending_sectors(std::size_t index) const;

  // The media after the whole history, when only durable operations survive.
  static MediaSet durable(const MediaSet& start, std::vector<SimulatedOperation> history,
                          DiscardEffect effect);
  // The media with the given part of each pending operation; `survivals` has pending_count()
  // elements.
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
