// Converts the exception of a request's handler into the answer.
#pragma once

#include <string_view>
#include <utility>

#include "fuse/ops/errors.h"
#include "fuse/ops/file_system.h"

namespace mpoolfs {

// Runs `handler(file_system)`, which answers the request as its last action; answers with an errno
// when it throws.
template <typename Handler>
void answer(fuse_req_t request, std::string_view operation, fuse_ino_t inode,
            Handler&& handler) noexcept {
  try {
    std::forward<Handler>(handler)(file_system_of(request));
  } catch (...) {
    fuse_reply_err(request, errno_of_current_exception({operation, inode}));
  }
}

}  // namespace mpoolfs
