// Damaging an image on purpose, more cleverly than at random: structures are decoded, changed and
// put back with right checksums in about half of the cases, so that the code behind the checksums
// is reached.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "tests/fuzz/images.h"

namespace mpool::fuzz {

using Random = std::mt19937_64;

// Changes `media`, a copy of the image's, in one to four ways. Returns what was done, for messages.
std::string mutate(const Image& image, const MediaSet& media, Random& random);

}  // namespace mpool::fuzz
