// Doing with a damaged pool what a user does: checking it, activating and mounting it, reading and
// changing what is there, repairing it.
#pragma once

#include <string>

#include "tests/fuzz/images.h"

namespace mpool::fuzz {

// How far pools came.
struct Tally {
  std::size_t pools = 0;
  std::size_t activated = 0;
  std::size_t mounted = 0;
  std::size_t with_errors = 0;  // found by check
};

// Returns what went wrong beyond an Error, which any step may end with; empty: nothing did.
// Everything else that is thrown goes through.
std::string exercise(const MediaSet& media, Tally& tally);

}  // namespace mpool::fuzz
