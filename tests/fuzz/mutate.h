// Damages an image in a structured way: structures are decoded, changed and written back, in about
// half of the cases with right checksums, so that the code behind the checksums is reached.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "tests/fuzz/images.h"

namespace mpool::fuzz {

using Random = std::mt19937_64;

// Changes `media`, a copy of the image's, in one to four ways. Returns a description for messages.
std::string mutate(const Image& image, const MediaSet& media, Random& random);

}  // namespace mpool::fuzz
