// Uses a damaged pool as users do: checks, activates and mounts it, reads and changes its content,
// repairs it.
#pragma once

#include <string>

#include "tests/fuzz/images.h"

namespace mpool::fuzz {

// Counts how far pools could be used.
struct Tally {
  std::size_t pools = 0;
  std::size_t activated = 0;
  std::size_t mounted = 0;
  std::size_t with_errors = 0;  // found by check
};

// Returns faults other than an Error, with which any step may end; empty: none. Other exceptions
// are passed on.
std::string exercise(const MediaSet& media, Tally& tally);

}  // namespace mpool::fuzz
