// Wakes a thread that waits for a descriptor.
#pragma once

#include <cassert>
#include <cerrno>
#include <cstdint>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/io/file_descriptor.h"

namespace mpool {

// An eventfd. Threads: all functions may be called on any.
class EventSignal {
 public:
  // Error with the errno of eventfd(2).
  EventSignal() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!event_) raise_system(errno, "eventfd", "cannot be made");
  }

  // Readable from raise() until clear(), or until 8 bytes are read from it.
  int descriptor() const noexcept { return event_.get(); }
  void raise() const noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);
    assert(written == sizeof one);
  }
  void clear() const noexcept { clear(event_); }
  // Of any eventfd.
  static void clear(const FileDescriptor& event) noexcept {
    std::uint64_t raised;
    [[maybe_unused]] const auto result = ::read(event.get(), &raised, sizeof raised);
  }
  FileDescriptor release() && noexcept { return std::move(event_); }

 private:
  FileDescriptor event_;
};

}  // namespace mpool
