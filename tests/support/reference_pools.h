// Where the reference pools are (tests/interop/pools/README.md).
#pragma once

#include <cstdlib>
#include <filesystem>

namespace mpool::test {

// $MPOOLFS_REFPOOLS, to use other pools of the same form; otherwise those of the repository.
inline std::filesystem::path reference_pools() {
  const char* directory = std::getenv("MPOOLFS_REFPOOLS");
  return directory != nullptr ? directory : MPOOLFS_REFPOOLS;
}

}  // namespace mpool::test
