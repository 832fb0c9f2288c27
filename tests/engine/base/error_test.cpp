#include "engine/base/error.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace mpool {
namespace {

TEST(Error, NamesItsSubjectFirst) {
  try {
    raise(EBADMSG, "/dev/loop3", "superblock {}: checksum {:#x}", 0, 0x12);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EBADMSG);
    EXPECT_EQ(error.subject(), "/dev/loop3");
    EXPECT_EQ(error.detail(), "superblock 0: checksum 0x12");
    EXPECT_STREQ(error.what(), "/dev/loop3: superblock 0: checksum 0x12");
    return;
  }
  FAIL() << "nothing was thrown";
}

TEST(Error, WithoutASubjectIsTheDetail) {
  EXPECT_STREQ(Error(EINVAL, "", "bad size").what(), "bad size");
}

TEST(Error, SystemErrorsSayWhatFailedAndWhy) {
  try {
    raise_system(ENOENT, "/no/such", "open");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_STREQ(error.what(), "/no/such: open: No such file or directory");
    return;
  }
  FAIL() << "nothing was thrown";
}

}  // namespace
}  // namespace mpool
