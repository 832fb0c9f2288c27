// Converts the exception of a request's handler into the answer.
#pragma once

#include <string_view>
#include <utility>

#include "fuse/ops/errors.h"
#include "fuse/ops/file_system.h"
#include "fuse/ops/request_context.h"

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

// The same for requests that change something: the change comes after all closes that the caller
// may have seen return. If that would block on a thread that must not block, the request is handed
// over.
template <typename Handler>
void answer_change(fuse_req_t request, std::string_view operation, fuse_ino_t inode,
                   Handler&& handler) noexcept {
  answer(request, operation, inode, [&](FileSystem& file_system) {
    RequestContext& context = RequestContext::current();
    if (context.can_block()) {
      file_system.handles.settle_earlier();
    } else if (!file_system.handles.settled()) {
      return context.defer_to_worker(request);
    }
    std::forward<Handler>(handler)(file_system);
  });
}

}  // namespace mpoolfs
