// The maps of a tree in memory, served by the daemon.
#pragma once

#include <cstdint>
#include <tuple>
#include <vector>

#include "fuse/control/maps.h"
#include "fuse/native/native_reads.h"
#include "fuse/native/reader_watch.h"
#include "tests/engine/names/support.h"

namespace mpoolfs::test {

struct TestMaps {
  explicit TestMaps(mpool::test::TestTree& tree, std::uint64_t max_size = 64u << 20)
      : readers(tree.pool().clock(), tree.pool().metrics()),
        native(tree.pool(), tree.names(), ViewDevices(tree.pool()), NativeChoice::off, false,
               readers, reaper, 0),
        maps(
            tree.names(), native, reaper,
            [this](mpool::InodeNumber inode, std::uint64_t offset, std::uint64_t length) {
              purged.emplace_back(inode, offset, length);
            },
            tree.pool().logger(), max_size) {}

  ReaderWatch readers;
  mpool::JobScheduler jobs;
  mpool::Reaper reaper{jobs, {.percent = 100}};
  NativeReads native;
  std::vector<std::tuple<mpool::InodeNumber, std::uint64_t, std::uint64_t>> purged;
  Maps maps;
};

}  // namespace mpoolfs::test
