// What the requests of one mount work on.
#pragma once

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
  OpenFiles open_files;
};

inline FileSystem& file_system_of(fuse_req_t request) {
  return *static_cast<FileSystem*>(fuse_req_userdata(request));
}

}  // namespace mpoolfs
