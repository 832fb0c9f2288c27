// Turns what a request's handler throws into the answer.
#pragma once

#include <string_view>
#include <utility>

#include "fuse/ops/errors.h"
#include "fuse/ops/file_system.h"

namespace mpoolfs {

// Runs `handler(file_system)`, which answers the request as the last thing it does; answers with an
// errno when it throws.
template <typename Handler>
void answer(fuse_req_t request, std::string_view operation, fuse_ino_t inode,
            Handler&& handler) noexcept {
  try {
    std::forward<Handler>(handler)(file_system_of(request));
  } catch (...) {
    fuse_reply_err(request, errno_of_current_exception({operation, inode}));
  }
}

// The same for requests that change something: it comes after all closes that its caller may have
// seen return.
template <typename Handler>
void answer_change(fuse_req_t request, std::string_view operation, fuse_ino_t inode,
                   Handler&& handler) noexcept {
  answer(request, operation, inode, [&](FileSystem& file_system) {
    file_system.open_files.settle_earlier();
    std::forward<Handler>(handler)(file_system);
  });
}

}  // namespace mpoolfs
