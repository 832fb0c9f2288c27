#include "fuse/session.h"

#include <cerrno>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "tests/fuse/ops_support.h"
#include "tests/support/temporary_directory.h"

namespace mpoolfs {
namespace {

using testing::HasSubstr;

// A session that is never mounted; what a mount does is tested in tests/mount.
class SessionTest : public test::OpsTest {
 protected:
  // The error of mounting.
  mpool::Error refusal() {
    try {
      const Session session(mount_->file_system, options_, transport_);
    } catch (const mpool::Error& error) {
      return error;
    }
    ADD_FAILURE() << "mounted on " << options_.mount_point;
    return mpool::Error(0, "", "");
  }

  mpool::test::TemporaryDirectory directory_;
  SharedTransportInfo transport_;
  Options options_ = [this] {
    Options options;
    options.source = "test";
    options.mount_point = directory_ / "absent";
    options.transport = TransportChoice::dev;
    return options;
  }();
};

TEST_F(SessionTest, NamesTheMountPointThatCannotBeUsed) {
  const mpool::Error error = refusal();
  EXPECT_NE(error.code(), 0);
  EXPECT_EQ(error.subject(), options_.mount_point);
  EXPECT_THAT(error.detail(), HasSubstr("mounting failed"));
}

TEST_F(SessionTest, RefusesAMountFlagThatTheLibraryDoesNotKnow) {
  options_.mount_flags = {"nonsense"};
  const mpool::Error error = refusal();
  EXPECT_EQ(error.code(), EINVAL);
  EXPECT_THAT(error.detail(), HasSubstr("nonsense"));
}

TEST_F(SessionTest, TheTransportIsUnknownBeforeTheMount) {
  refusal();
  EXPECT_EQ(transport_.get().name, "");
  transport_.set({.name = "dev",
                  .reason = "",
                  .queues = 1,
                  .threads = 2,
                  .max_write = kMaxRequestSize,
                  .passthrough = false});
  EXPECT_EQ(transport_.get().threads, 2u);
}

}  // namespace
}  // namespace mpoolfs
