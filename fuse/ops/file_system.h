// What the requests of one mount work on.
#pragma once

#include <atomic>
#include <functional>

#include "engine/names/names.h"
#include "fuse/ops/attributes.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/ops/open_files.h"

namespace mpoolfs {

// The user data of the session. Lives longer than it.
struct FileSystem {
  mpool::Namespace& names;
  Presentation presentation;
  // Called once, when the kernel has said what it can do and is about to send requests.
  std::function<void()> on_ready;
  // Called once, with the first request, on the thread that answers it: what was agreed on with the
  // kernel is in force from here on.
  std::function<void()> on_first_request;
  OpenFiles open_files;
  std::atomic<bool> had_request = false;

  void note_request() {
    if (had_request.load(std::memory_order_relaxed) || had_request.exchange(true)) return;
    if (on_first_request) on_first_request();
  }
};

inline FileSystem& file_system_of(fuse_req_t request) {
  return *static_cast<FileSystem*>(fuse_req_userdata(request));
}

}  // namespace mpoolfs
