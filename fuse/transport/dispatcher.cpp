#include "fuse/transport/dispatcher.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <span>
#include <utility>

#include <linux/fuse.h>

#include "engine/base/error.h"

namespace mpoolfs {

namespace {

// The largest answer that is completed (replies.h), in bytes.
constexpr std::size_t kCompletedSize = 256;

// Requests that are answered, or first handled, on the reactor; all others may block.
bool starts_on_reactor(std::uint32_t opcode) {
  switch (opcode) {
    case FUSE_READ:
    case FUSE_WRITE:
    case FUSE_LOOKUP:
    case FUSE_GETATTR:
    case FUSE_SETATTR:
    case FUSE_GETXATTR:
    case FUSE_READLINK:
    case FUSE_FLUSH:
    case FUSE_OPEN:
    case FUSE_CREATE:
    case FUSE_RELEASE:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
    case FUSE_MKDIR:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
    case FUSE_INIT:
    case FUSE_DESTROY:
      return true;
    default:
      return false;
  }
}

fuse_out_header header_of(const iovec& part) {
  fuse_out_header header{};
  if (part.iov_len >= sizeof header) std::memcpy(&header, part.iov_base, sizeof header);
  return header;
}

}  // namespace

Dispatcher::Dispatcher(fuse_session* session, int fd, unsigned workers, const mpool::Logger& logger,
                       mpool::Metrics& metrics, mpool::Clock& clock)
    : session_(session),
      logger_(logger),
      metrics_(metrics),
      clock_(clock),
      workers_(workers, logger),
      closers_(workers, logger) {
  const fuse_custom_io io{.writev = write_reply,
                          .read = refuse_read,
                          .splice_receive = nullptr,
                          .splice_send = nullptr};
  const int result = fuse_session_custom_io(session, &io, fd);
  if (result != 0) mpool::raise(-result, "fuse", "custom input and output are refused");
}

void Dispatcher::on_init(Extensions wanted, std::function<void(Extensions taken)> answered) {
  wanted_ = wanted;
  init_answered_ = std::move(answered);
}

void Dispatcher::handle(Request& request) noexcept {
  adapt_request(request.message_);
  if (starts_on_reactor(request.opcode())) {
    process(request, false);
    if (request.suspended_) return;
    if (!request.deferred_) return request.done();
  }
  request.reactor().work_started();
  try {
    (request.opcode() == FUSE_RELEASE ? closers_ : workers_).post(request);
  } catch (const std::exception& error) {
    request.reactor().work_ended();
    logger_.error("no thread for a request: {}", error.what());
    request.refuse(request.unique(), EAGAIN);
    request.done();
  }
}

void Dispatcher::process(Request& request, bool can_block) noexcept {
  const RequestContext::Scope scope(request);
  request.can_block_ = can_block;
  request.deferred_ = false;
  fuse_buf buffer{};
  buffer.size = request.message().size();
  buffer.mem = const_cast<std::byte*>(request.message().data());
  fuse_session_process_buf(session_, &buffer);
}

// Output of libfuse: answers, and notifications, which have no number. An INTERRUPT may be answered
// during another request; it came through /dev/fuse, whatever the transport of other requests.
ssize_t Dispatcher::write_reply(int fd, iovec* parts, int count, void*) {
  auto* const request = static_cast<Request*>(RequestContext::current_or_none());
  if (request == nullptr || header_of(parts[0]).unique != request->unique()) {
    return ::writev(fd, parts, count);
  }
  return request->dispatcher_.complete_and_answer(*request, parts, count);
}

ssize_t Dispatcher::refuse_read(int, void*, std::size_t, void*) {
  errno = ENOSYS;
  return -1;
}

ssize_t Dispatcher::complete_and_answer(Request& request, const iovec* parts, int count) noexcept {
  const std::uint32_t opcode = request.opcode();
  const bool good = header_of(parts[0]).error == 0;
  request.count(!good);
  if (!good || count != 2 || parts[1].iov_len > kCompletedSize || !needs_completion(opcode)) {
    return request.answer(parts, count);
  }
  const Extensions taken =
      opcode == FUSE_INIT ? extensions_offered(request.message(), wanted_) : Extensions();
  std::array<std::byte, kCompletedSize> body;
  std::memcpy(body.data(), parts[1].iov_base, parts[1].iov_len);
  complete_reply(opcode, std::span(body).first(parts[1].iov_len), taken, request.backing_id_);
  const std::array<iovec, 2> completed{parts[0],
                                       iovec{.iov_base = body.data(), .iov_len = parts[1].iov_len}};
  const ssize_t result = request.answer(completed.data(), 2);
  if (opcode == FUSE_INIT && result >= 0 && init_answered_) init_answered_(taken);
  return result;
}

}  // namespace mpoolfs
