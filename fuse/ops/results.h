// What handlers return; fuse/ops/answer.h makes replies of it. Others return values of the engine.
// A handler that may run where Call::blocking is forbidden returns would_block, or nullopt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>

#include "engine/file/file_io.h"
#include "engine/tree/attributes.h"
#include "fuse/native/backing_files.h"
#include "fuse/ops/handle_of.h"
#include "fuse/ops/handle_table.h"

namespace mpoolfs {

// Of a request that is answered without data.
enum class Outcome : std::uint8_t { done, would_block };

// As functions of the engine that return false where they would block.
inline Outcome done_if(bool done) {
  return done ? Outcome::done : Outcome::would_block;
}

// An inode to which a reference was taken. If the reply does not reach the kernel, the connection
// has ended, and with it all references.
struct Entry {
  mpool::Attributes attributes;
};

// A value of unknown size. room: bytes; 0: only the size is asked for.
struct SizedValue {
  std::string value;
  std::size_t room = 0;
};

// The answer to lseek(2): bytes; nullopt: there is no such offset.
struct FoundOffset {
  std::optional<std::uint64_t> offset;
};

struct Written {
  mpool::IoState state = mpool::IoState::would_block;
  std::size_t size = 0;  // bytes
};

// Attributes as the kernel shows them, which caches them for the timeout.
struct TimedAttributes {
  struct stat shown {};
  double timeout = 0;  // seconds
};

struct IoctlData {
  std::vector<std::byte> out;
};

struct LinkTarget {
  std::string path;
};

// How the kernel caches the content of an open file.
enum class Caching : std::uint8_t {
  none,    // every read and write is a request; a shared mapping fails with ENODEV
  kept,    // also between opens
  native,  // in the backing file
};

// What the kernel is told of an open file.
struct OpenReply {
  std::uint64_t number = 0;  // by which later requests name it
  std::uint32_t backing_id = 0;
  Caching caching = Caching::none;
  bool needs_flush = false;
};

// A registered open file on its way to the kernel. Unless kept, the handle is closed again.
class Opened {
 public:
  Opened(HandleTable& handles, KernelHandle& handle, NativeEntry native, bool writes)
      : handles_(handles), handle_(&handle), native_(std::move(native)), writes_(writes) {
    if (handle.file().cacheable()) {
      caching_ = native_.backing_id() != 0 ? Caching::native : Caching::kept;
    }
  }
  ~Opened() {
    if (handle_ != nullptr) handles_.close(*handle_, mpool::Blocking::allowed);
  }
  Opened(Opened&& other) noexcept
      : handles_(other.handles_),
        handle_(std::exchange(other.handle_, nullptr)),
        native_(std::move(other.native_)),
        caching_(other.caching_),
        writes_(other.writes_) {}
  Opened& operator=(Opened&&) = delete;

  KernelHandle& handle() const { return *handle_; }
  // The close of a read-only descriptor carries no information: no flush.
  OpenReply reply() const {
    return {.number = handle_number(*handle_),
            .backing_id = native_.backing_id(),
            .caching = caching_,
            .needs_flush = writes_};
  }
  // The kernel has the file, and will release it.
  void keep() noexcept {
    native_.keep();
    handle_ = nullptr;
  }

 private:
  HandleTable& handles_;
  KernelHandle* handle_;
  NativeEntry native_;
  Caching caching_ = Caching::none;
  bool writes_;
};

struct CreatedFile {
  Entry entry;
  Opened opened;
};

}  // namespace mpoolfs
