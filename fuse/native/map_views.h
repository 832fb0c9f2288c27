// Views of maps: any number of maps, made at any time, in few views.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "engine/file/layout.h"
#include "engine/io/file_descriptor.h"
#include "fuse/native/view.h"
#include "fuse/native/view_devices.h"

namespace mpoolfs {

// A view costs a mount and a loop device, so maps share them: an image has names and room for
// kErofsSlots files (erofs_slots.h), of which each is written just before it is opened for the
// first time.
//
// Threads: all functions may be called at the same time.
class MapViews {
 public:
  // A file of a view, for as long as it is read.
  class File {
   public:
    using Ending = std::shared_ptr<const std::atomic<bool>>;
    File(std::shared_ptr<const View> view, unsigned slot, Ending ending)
        : view_(std::move(view)), slot_(slot), ending_(std::move(ending)) {}
    ~File();
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    mpool::FileDescriptor open() const;  // errors as View::open()
    // Calls with a descriptor. Not for what takes long: see without_looks().
    template <typename Call>
    auto look(const Call& call) const {
      const std::lock_guard lock(look_mutex_);
      const mpool::FileDescriptor file = open();
      return call(file.get());
    }
    // As long as the lock is held no look() has the file open. Taken before other locks, or only
    // tried.
    std::unique_lock<std::mutex> without_looks() const { return std::unique_lock(look_mutex_); }
    std::unique_lock<std::mutex> try_without_looks() const {
      return {look_mutex_, std::try_to_lock};
    }

   private:
    mutable std::mutex look_mutex_;
    const std::shared_ptr<const View> view_;
    const unsigned slot_;
    const Ending ending_;
  };

  // The devices are attached, and must outlive it. read_ahead: bytes, of a fault or read.
  MapViews(const ViewDevices& devices, std::uint64_t read_ahead)
      : devices_(devices), read_ahead_(read_ahead) {}

  // nullptr: EROFS cannot show it. Errors as View.
  std::shared_ptr<const File> add(const mpool::FileLayout& layout);
  // The mount ends: from now on files may end that processes still read.
  void stop() { *ending_ = true; }

 private:
  const ViewDevices& devices_;
  const std::uint64_t read_ahead_;
  const std::shared_ptr<std::atomic<bool>> ending_ = std::make_shared<std::atomic<bool>>(false);
  std::mutex mutex_;  // guards the following
  std::shared_ptr<const View> view_;
  unsigned next_slot_ = 0;
};

}  // namespace mpoolfs
