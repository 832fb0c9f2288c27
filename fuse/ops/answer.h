// The one place that makes replies of libfuse: of the values and exceptions of handlers.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/statvfs.h>

#include "fuse/ops/call.h"
#include "fuse/ops/errors.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/ops/request_context.h"
#include "fuse/ops/results.h"

namespace mpoolfs {

inline Call call_of(fuse_req_t request) {
  const fuse_ctx& caller = *fuse_req_ctx(request);
  return {.file_system = file_system_of(request),
          .caller = {.uid = caller.uid, .gid = caller.gid},
          .blocking = RequestContext::current().blocking()};
}

// Replies once. A value that says that the handler would block gives the request back to the
// context instead; one that says that an operation is pending suspends the context.
class Reply {
 public:
  explicit Reply(fuse_req_t request) : request_(request) {}

  // error: an errno; 0: success without data.
  void refuse(int error) const noexcept { fuse_reply_err(request_, error); }
  void send(Outcome outcome) const noexcept;
  void send(const mpool::LookupAnswer& found) const noexcept;
  void send(const Entry& entry) const noexcept;
  void send(const fuse_entry_param& entry) const noexcept;
  void send(const mpool::Attributes& attributes) const noexcept;
  void send(const TimedAttributes& attributes) const noexcept;
  void send(const struct statvfs& stats) const noexcept;
  void send(const SizedValue& value) const noexcept;
  void send(const LinkTarget& target) const noexcept;
  void send(const std::vector<char>& data) const noexcept;
  void send(const std::string& data) const noexcept;
  void send(const IoctlData& data) const noexcept;
  void send(FoundOffset found) const noexcept;
  void send(const mpool::ReadResult& read) const noexcept;
  void send(const Written& written) const noexcept;
  // Of an open file, such as Opened: it is kept if the kernel gets it.
  template <typename File>
  requires requires(const File& opened) { opened.reply(); }
  void send(File opened) const noexcept {
    if (send_open(opened.reply())) opened.keep();
  }
  void send(CreatedFile created) const noexcept;
  template <typename Value>
  void send(std::optional<Value> value) const noexcept {
    if (!value) return send(Outcome::would_block);
    send(*std::move(value));
  }

 private:
  bool send_open(const OpenReply& opened) const noexcept;
  void send_later(mpool::IoState state) const noexcept;
  const Presentation& presentation() const { return file_system_of(request_).presentation; }

  fuse_req* const request_;
};

// Replies with what `handler(call)` returns, or with an errno when it throws.
template <typename Handler>
void answer(fuse_req_t request, std::string_view operation, fuse_ino_t inode,
            const Handler& handler) noexcept {
  try {
    Reply(request).send(handler(call_of(request)));
  } catch (...) {
    Reply(request).refuse(
        errno_of_current_exception({operation, inode}, file_system_of(request).pool.logger()));
  }
}

}  // namespace mpoolfs
