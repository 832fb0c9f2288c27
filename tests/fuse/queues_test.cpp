// The queues of requests, with a socket instead of the kernel.
#include <algorithm>
#include <array>
#include <cerrno>
#include <future>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "fuse/transport/dev_queue.h"
#include "fuse/transport/dispatcher.h"
#include "fuse/transport/uring_queue.h"
#include "tests/fuse/fake_session.h"
#include "tests/fuse/reactor_config.h"

namespace mpoolfs {
namespace {

// The two ends of something that keeps the borders of messages, as /dev/fuse does.
struct FakeDevice {
  FakeDevice() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    kernel = mpool::FileDescriptor(ends[0]);
    daemon = mpool::FileDescriptor(ends[1]);
    EXPECT_EQ(::fcntl(daemon.get(), F_SETFL, O_NONBLOCK), 0);
  }
  void send(const test::Message& message) const {
    const std::vector<std::byte> bytes = message.bytes();
    EXPECT_EQ(::send(kernel.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
  }
  test::Answered receive() const {
    std::vector<std::byte> reply(1u << 16);
    const ssize_t length = ::recv(kernel.get(), reply.data(), reply.size(), 0);
    EXPECT_GT(length, 0);
    reply.resize(static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
    return test::Answered(reply);
  }

  mpool::FileDescriptor kernel, daemon;
};

// A lookup waits on a worker for leave_; every other request is answered at once.
class QueuesTest : public testing::Test {
 protected:
  static constexpr unsigned kSlots = 2;
  static constexpr std::size_t kPayloadSize = 1u << 20;

  ~QueuesTest() override {
    reactor_.stop();
    reactor_.join();
    dispatcher_.finish();
  }
  // Runs a function on the reactor's thread, and waits for it.
  template <typename Function>
  void on_reactor(Function function) {
    struct Operation final : mpool::RingOperation {
      explicit Operation(Function what) : work(std::move(what)) {}
      void completed(std::int32_t) noexcept override {
        work();
        done.set_value();
      }
      Function work;
      std::promise<void> done;
    } operation(std::move(function));
    reactor_.post(operation, 0);
    operation.done.get_future().wait();
  }
  void start() {
    reactor_.start([](const std::string&) {});
    on_reactor([this] { queue_.start(); });
    device_.send(test::init_message());
    EXPECT_EQ(device_.receive().error, 0);
  }
  static test::Message getattr(std::uint64_t unique) {
    return test::Message(FUSE_GETATTR, unique, 1).with(fuse_getattr_in{});
  }
  static fuse_lowlevel_ops make_ops() {
    fuse_lowlevel_ops ops{};
    ops.getattr = [](fuse_req_t request, fuse_ino_t, fuse_file_info*) {
      fuse_reply_err(request, ESTALE);
    };
    ops.mknod = [](fuse_req_t request, fuse_ino_t, const char*, mode_t, dev_t) {
      static_cast<QueuesTest*>(fuse_req_userdata(request))->leave_future_.wait();
      fuse_reply_err(request, EEXIST);
    };
    return ops;
  }

  const fuse_lowlevel_ops ops_ = make_ops();
  FakeDevice device_;
  std::promise<void> leave_;
  std::shared_future<void> leave_future_ = leave_.get_future().share();
  std::promise<int> ended_;
  std::unique_ptr<fuse_session, test::DestroyFakeSession> session_ = test::make_session(ops_, this);
  mpool::Metrics metrics_;
  Dispatcher dispatcher_{session_.get(), device_.daemon.get(), 4, {},
                         metrics_,       mpool::system_clock()};
  Reactor reactor_{test::reactor_config()};
  DevQueue queue_{dispatcher_,
                  reactor_,
                  {.fd = device_.daemon.get(), .slots = kSlots, .payload_size = kPayloadSize},
                  [this](int error) { ended_.set_value(error); }};
};

TEST_F(QueuesTest, DevAnswersEachRequest) {
  start();
  for (std::uint64_t unique = 2; unique < 50; ++unique)
    device_.send(getattr(unique));
  for (std::uint64_t unique = 2; unique < 50; ++unique) {
    const test::Answered answer = device_.receive();
    EXPECT_EQ(answer.unique, unique);
    EXPECT_EQ(answer.error, ESTALE);
  }
}

TEST_F(QueuesTest, DevLeavesRequestsInTheKernelUntilASlotIsFree) {
  start();
  const fuse_mknod_in arguments{};
  for (std::uint64_t unique = 2; unique < 2 + kSlots; ++unique)
    device_.send(test::Message(FUSE_MKNOD, unique, 1).with(arguments).named("d"));
  device_.send(getattr(10));
  bool found = true;
  // Takes the requests in, if the thread has not done so yet; no slot is left then.
  on_reactor([&] {
    queue_.read_all();
    found = queue_.read_all();
  });
  EXPECT_FALSE(found);
  leave_.set_value();
  for (unsigned reply = 0; reply <= kSlots; ++reply) {
    const test::Answered answer = device_.receive();
    EXPECT_EQ(answer.error, answer.unique == 10 ? ESTALE : EEXIST);
  }
}

TEST_F(QueuesTest, DevTakesInWhatWasSentWhenAsked) {
  start();
  bool found = false;
  on_reactor([&] {
    device_.send(getattr(2));
    found = queue_.read_all();
  });
  EXPECT_TRUE(found);
  EXPECT_EQ(device_.receive().unique, 2u);
}

TEST_F(QueuesTest, DevReadsNothingAfterItsClose) {
  start();
  on_reactor([&] {
    queue_.close();
    device_.send(getattr(2));
    EXPECT_FALSE(queue_.read_all());
  });
}

TEST_F(QueuesTest, DevReportsAFailedRead) {
  start();
  device_.kernel = {};  // a read of the other end has no data
  EXPECT_EQ(ended_.get_future().get(), EIO);
}

TEST_F(QueuesTest, UringReportsEachRefusedEntry) {
  constexpr unsigned kEntries = 3;
  UringQueue uring(
      dispatcher_, reactor_,
      {.fd = device_.daemon.get(), .number = 0, .entries = kEntries, .payload_size = kPayloadSize});
  start();
  std::vector<int> refused;
  on_reactor([&] {
    uring.register_entries([&](int error) { refused.push_back(error); });
    reactor_.ring().submit();
    reactor_.ring().run_completions();
  });
  on_reactor([] {});
  EXPECT_EQ(refused.size(), kEntries) << "a socket has no such command";
  for (const int error : refused)
    EXPECT_NE(error, 0);
}

TEST(CloneFuse, FailsForWhatIsNoMount) {
  const FakeDevice device;
  try {
    clone_fuse(device.daemon.get());
    FAIL() << "cloned a socket";
  } catch (const mpool::Error& error) {
    EXPECT_NE(error.code(), 0);
  }
}

}  // namespace
}  // namespace mpoolfs
