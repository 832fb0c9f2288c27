// One CPU's queue of FUSE-over-io_uring.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "fuse/transport/request.h"

namespace mpoolfs {

// The kernel sends requests of a CPU to the queue of that number, as long as the queue has waiting
// entries; further requests wait in the kernel.
//
// Threads: the reactor's, except for construction.
class UringQueue {
 public:
  struct Config {
    int fd = -1;                   // /dev/fuse of the mount
    std::uint16_t number = 0;      // of the CPU
    unsigned entries = 0;          // concurrent requests
    std::size_t payload_size = 0;  // bytes: at least the largest request's
  };
  UringQueue(Dispatcher& dispatcher, Reactor& reactor, const Config& config);
  ~UringQueue();

  // Offers all entries to the kernel, after the answer to INIT. `refused` is called with the errno
  // for each entry that the kernel refuses. Entries that are not refused by the time submit()
  // returns are accepted, and are served even if other entries are refused: the kernel may use
  // them.
  void register_entries(std::function<void(int error)> refused);
  // Answers requests in progress; later requests are left to the kernel, which fails them when the
  // connection ends: they have not been performed.
  void close() noexcept { closed_ = true; }
  void trim() noexcept;

 private:
  class Entry;

  void prepare(Entry& entry, std::uint32_t command, std::uint64_t commit_id);
  void fetched(Entry& entry, std::int32_t result) noexcept;

  Reactor& reactor_;
  const Config config_;
  RequestMemory memory_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::function<void(int)> refused_;
  bool closed_ = false;
};

}  // namespace mpoolfs
