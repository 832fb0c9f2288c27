// The pools that are mutated: small ones of mpoolfs, and reference pools, in memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/io/simulated_device.h"
#include "engine/mlog/mlog.h"

namespace mpool::fuzz {

using MediaSet = std::vector<std::shared_ptr<SimulatedMedia>>;  // one for each device

// A log of a pool in an image. Its location's `device` is null: the caller makes one.
struct LogInImage {
  enum class Kind { metadata, root, user };
  Kind kind = Kind::metadata;
  std::size_t device = 0;  // index in the media
  MlogLocation location;
};

struct Image {
  std::string name;
  MediaSet media;
  std::vector<LogInImage> logs;

  // A copy of the media; changes of the copy do not affect them.
  MediaSet copy() const;
  std::uint64_t size() const;  // bytes of all devices
};

// Made once.
const std::vector<Image>& images();

std::vector<std::unique_ptr<Device>> open_media(const MediaSet& media);

}  // namespace mpool::fuzz
