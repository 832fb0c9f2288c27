// The calls of `.mpool/ctl` that concern the pool, and pins, over a tree in memory.
#include <cerrno>
#include <cstring>
#include <memory>

#include <gtest/gtest.h>
#include <mpool/ioctl.h>

#include "fuse/control/control_tree.h"
#include "fuse/control/object_control.h"
#include "tests/engine/names/support.h"
#include "tests/fuse/maps_support.h"

namespace mpoolfs {
namespace {

using mpool::ObjectId;
using mpool::test::errno_of;
using mpool::test::TestTree;
using SessionHandle = ControlTree::HandleNumber;

class PoolCallsTest : public testing::Test {
 protected:
  PoolCallsTest() {
    control_.add("ctl", std::make_unique<ObjectControl>(objects_, maps_.maps));
    objects_.on_settings([this] { ++settings_changes_; });
    session_ = open();
  }

  SessionHandle open(const Caller& caller = {}) {
    const auto inode = control_.lookup(ControlTree::kDirectory, "ctl").value().inode;
    return control_.open(inode, {.read = true, .write = true}, caller);
  }
  template <typename T>
  T call(SessionHandle session, unsigned command, T value = {}) {
    const bool takes = (_IOC_DIR(command) & _IOC_WRITE) != 0;
    const bool gives = (_IOC_DIR(command) & _IOC_READ) != 0;
    const auto in = mpool::as_bytes(&value, takes ? sizeof value : 0);
    const auto out = control_.ioctl(session, command, in, gives ? sizeof value : 0);
    if (gives) std::memcpy(&value, out.data(), sizeof value);
    return value;
  }
  template <typename T>
  int code_of(SessionHandle session, unsigned command, const T& value) {
    return errno_of([&] { call(session, command, value); });
  }
  int use(SessionHandle session, std::uint32_t mode) {
    return code_of(session, MPOOL_IOC_USE,
                   mpool_ioc_use{.mode = mode, .reserved0 = 0, .reserved = {}});
  }
  ObjectId make_mblock() {
    mpool_ioc_alloc alloc{};
    alloc.type = MPOOL_IOC_MBLOCK;
    alloc.media_class = MPOOL_IOC_CAPACITY;
    const ObjectId id{call(session_, MPOOL_IOC_ALLOC, alloc).objid};
    call(session_, MPOOL_IOC_COMMIT, named(id));
    return id;
  }
  static mpool_ioc_object named(ObjectId id) { return {.objid = id.value, .reserved = {}}; }

  TestTree tree_;
  ProgramObjects objects_{tree_.pool(), tree_.names(), false};
  test::TestMaps maps_{tree_};
  ControlTree control_{std::timespec{1, 2}};
  SessionHandle session_ = 0;
  unsigned settings_changes_ = 0;
};

TEST_F(PoolCallsTest, SaysWhatThePoolIs) {
  const auto facts = call<mpool_ioc_pool>(session_, MPOOL_IOC_POOL);
  EXPECT_EQ(facts.name, tree_.pool().name());
  EXPECT_EQ(std::memcmp(facts.uuid, tree_.pool().uuid().bytes.data(), 16), 0);
  EXPECT_EQ(facts.flags, std::uint32_t{MPOOL_IOC_HOLDS_TREE});
  const mpool_ioc_class& capacity = facts.classes[MPOOL_IOC_CAPACITY];
  EXPECT_EQ(capacity.zone_size, tree_.pool().zone_size(mpool::MediaClass::capacity));
  EXPECT_EQ(capacity.online, 1u);
  EXPECT_EQ(facts.classes[MPOOL_IOC_STAGING].zone_size, 0u);
  const auto before = call<mpool_ioc_usage>(session_, MPOOL_IOC_USAGE);
  make_mblock();
  const auto after = call<mpool_ioc_usage>(session_, MPOOL_IOC_USAGE);
  EXPECT_EQ(after.mblock_count, before.mblock_count + 1);
  EXPECT_EQ(after.mblock_capacity, before.mblock_capacity + capacity.zone_size);
}

TEST_F(PoolCallsTest, ChangesSettings) {
  mpool_ioc_settings settings{};
  settings.given = MPOOL_IOC_SET_LABEL | MPOOL_IOC_SET_MODE;
  std::strcpy(settings.label, "label");
  settings.mode = 0700;
  EXPECT_EQ(code_of(session_, MPOOL_IOC_SETTINGS, settings), 0);
  EXPECT_EQ(tree_.pool().config().label, "label");
  EXPECT_EQ(tree_.pool().config().mode, 0700u);
  EXPECT_EQ(settings_changes_, 1u);
  settings.uid = 5;  // not given
  EXPECT_EQ(code_of(session_, MPOOL_IOC_SETTINGS, settings), EINVAL);
  settings = {};
  settings.given = MPOOL_IOC_SET_LABEL;
  std::memset(settings.label, 'x', sizeof settings.label);
  EXPECT_EQ(code_of(session_, MPOOL_IOC_SETTINGS, settings), EINVAL);
  settings = {};
  settings.given = MPOOL_IOC_SET_USER_TYPE;
  settings.user_type[3] = 7;
  EXPECT_EQ(code_of(session_, MPOOL_IOC_SETTINGS, settings), EMEDIUMTYPE);
  settings = {};
  settings.given = 1u << 31;
  EXPECT_EQ(code_of(session_, MPOOL_IOC_SETTINGS, settings), EINVAL);
}

TEST_F(PoolCallsTest, OnlyRootGivesThePoolAway) {
  const SessionHandle other = open({.uid = 1000, .gid = 1000});
  mpool_ioc_settings settings{};
  settings.given = MPOOL_IOC_SET_UID;
  settings.uid = 1000;
  EXPECT_EQ(code_of(other, MPOOL_IOC_SETTINGS, settings), EPERM);
  EXPECT_EQ(code_of(session_, MPOOL_IOC_SETTINGS, settings), 0);
  settings = {};
  settings.given = MPOOL_IOC_SET_GID | MPOOL_IOC_SET_MODE;
  settings.gid = 1000;
  settings.mode = 0711;
  EXPECT_EQ(code_of(other, MPOOL_IOC_SETTINGS, settings), 0);  // now its owner
  settings.gid = 1001;
  EXPECT_EQ(code_of(other, MPOOL_IOC_SETTINGS, settings), EPERM);  // not in that group
}

TEST_F(PoolCallsTest, AnExclusiveUseExcludesSessions) {
  const SessionHandle other = open();
  EXPECT_EQ(use(session_, MPOOL_IOC_EXCLUSIVE), 0);
  EXPECT_EQ(use(other, MPOOL_IOC_SHARED), EBUSY);
  EXPECT_EQ(use(other, MPOOL_IOC_EXCLUSIVE), EBUSY);
  EXPECT_EQ(use(other, MPOOL_IOC_UNUSED), 0);
  EXPECT_EQ(use(session_, MPOOL_IOC_SHARED), 0);
  EXPECT_EQ(use(other, MPOOL_IOC_SHARED), 0);
  EXPECT_EQ(use(other, MPOOL_IOC_EXCLUSIVE), EBUSY);
  control_.close(session_);
  EXPECT_EQ(use(other, MPOOL_IOC_EXCLUSIVE), 0);
  EXPECT_EQ(use(other, 3), EINVAL);
  session_ = open();
  EXPECT_EQ(use(session_, MPOOL_IOC_SHARED), EBUSY);
  control_.close(other);
  EXPECT_EQ(use(session_, MPOOL_IOC_SHARED), 0);
}

// A session whose close is on its way counts no more.
TEST_F(PoolCallsTest, WaitsForSessionsThatEnd) {
  EXPECT_EQ(use(session_, MPOOL_IOC_EXCLUSIVE), 0);
  objects_.on_settle([this] {
    control_.begin_close(session_);
    control_.close(session_);
    control_.settle();
  });
  EXPECT_EQ(use(open(), MPOOL_IOC_EXCLUSIVE), 0);
}

TEST_F(PoolCallsTest, PinnedMblocksCannotBeDeleted) {
  const ObjectId id = make_mblock();
  mpool_ioc_pin pin{};
  EXPECT_EQ(code_of(session_, MPOOL_IOC_PIN, pin), EINVAL);
  pin.count = 2;
  pin.objid[0] = id.value;
  pin.objid[1] = id.value;
  const mpool_ioc_pin pinned = call(session_, MPOOL_IOC_PIN, pin);
  EXPECT_NE(pinned.handle, 0u);
  EXPECT_EQ(pinned.written[0], 0u);
  EXPECT_EQ(code_of(session_, MPOOL_IOC_DELETE, named(id)), EBUSY);
  mpool_ioc_handle handle{};
  handle.handle = pinned.handle;
  EXPECT_EQ(code_of(session_, MPOOL_IOC_SYNC, handle), EINVAL);
  EXPECT_EQ(code_of(session_, MPOOL_IOC_CLOSE, handle), 0);
  EXPECT_EQ(code_of(session_, MPOOL_IOC_CLOSE, handle), EBADF);
  EXPECT_EQ(code_of(session_, MPOOL_IOC_DELETE, named(id)), 0);
  EXPECT_EQ(code_of(session_, MPOOL_IOC_PIN, pin), ENOENT);
  pin.objid[5] = 1;  // behind the count
  EXPECT_EQ(code_of(session_, MPOOL_IOC_PIN, pin), EINVAL);
}

TEST_F(PoolCallsTest, PinsEndWithTheirSession) {
  const ObjectId id = make_mblock();
  const SessionHandle other = open();
  mpool_ioc_pin pin{};
  pin.count = 1;
  pin.objid[0] = id.value;
  call(other, MPOOL_IOC_PIN, pin);
  EXPECT_EQ(code_of(session_, MPOOL_IOC_DELETE, named(id)), EBUSY);
  control_.close(other);
  EXPECT_EQ(code_of(session_, MPOOL_IOC_DELETE, named(id)), 0);
}

}  // namespace
}  // namespace mpoolfs
