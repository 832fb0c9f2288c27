#include "fuse/ops/errors.h"

#include <cerrno>
#include <new>
#include <stdexcept>

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace mpoolfs {
namespace {

template <typename Exception>
int errno_for(const Exception& exception) {
  try {
    throw exception;
  } catch (...) {
    return errno_of_current_exception({"test", 1}, {});
  }
}

TEST(Errors, CodesOfTheEngineArePassedOn) {
  for (const int code : {ENOENT, EEXIST, EPERM, EINVAL, ENOSPC, EAGAIN, EROFS, ENODATA, ENOTSUP}) {
    EXPECT_EQ(errno_for(mpool::Error(code, "subject", "detail")), code);
  }
}

TEST(Errors, FailuresOfTheMediaAreIoErrors) {
  for (const int code : {EIO, EBADMSG, ENOTRECOVERABLE, EUCLEAN}) {
    EXPECT_EQ(errno_for(mpool::Error(code, "subject", "detail")), EIO);
  }
}

TEST(Errors, OtherExceptions) {
  EXPECT_EQ(errno_for(std::bad_alloc()), ENOMEM);
  EXPECT_EQ(errno_for(std::logic_error("unexpected")), EIO);
  EXPECT_EQ(errno_for(7), EIO);
}

}  // namespace
}  // namespace mpoolfs
