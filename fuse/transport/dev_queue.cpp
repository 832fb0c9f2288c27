#include "fuse/transport/dev_queue.h"

#include <cerrno>
#include <cstdint>
#include <exception>
#include <utility>

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/base/error.h"

namespace mpoolfs {

namespace {

// The data of a WRITE follows these: this read puts it at the start of the payload.
constexpr std::size_t kFixedSize = sizeof(fuse_in_header) + sizeof(fuse_write_in);

}  // namespace

mpool::FileDescriptor clone_fuse(int fd) {
  mpool::FileDescriptor clone(::open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!clone) mpool::raise_system(errno, "/dev/fuse", "open");
  auto number = static_cast<std::uint32_t>(fd);
  if (::ioctl(clone.get(), FUSE_DEV_IOC_CLONE, &number) != 0) {
    mpool::raise_system(errno, "/dev/fuse", "FUSE_DEV_IOC_CLONE");
  }
  return clone;
}

class DevQueue::Slot final : public Request {
 public:
  Slot(DevQueue& queue, Dispatcher& dispatcher, Reactor& reactor, mpool::ByteSpan head,
       mpool::ByteSpan payload)
      : Request(dispatcher, reactor, head, payload), queue_(queue) {}

  // Reads one request from the descriptor: the number of bytes, or -1 with errno.
  ssize_t read() noexcept {
    return ::read(queue_.config_.fd, payload().data() - kFixedSize, kFixedSize + payload().size());
  }
  void take_request(std::size_t length) noexcept {
    arrived({payload().data() - kFixedSize, length});
  }

  ssize_t answer(const iovec* parts, int count) noexcept override {
    for (int i = 1; i < count; ++i)
      note_touched(parts[i].iov_len);
    return ::writev(queue_.config_.fd, parts, count);
  }

 private:
  void completed() noexcept override {
    queue_.free_.push_back(this);
    queue_.watch();
  }

  DevQueue& queue_;
};

DevQueue::DevQueue(Dispatcher& dispatcher, Reactor& reactor, const Config& config,
                   std::function<void(int error)> ended)
    : reactor_(reactor),
      config_(config),
      memory_(config.slots, config.payload_size),
      ended_(std::move(ended)) {
  slots_.reserve(config.slots);
  free_.reserve(config.slots);
  for (unsigned i = 0; i < config.slots; ++i) {
    slots_.push_back(
        std::make_unique<Slot>(*this, dispatcher, reactor, memory_.head(i), memory_.payload(i)));
    free_.push_back(slots_.back().get());
  }
}

DevQueue::~DevQueue() = default;

void DevQueue::start() {
  watch();
}

void DevQueue::watch() noexcept {
  if (closed_ || watching_ || free_.empty()) return;
  try {
    io_uring_prep_poll_add(&reactor_.ring().prepare(readable_, true), config_.fd, POLLIN);
    watching_ = true;
  } catch (const std::exception& error) {
    reactor_.fail(error);
  }
}

void DevQueue::readable(std::int32_t) noexcept {
  watching_ = false;
  if (closed_) return;
  read_up_to(reactor_.tunables().requests.dev_batch);
  watch();
}

bool DevQueue::read_all() noexcept {
  return read_up_to(config_.slots) > 0;
}

unsigned DevQueue::read_up_to(unsigned limit) noexcept {
  unsigned count = 0;
  while (count < limit && !closed_ && !free_.empty() && read_one())
    ++count;
  return count;
}

// False when nothing more can be read now.
bool DevQueue::read_one() noexcept {
  Slot* const slot = free_.back();
  const ssize_t length = slot->read();
  if (length >= static_cast<ssize_t>(sizeof(fuse_in_header))) {
    free_.pop_back();
    slot->take_request(static_cast<std::size_t>(length));
    return true;
  }
  const int code = length < 0 ? errno : EIO;
  // ENOENT: the request was dropped before it was read.
  if (code == ENOENT || code == EINTR) return true;
  // The mount has ended; ECONNABORTED if it ended while a request was being read.
  const bool gone = code == ENODEV || code == ECONNABORTED;
  if (code != EAGAIN) end(gone ? 0 : code);
  return false;
}

void DevQueue::end(int error) noexcept {
  closed_ = true;
  if (ended_) std::exchange(ended_, nullptr)(error);
}

void DevQueue::trim() noexcept {
  for (const auto& slot : slots_)
    slot->trim();
}

}  // namespace mpoolfs
