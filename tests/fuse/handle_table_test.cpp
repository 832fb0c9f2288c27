#include "fuse/ops/handle_table.h"

#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fuse/idle_file.h"

namespace mpoolfs {
namespace {

using mpool::Blocking;
using mpool::FileKind;
using testing::ElementsAre;

// Reports its close.
class ReportingFile final : public test::IdleFile {
 public:
  ReportingFile(mpool::InodeNumber inode, FileKind kind, bool must_wait,
                std::vector<mpool::InodeNumber>& closed)
      : IdleFile(inode, kind), must_wait_(must_wait), closed_(closed) {}

  bool close(mpool::Blocking blocking) noexcept override {
    if (must_wait_ && blocking == Blocking::forbidden) return false;
    closed_.push_back(inode());
    return true;
  }

 private:
  const bool must_wait_;
  std::vector<mpool::InodeNumber>& closed_;
};

class HandleTableTest : public testing::Test {
 protected:
  KernelHandle& open(mpool::InodeNumber inode, FileKind kind = FileKind::write_once,
                     bool must_wait = false) {
    return files_.add(std::make_unique<ReportingFile>(inode, kind, must_wait, closed_),
                      {.read = false, .write = true, .append = kind == FileKind::log});
  }

  std::vector<mpool::InodeNumber> closed_;
  HandleTable files_;
};

TEST_F(HandleTableTest, KeepsWhatWasOpened) {
  KernelHandle& handle = open(5, FileKind::log);
  EXPECT_EQ(handle.file().inode(), 5u);
  EXPECT_TRUE(handle.append());
  EXPECT_FALSE(open(6).append());
  EXPECT_EQ(files_.count(), 2u);
}

TEST_F(HandleTableTest, ClosesOnce) {
  open(1);
  files_.close(open(2), Blocking::allowed);
  EXPECT_THAT(closed_, ElementsAre(2));
  EXPECT_EQ(files_.count(), 1u);
}

TEST_F(HandleTableTest, ACloseThatMustWaitKeepsTheHandle) {
  EXPECT_TRUE(files_.close(open(1), Blocking::forbidden));
  KernelHandle& slow = open(2, FileKind::write_once, true);
  EXPECT_FALSE(files_.close(slow, Blocking::forbidden));
  EXPECT_EQ(files_.count(), 1u);
  files_.close(slow, Blocking::allowed);
  EXPECT_THAT(closed_, ElementsAre(1, 2));
  EXPECT_EQ(files_.count(), 0u);
}

TEST_F(HandleTableTest, ClosesTheRestInOrder) {
  open(3);
  KernelHandle& middle = open(1);
  open(2);
  open(3);
  files_.close(middle, Blocking::allowed);
  files_.close_all();
  EXPECT_THAT(closed_, ElementsAre(1, 3, 2, 3));
  EXPECT_EQ(files_.count(), 0u);
}

TEST_F(HandleTableTest, NotesPrivilegesOfAllHandlesOfAFile) {
  KernelHandle& one = open(1);
  KernelHandle& same = open(1);
  KernelHandle& other = open(2);
  files_.note_privileges(1);
  EXPECT_TRUE(one.may_have_privileges());
  EXPECT_TRUE(same.may_have_privileges());
  EXPECT_FALSE(other.may_have_privileges());
}

}  // namespace
}  // namespace mpoolfs
