// Wakes a thread that waits for a descriptor.
#pragma once

#include <cassert>
#include <cerrno>
#include <cstdint>

#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/io/file_descriptor.h"

namespace mpoolfs {

// An eventfd. Threads: all functions may be called on any.
class EventSignal {
 public:
  // Error with the errno of eventfd(2).
  EventSignal() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!event_) mpool::raise_system(errno, "eventfd", "cannot be made");
  }

  // Readable from raise() until clear(), or until 8 bytes are read from it.
  int descriptor() const noexcept { return event_.get(); }
  void raise() const noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);
    assert(written == sizeof one);
  }
  void clear() const noexcept {
    std::uint64_t raised;
    [[maybe_unused]] const auto result = ::read(event_.get(), &raised, sizeof raised);
  }

 private:
  mpool::FileDescriptor event_;
};

}  // namespace mpoolfs
