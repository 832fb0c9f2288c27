// How a tree is mounted.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

namespace mpool {

struct NamespaceOptions {
  bool read_only = false;  // no writes; changes fail with EROFS
  bool sync = false;       // every commit and every change of a directory is durable on return
  // Longest time for which an unsynced change is only in memory, plus the time to write it. sync(2)
  // does not reach a mount of type fuse, so the time is short. A busy mount makes 5 batches a
  // second, each of 2 to 4 flushes.
  std::chrono::milliseconds commit_interval{200};
  std::uint64_t log_mlog_size = 0;  // bytes of each mlog of a log; 0: one zone
  // Bytes: files of at most this size go into packs; by default Tunables::Packing::max_size.
  std::optional<std::uint64_t> pack_max = std::nullopt;
  bool hold_deletes = false;  // as Namespace::hold_deletes(true), from the beginning
  std::function<bool()> reads_active = nullptr;  // of all groups made: FileIoGroup::on_reads_active
};

}  // namespace mpool
