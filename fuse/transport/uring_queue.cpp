#include "fuse/transport/uring_queue.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include <linux/fuse.h>

#include "engine/base/error.h"
#include "fuse/transport/uring_abi.h"

namespace mpoolfs {

class UringQueue::Entry final : public Request, public mpool::RingOperation {
 public:
  Entry(UringQueue& queue, Dispatcher& dispatcher, Reactor& reactor, mpool::ByteSpan head,
        mpool::ByteSpan payload)
      : Request(dispatcher, reactor, head, payload),
        queue_(queue),
        headers_(new (head.data()) abi::RequestHeaders),
        parts_{iovec{headers_, sizeof *headers_}, iovec{payload.data(), payload.size()}} {}

  const std::array<iovec, 2>& parts() const { return parts_; }

  // A command ended: with a request, or with an error.
  void completed(std::int32_t result) noexcept override { queue_.fetched(*this, result); }

  // True if the kernel has ever sent a request with it, so it must have accepted it.
  bool was_used() const noexcept { return was_used_; }

  void take_request() noexcept;
  ssize_t answer(const iovec* parts, int count) noexcept override;

 private:
  // Sends the answer to the kernel, and fetches the next request.
  void completed() noexcept override;

  UringQueue& queue_;
  abi::RequestHeaders* const headers_;  // in the first page of the entry
  const std::array<iovec, 2> parts_;
  std::uint64_t commit_id_ = 0;
  bool was_used_ = false;
};

// Assembles the request in the form of the /dev/fuse protocol.
void UringQueue::Entry::take_request() noexcept {
  was_used_ = true;
  fuse_in_header header{};
  std::memcpy(&header, headers_->in_out, sizeof header);
  commit_id_ = headers_->ring.commit_id;
  const std::size_t carried = headers_->ring.payload_size;
  const std::size_t own = header.len - sizeof header - carried;
  if (header.len < sizeof header + carried || carried > payload().size() ||
      own > sizeof headers_->op_in) {
    reactor().logger().error("request {} of type {}: {} bytes with {} of payload: not understood",
                             header.unique, header.opcode, header.len, carried);
    refuse(header.unique, EIO);
    return completed();
  }
  std::byte* const start = payload().data() - own - sizeof header;
  std::memcpy(start, &header, sizeof header);
  std::memcpy(start + sizeof header, headers_->op_in, own);
  arrived({start, header.len});
}

ssize_t UringQueue::Entry::answer(const iovec* parts, int count) noexcept {
  std::size_t length = 0;
  for (int i = 1; i < count; ++i) {
    if (parts[i].iov_len > payload().size() - length) {
      errno = EINVAL;
      return -1;
    }
    // Data that was read into the payload is in place already.
    std::byte* const place = payload().data() + length;
    if (parts[i].iov_base != place) std::memmove(place, parts[i].iov_base, parts[i].iov_len);
    length += parts[i].iov_len;
  }
  note_touched(length);
  std::memcpy(headers_->in_out, parts[0].iov_base,
              std::min(parts[0].iov_len, sizeof headers_->in_out));
  headers_->ring.payload_size = static_cast<std::uint32_t>(length);
  return static_cast<ssize_t>(parts[0].iov_len + length);
}

void UringQueue::Entry::completed() noexcept {
  try {
    queue_.prepare(*this, abi::kCmdCommitAndFetch, commit_id_);
  } catch (const std::exception& error) {
    return reactor().fail(error);
  }
  reactor().note_copied(headers_->ring.payload_size);
  if (headers_->ring.payload_size >= reactor().tunables().submission.large_reply)
    reactor().ring().submit_soon();
}

UringQueue::UringQueue(Dispatcher& dispatcher, Reactor& reactor, const Config& config)
    : reactor_(reactor), config_(config), memory_(config.entries, config.payload_size) {
  entries_.reserve(config.entries);
  for (unsigned i = 0; i < config.entries; ++i) {
    entries_.push_back(
        std::make_unique<Entry>(*this, dispatcher, reactor, memory_.head(i), memory_.payload(i)));
  }
}

UringQueue::~UringQueue() = default;

void UringQueue::register_entries(std::function<void(int error)> refused) {
  refused_ = std::move(refused);
  for (const auto& entry : entries_)
    prepare(*entry, abi::kCmdRegister, 0);
}

void UringQueue::prepare(Entry& entry, std::uint32_t command, std::uint64_t commit_id) {
  io_uring_sqe& submission = reactor_.ring().prepare(entry, true);
  submission.opcode = IORING_OP_URING_CMD;
  submission.fd = config_.fd;
  submission.cmd_op = command;
  submission.addr = reinterpret_cast<std::uintptr_t>(entry.parts().data());
  submission.len = abi::kIovecSegments;
  const abi::CommandRequest request{
      .flags = 0, .commit_id = commit_id, .queue = config_.number, .padding = {}};
  std::memcpy(submission.cmd, &request, sizeof request);
}

void UringQueue::fetched(Entry& entry, std::int32_t result) noexcept {
  if (closed_) return;
  if (result >= 0) return entry.take_request();
  // The mount has ended.
  if (result == -ENOTCONN || result == -ECONNABORTED || result == -ECANCELED) return;
  if (!entry.was_used()) {
    refused_(-result);
  } else {
    reactor_.logger().error("queue {} of FUSE: a command failed: {}", config_.number,
                            mpool::errno_text(-result));
  }
}

void UringQueue::trim() noexcept {
  for (const auto& entry : entries_)
    entry->trim();
}

}  // namespace mpoolfs
