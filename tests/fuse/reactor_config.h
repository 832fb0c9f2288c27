// A reactor alone in its group.
#pragma once

#include <memory>
#include <optional>

#include "engine/base/write_memory.h"
#include "engine/file/file_io.h"
#include "fuse/runtime/reactor.h"

namespace mpoolfs::test {

// Without memory for prefetch and write-behind.
inline Reactor::Config reactor_config() {
  static mpool::WriteMemory no_memory({.max_bytes = 0});
  return {.name = "test",
          .home = std::nullopt,
          .group = std::make_shared<ReactorGroup>(
              1, std::make_unique<mpool::FileIoGroup>(1, no_memory))};
}

}  // namespace mpoolfs::test
