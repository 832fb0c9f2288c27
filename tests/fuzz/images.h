// The pools that are mutated: small ones of our own, and reference pools, in memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/device/simulated_device.h"
#include "engine/mlog/mlog.h"

namespace mpool::fuzz {

using MediaSet = std::vector<std::shared_ptr<SimulatedMedia>>;  // one for each device

// A log of a pool, wherever it lies. Its place's `device` is null: who uses it makes one.
struct LogInImage {
  enum class Kind { metadata, root, user };
  Kind kind = Kind::metadata;
  std::size_t device = 0;  // index in the media
  MlogPlace place;
};

struct Image {
  std::string name;
  MediaSet media;
  std::vector<LogInImage> logs;

  // The media as they are; what is done to the copy leaves them alone.
  MediaSet copy() const;
  std::uint64_t size() const;  // bytes of all devices
};

// Made once.
const std::vector<Image>& images();

std::vector<std::unique_ptr<Device>> open_media(const MediaSet& media);

}  // namespace mpool::fuzz
