// Requests read from /dev/fuse: all of them, or only those that FUSE-over-io_uring does not carry
// (INIT, FORGET, INTERRUPT).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "fuse/transport/request.h"

namespace mpoolfs {

// A new descriptor of the mount of `fd`, with its own list of requests in progress. Error with the
// errno of the kernel.
mpool::FileDescriptor clone_fuse(int fd);

// Threads: the reactor's, except for construction.
class DevQueue {
 public:
  struct Config {
    int fd = -1;                   // not closed by the queue; it must not block
    unsigned slots = 0;            // concurrent requests; further ones wait in the kernel
    std::size_t payload_size = 0;  // bytes: at least the largest request's
  };
  // `ended` is called, once, when the mount has ended (0), or when reading fails (errno).
  DevQueue(Dispatcher& dispatcher, Reactor& reactor, const Config& config,
           std::function<void(int error)> ended);
  ~DevQueue();

  void start();
  // Reads the requests that the kernel has sent, at most as many as there are slots. Returns false
  // when there was none.
  bool read_all() noexcept;
  // Stops reading requests.
  void close() noexcept { closed_ = true; }
  void trim() noexcept;

 private:
  class Slot;
  // The descriptor is readable.
  struct Readable final : mpool::RingOperation {
    explicit Readable(DevQueue& owner) : queue(owner) {}
    void completed(std::int32_t result) noexcept override { queue.readable(result); }
    DevQueue& queue;
  };

  void watch() noexcept;
  void readable(std::int32_t result) noexcept;
  unsigned read_up_to(unsigned limit) noexcept;  // returns the number
  bool read_one() noexcept;
  void end(int error) noexcept;

  Reactor& reactor_;
  const Config config_;
  RequestMemory memory_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;  // the one used last is at the end: its memory is warm
  Readable readable_{*this};
  std::function<void(int)> ended_;
  bool watching_ = false;
  bool closed_ = false;
};

}  // namespace mpoolfs
