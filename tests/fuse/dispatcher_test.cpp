#include "fuse/transport/dispatcher.h"

#include <cerrno>
#include <condition_variable>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "fuse/native/passthrough_abi.h"
#include "fuse/ops/operations.h"
#include "fuse/transport/uring_abi.h"
#include "tests/fuse/fake_session.h"
#include "tests/fuse/ops_support.h"
#include "tests/fuse/reactor_config.h"

namespace mpoolfs {
namespace {

using test::Answered;
using test::Message;

constexpr std::size_t kPayloadSize = 1u << 20;

// A request whose kernel is the test: its reply is kept.
class TestRequest final : public Request, private mpool::RingOperation {
 public:
  TestRequest(Dispatcher& dispatcher, Reactor& reactor, RequestMemory& memory)
      : Request(dispatcher, reactor, memory.head(0), memory.payload(0)) {}

  // The reply: to none, or to one that the kernel has dropped (errno), it is empty.
  Answered perform(const Message& message, int drop = 0) {
    start(message, drop);
    return wait();
  }
  void start(const Message& message, int drop = 0) {
    message_bytes_ = message.bytes();
    reply_.clear();
    drop_ = drop;
    finished_ = false;
    reactor().post(*this, 0);
  }
  Answered wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return finished_; });
    return Answered(reply_);
  }

  ssize_t answer(const iovec* parts, int count) noexcept override {
    if (drop_ != 0) {
      errno = drop_;
      return -1;
    }
    for (const iovec& part : std::span(parts, static_cast<std::size_t>(count))) {
      const auto* const data = static_cast<const std::byte*>(part.iov_base);
      reply_.insert(reply_.end(), data, data + part.iov_len);
    }
    return static_cast<ssize_t>(reply_.size());
  }

 private:
  // On the reactor's thread: the request arrives.
  void completed(std::int32_t) noexcept override {
    std::byte* const start_of = payload().data() - message_bytes_.size();
    std::memcpy(start_of, message_bytes_.data(), message_bytes_.size());
    arrived({start_of, message_bytes_.size()});
  }
  void completed() noexcept override {
    const std::lock_guard lock(mutex_);
    finished_ = true;
    changed_.notify_one();
  }

  std::vector<std::byte> message_bytes_;
  std::vector<std::byte> reply_;
  int drop_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool finished_ = false;
};

// A session, its dispatcher, and the thread of a CPU.
struct Machinery {
  Machinery(const fuse_lowlevel_ops& ops, void* user_data, unsigned workers = 2)
      : session(test::make_session(ops, user_data)),
        dispatcher(session.get(), 0, workers, {}, metrics, mpool::system_clock()) {
    reactor.start([](const std::string&) {});
  }
  ~Machinery() {
    reactor.stop();
    reactor.join();
    dispatcher.finish();
  }
  Machinery(const Machinery&) = delete;
  Machinery& operator=(const Machinery&) = delete;

  std::unique_ptr<fuse_session, test::DestroyFakeSession> session;
  mpool::Metrics metrics;
  Dispatcher dispatcher;
  Reactor reactor{test::reactor_config()};
};

// Handlers that note where they run.
class DispatcherTest : public testing::Test {
 protected:
  struct Run {
    bool can_block = false;
    std::thread::id thread;
  };

  static DispatcherTest& of(fuse_req_t request) {
    return *static_cast<DispatcherTest*>(fuse_req_userdata(request));
  }
  void note() {
    const std::lock_guard lock(mutex_);
    runs_.push_back({RequestContext::current().can_block(), std::this_thread::get_id()});
  }
  static fuse_lowlevel_ops make_ops() {
    fuse_lowlevel_ops ops{};
    ops.lookup = [](fuse_req_t request, fuse_ino_t, const char* name) {
      of(request).note();
      RequestContext& context = RequestContext::current();
      if (!context.can_block() && std::string_view(name) == "defer") {
        return context.defer_to_worker(request);
      }
      fuse_reply_err(request, ENOENT);
    };
    ops.mknod = [](fuse_req_t request, fuse_ino_t, const char*, mode_t, dev_t) {
      of(request).note();
      of(request).entered_.set_value();
      of(request).leave_.get_future().wait();
      fuse_reply_err(request, EEXIST);
    };
    ops.release = [](fuse_req_t request, fuse_ino_t, fuse_file_info*) {
      RequestContext& context = RequestContext::current();
      if (!context.can_block()) return context.defer_to_worker(request);
      fuse_reply_err(request, 0);
    };
    return ops;
  }

  const fuse_lowlevel_ops ops_ = make_ops();
  std::mutex mutex_;
  std::vector<Run> runs_;
  std::promise<void> entered_, leave_;
  Machinery machinery_{ops_, this, 1};
  RequestMemory memory_{1, kPayloadSize}, other_memory_{1, kPayloadSize};
  TestRequest request_{machinery_.dispatcher, machinery_.reactor, memory_};
  TestRequest other_{machinery_.dispatcher, machinery_.reactor, other_memory_};
};

TEST_F(DispatcherTest, ALookupIsAnsweredOnTheReactor) {
  request_.perform(test::init_message());
  const Answered answer = request_.perform(Message(FUSE_LOOKUP, 7, 1).named("x"));
  EXPECT_EQ(answer.unique, 7u);
  EXPECT_EQ(answer.error, ENOENT);
  ASSERT_EQ(runs_.size(), 1u);
  EXPECT_FALSE(runs_[0].can_block);
}

TEST_F(DispatcherTest, ADeferredRequestIsHandledAgainOnAWorker) {
  request_.perform(test::init_message());
  const Answered answer = request_.perform(Message(FUSE_LOOKUP, 8, 1).named("defer"));
  EXPECT_EQ(answer.unique, 8u);
  EXPECT_EQ(answer.error, ENOENT);
  ASSERT_EQ(runs_.size(), 2u);
  EXPECT_FALSE(runs_[0].can_block);
  EXPECT_TRUE(runs_[1].can_block);
  EXPECT_NE(runs_[0].thread, runs_[1].thread);
}

TEST_F(DispatcherTest, RequestsThatMayBlockStartOnAWorkerAndClosesHaveTheirOwn) {
  request_.perform(test::init_message());
  request_.start(Message(FUSE_MKNOD, 9, 1).with(fuse_mknod_in{}).named("d"));
  entered_.get_future().wait();
  EXPECT_EQ(other_.perform(Message(FUSE_RELEASE, 10, 2).with(fuse_release_in{})).error, 0)
      << "while the only worker is busy";
  EXPECT_EQ(other_.perform(Message(FUSE_LOOKUP, 11, 1).named("x")).error, ENOENT);
  leave_.set_value();
  EXPECT_EQ(request_.wait().error, EEXIST);
  EXPECT_TRUE(runs_[0].can_block);
}

TEST_F(DispatcherTest, UnknownRequestsAreRefused) {
  EXPECT_EQ(request_.perform(Message(FUSE_LOOKUP, 5, 1).named("x")).error, EIO) << "before INIT";
  request_.perform(test::init_message());
  EXPECT_EQ(request_.perform(Message(FUSE_GETATTR, 6, 1).with(fuse_getattr_in{})).error, ENOSYS);
  EXPECT_EQ(request_.perform(Message(4000, 7, 1)).error, ENOSYS);
  EXPECT_TRUE(runs_.empty());
}

TEST_F(DispatcherTest, InitTakesTheExtensionsThatAreWantedAndOffered) {
  std::optional<Extensions> taken;
  machinery_.dispatcher.on_init({.uring = true, .passthrough = true},
                                [&](Extensions extensions) { taken = extensions; });
  const Answered answer = request_.perform(test::init_message(abi::kInitPassthrough));
  EXPECT_EQ(answer.error, 0);
  EXPECT_EQ(taken, (Extensions{.uring = false, .passthrough = true}));
  EXPECT_EQ(answer.as<fuse_init_out>().flags2, abi::kInitPassthrough >> 32);
}

// The whole way, with the handlers of the product.
class RequestsTest : public test::OpsTest {
 protected:
  void SetUp() override { request_.perform(test::init_message()); }
  Answered lookup(const char* name) {
    return request_.perform(Message(FUSE_LOOKUP, 3, 1).named(name));
  }
  Answered open(mpool::InodeNumber number, int drop = 0) {
    return request_.perform(Message(FUSE_OPEN, 4, number).with(fuse_open_in{}), drop);
  }

  Machinery machinery_{operations(), &mount_->file_system};
  RequestMemory memory_{1, kPayloadSize};
  TestRequest request_{machinery_.dispatcher, machinery_.reactor, memory_};
};

TEST_F(RequestsTest, ValuesBecomeReplies) {
  const Answered made = request_.perform(
      Message(FUSE_MKDIR, 2, 1).with(fuse_mkdir_in{.mode = 0750, .umask = 0}).named("d"));
  ASSERT_EQ(made.error, 0);
  EXPECT_EQ(made.as<fuse_entry_out>().nodeid, inode("d"));
  EXPECT_EQ(made.as<fuse_entry_out>().attr.uid, 1000u);
  EXPECT_EQ(made.as<fuse_entry_out>().attr.mode, mode_t{S_IFDIR | 0750});
  EXPECT_EQ(lookup("d").as<fuse_entry_out>().nodeid, inode("d"));
  const Answered absent = lookup("e");
  EXPECT_EQ(absent.error, 0);
  EXPECT_EQ(absent.as<fuse_entry_out>().nodeid, 0u) << "the kernel may cache that";
  EXPECT_GT(absent.as<fuse_entry_out>().entry_valid, 0u);

  tree_.put("f", "content");
  const Answered attributes =
      request_.perform(Message(FUSE_GETATTR, 5, inode("f")).with(fuse_getattr_in{}));
  EXPECT_EQ(attributes.as<fuse_attr_out>().attr.size, 7u);
  const Answered stats = request_.perform(Message(FUSE_STATFS, 6, 1));
  EXPECT_EQ(stats.as<fuse_statfs_out>().st.namelen, 255u);
}

TEST_F(RequestsTest, ErrorsBecomeReplies) {
  EXPECT_EQ(request_.perform(Message(FUSE_RMDIR, 2, 1).named("d")).error, ENOENT);
  tree_.put("f", "content");
  EXPECT_EQ(request_.perform(Message(FUSE_LOOKUP, 2, inode("f")).named("x")).error, ENOTDIR);
  EXPECT_EQ(request_.perform(Message(FUSE_OPENDIR, 2, 1).with(fuse_open_in{})).error, ENOSYS);
  EXPECT_EQ(request_.perform(Message(FUSE_READLINK, 2, 1)).error, EINVAL);
}

TEST_F(RequestsTest, ARequestThatWouldBlockIsAnsweredByAWorker) {
  tree_.append("log", "record");
  EXPECT_EQ(request_.perform(Message(FUSE_UNLINK, 2, 1).named("log")).error, 0);
  EXPECT_TRUE(tree_.list("").empty());
}

TEST_F(RequestsTest, AnExtendedAttributeHasASizeAndAValue) {
  tree_.put("f", "content");
  names().set_xattr(inode("f"), "user.a", "value", 0);
  const auto get = [&](std::uint32_t room) {
    fuse_getxattr_in in{};
    in.size = room;
    return request_.perform(Message(FUSE_GETXATTR, 2, inode("f")).with(in).named("user.a"));
  };
  EXPECT_EQ(get(0).as<fuse_getxattr_out>().size, 5u);
  EXPECT_EQ(get(100).body.size(), 5u);
  EXPECT_EQ(get(4).error, ERANGE);
}

TEST_F(RequestsTest, AnOpenFileIsClosedAgainWhenTheKernelDroppedTheRequest) {
  tree_.put("f", "content");
  open(inode("f"), ENOENT);
  EXPECT_EQ(handles().count(), 0u);
  const Answered opened = open(inode("f"));
  ASSERT_EQ(opened.error, 0);
  const auto out = opened.as<fuse_open_out>();
  EXPECT_EQ(out.open_flags, FOPEN_KEEP_CACHE | FOPEN_NOFLUSH);
  EXPECT_EQ(handles().count(), 1u);
  fuse_release_in release_in{};
  release_in.fh = out.fh;
  EXPECT_EQ(request_.perform(Message(FUSE_RELEASE, 9, inode("f")).with(release_in)).error, 0);
  EXPECT_EQ(handles().count(), 0u);
}

TEST_F(RequestsTest, CreateWriteReadRelease) {
  fuse_create_in create_in{};
  create_in.flags = O_RDWR | O_CREAT;
  create_in.mode = S_IFREG | 0644;
  const Answered created = request_.perform(Message(FUSE_CREATE, 2, 1).with(create_in).named("f"));
  ASSERT_EQ(created.error, 0);
  fuse_open_out opened{};
  ASSERT_EQ(created.body.size(), sizeof(fuse_entry_out) + sizeof opened);
  std::memcpy(&opened, created.body.data() + sizeof(fuse_entry_out), sizeof opened);
  EXPECT_EQ(opened.open_flags, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
  const auto entry = created.as<fuse_entry_out>();
  EXPECT_GT(entry.attr_valid + entry.attr_valid_nsec, 0u);
  const auto number = entry.nodeid;

  fuse_write_in write_in{};
  write_in.fh = opened.fh;
  write_in.size = 8;
  const Answered written =
      request_.perform(Message(FUSE_WRITE, 3, number).with(write_in).named("content"));
  EXPECT_EQ(written.as<fuse_write_out>().size, 8u);
  fuse_read_in read_in{};
  read_in.fh = opened.fh;
  read_in.size = 100;
  const Answered read = request_.perform(Message(FUSE_READ, 4, number).with(read_in));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(read.body.data()), read.body.size()),
            std::string("content\0", 8));
  fuse_release_in release_in{};
  release_in.fh = opened.fh;
  EXPECT_EQ(request_.perform(Message(FUSE_RELEASE, 5, number).with(release_in)).error, 0);
  EXPECT_EQ(tree_.stat("f").size, 8u);
}

TEST_F(RequestsTest, AForgetHasNoReply) {
  tree_.put("f", "content");
  const auto number = lookup("f").as<fuse_entry_out>().nodeid;
  tree_.unlink("f");
  EXPECT_EQ(names().attributes(number).links, 0u);
  fuse_forget_in forget_in{};
  forget_in.nlookup = 1;
  EXPECT_EQ(request_.perform(Message(FUSE_FORGET, 6, number).with(forget_in)).unique, 0u);
  EXPECT_NE(test::errno_of([&] { names().attributes(number); }), 0);
}

}  // namespace
}  // namespace mpoolfs
