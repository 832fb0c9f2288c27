// Sessions of `.mpool/ctl` over a tree in memory, called as the daemon does.
#include "fuse/control/object_control.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <mpool/ioctl.h>

#include "fuse/control/control_tree.h"
#include "fuse/control/object_files.h"
#include "tests/engine/names/support.h"
#include "tests/fuse/maps_support.h"

namespace mpoolfs {
namespace {

using mpool::ObjectId;
using mpool::ObjectType;
using mpool::test::bytes_of;
using mpool::test::errno_of;
using mpool::test::kZoneSize;
using mpool::test::pattern;
using mpool::test::TestTree;

class ObjectControlTest : public testing::Test {
 protected:
  ObjectControlTest() { start(); }

  void start(bool read_only = false) {
    maps_ = std::make_unique<test::TestMaps>(tree_);
    objects_ = std::make_unique<ProgramObjects>(tree_.pool(), tree_.names(), read_only);
    control_ = std::make_unique<ControlTree>(std::timespec{1, 2});
    control_->add("ctl", std::make_unique<ObjectControl>(*objects_, maps_->maps));
    control_->add("mblock",
                  std::make_unique<ObjectFiles>(*objects_, tree_.names(), ObjectType::mblock));
    control_->add("mlog",
                  std::make_unique<ObjectFiles>(*objects_, tree_.names(), ObjectType::mlog));
    session_ = open("ctl", "");
  }
  ControlTree::HandleNumber open(const std::string& directory, const std::string& name,
                                 mpool::OpenIntent intent = {.read = true, .write = true}) {
    auto inode = control_->lookup(ControlTree::kDirectory, directory).value().inode;
    if (!name.empty()) {
      const auto found = control_->lookup(inode, name);
      if (!found) mpool::raise(ENOENT, name, "no such name");
      inode = found->inode;
    }
    return control_->open(inode, intent);
  }

  template <typename T>
  T call(unsigned command, T value) {
    return call(session_, command, value);
  }
  template <typename T>
  T call(ControlTree::HandleNumber session, unsigned command, T value) {
    const bool result = (_IOC_DIR(command) & _IOC_READ) != 0;
    const auto out = control_->ioctl(session, command, mpool::as_bytes(&value, sizeof value),
                                     result ? sizeof value : 0);
    if (result) std::memcpy(&value, out.data(), sizeof value);
    return value;
  }
  template <typename T>
  int code_of(unsigned command, T value) {
    return errno_of([&] { call(command, value); });
  }

  ObjectId allocate(std::uint32_t type) {
    mpool_ioc_alloc alloc{};
    alloc.type = type;
    alloc.media_class = MPOOL_IOC_CAPACITY;
    return {call(MPOOL_IOC_ALLOC, alloc).objid};
  }
  static mpool_ioc_object named(ObjectId id) { return {.objid = id.value, .reserved = {}}; }
  static mpool_ioc_handle of_handle(std::uint32_t handle, std::uint64_t value = 0) {
    return {.handle = handle, .reserved0 = 0, .value = value, .reserved = {}};
  }
  ObjectId make_log() {
    const ObjectId id = allocate(MPOOL_IOC_MLOG);
    call(MPOOL_IOC_COMMIT, named(id));
    return id;
  }
  std::uint32_t open_logs(ObjectId first, ObjectId second = {}, std::uint32_t flags = 0) {
    mpool_ioc_open open{};
    open.objid[0] = first.value;
    open.objid[1] = second.value;
    open.flags = flags;
    return call(MPOOL_IOC_OPEN, open).handle;
  }
  void append(std::uint32_t handle, const std::string& record, std::uint32_t flags = 0) {
    mpool_ioc_append append{};
    append.handle = handle;
    append.flags = flags;
    append.length = record.size();
    std::memcpy(append.data, record.data(), record.size());
    call(MPOOL_IOC_APPEND, append);
  }
  mpool_ioc_read read(std::uint32_t handle, std::uint64_t size = MPOOL_IOC_READ_INLINE,
                      std::uint64_t skip = 0) {
    mpool_ioc_read read{};
    read.handle = handle;
    read.size = size;
    read.skip = skip;
    return call(MPOOL_IOC_READ, read);
  }
  static std::string text_of(const mpool_ioc_read& read) {
    return {reinterpret_cast<const char*>(read.data), static_cast<std::size_t>(read.length)};
  }
  mpool_ioc_properties properties(ObjectId id) {
    mpool_ioc_properties properties{};
    properties.objid = id.value;
    return call(MPOOL_IOC_PROPERTIES, properties);
  }
  ObjectId object_of(const std::string& path) {
    return {std::stoull(tree_.names().get_xattr(tree_.stat(path).inode, "user.mpool.objects"),
                        nullptr, 16)};
  }

  TestTree tree_;
  std::unique_ptr<test::TestMaps> maps_;
  std::unique_ptr<ProgramObjects> objects_;
  std::unique_ptr<ControlTree> control_;
  ControlTree::HandleNumber session_ = 0;
};

TEST_F(ObjectControlTest, HasAVersion) {
  const auto out = control_->ioctl(session_, MPOOL_IOC_VERSION, {}, sizeof(mpool_ioc_version));
  mpool_ioc_version version{};
  std::memcpy(&version, out.data(), sizeof version);
  EXPECT_EQ(version.version, 2u);
  EXPECT_EQ(version.page_size, 4096u);
  EXPECT_EQ(version.buffer_size, std::uint64_t{MPOOL_IOC_BUFFER});
  EXPECT_EQ(errno_of([&] { control_->ioctl(session_, _IO('m', 0x80), {}, 0); }), ENOTTY);
  EXPECT_EQ(errno_of([&] { control_->ioctl(session_, MPOOL_IOC_ALLOC, {}, 64); }), EINVAL);
}

TEST_F(ObjectControlTest, MakesReadsAndDeletesAnMblock) {
  const ObjectId id = allocate(MPOOL_IOC_MBLOCK);
  EXPECT_EQ(properties(id).flags, 0u);
  EXPECT_EQ(properties(id).capacity, kZoneSize);
  const auto file = open("mblock", id.to_string(), {.write = true});
  const std::string content = pattern(2 * 4096);
  control_->write(file, 0, bytes_of(content));
  EXPECT_EQ(errno_of([&] { control_->write(file, 0, bytes_of(content)); }), EINVAL);
  EXPECT_EQ(errno_of([&] { control_->write(file, 8193, bytes_of("x")); }), EINVAL);
  EXPECT_EQ(errno_of([&] { open("mblock", id.to_string(), {.read = true}); }), EACCES);
  // Pages are written when they are complete.
  control_->write(file, 8192, bytes_of(content.substr(0, 5000)));
  EXPECT_EQ(properties(id).written, 12288u);
  control_->write(file, 13192, bytes_of(content.substr(5000)));
  EXPECT_EQ(properties(id).written, 16384u);
  const std::string too_much(kZoneSize, 'x');
  EXPECT_EQ(errno_of([&] { control_->write(file, 16384, bytes_of(too_much)); }), EFBIG);
  call(MPOOL_IOC_COMMIT, named(id));
  EXPECT_EQ(properties(id).flags, std::uint32_t{MPOOL_IOC_COMMITTED});
  EXPECT_EQ(errno_of([&] { control_->write(file, 16384, bytes_of(content)); }), EACCES);
  EXPECT_EQ(code_of(MPOOL_IOC_COMMIT, named(id)), ENOENT);
  EXPECT_EQ(code_of(MPOOL_IOC_ABORT, named(id)), ENOENT);

  const auto reader = open("mblock", id.to_string(), {.read = true});
  EXPECT_TRUE(control_->read(reader, 0, 100'000) == content + content);
  EXPECT_EQ(errno_of([&] { open("mblock", id.to_string(), {.write = true}); }), EACCES);
  EXPECT_EQ(code_of(MPOOL_IOC_DELETE, named(id)), EBUSY);
  control_->close(reader);
  call(MPOOL_IOC_DELETE, named(id));
  EXPECT_EQ(code_of(MPOOL_IOC_DELETE, named(id)), ENOENT);
  EXPECT_EQ(errno_of([&] { properties(id); }), ENOENT);
}

TEST_F(ObjectControlTest, AbortsAndClosesWithItsSession) {
  const std::uint32_t used = tree_.used_zones();
  allocate(MPOOL_IOC_MBLOCK);
  const ObjectId aborted = allocate(MPOOL_IOC_MLOG);
  allocate(MPOOL_IOC_MLOG);
  const ObjectId log = make_log();
  const std::uint32_t handle = open_logs(log);
  append(handle, "kept");
  call(MPOOL_IOC_ABORT, named(aborted));
  EXPECT_EQ(code_of(MPOOL_IOC_DELETE, named(log)), EBUSY);
  const auto other = open("ctl", "");
  EXPECT_EQ(errno_of([&] { call(other, MPOOL_IOC_COMMIT, named(aborted)); }), ENOENT);
  control_->close(session_);
  EXPECT_EQ(tree_.used_zones(), used + 1);
  session_ = other;
  EXPECT_EQ(text_of(read(open_logs(log))), "kept");
  EXPECT_EQ(errno_of([&] { call(MPOOL_IOC_SYNC, of_handle(77)); }), EBADF);
}

TEST_F(ObjectControlTest, AppendsReadsAndErasesALog) {
  const ObjectId id = make_log();
  const std::uint32_t log = open_logs(id);
  append(log, "one");
  append(log, std::string(480, 'x'), MPOOL_IOC_SYNC_RECORD);
  append(log, "three");
  EXPECT_EQ(text_of(read(log)), "one");
  const mpool_ioc_read longer = read(log, 100);
  EXPECT_EQ(longer.error, std::uint32_t{EOVERFLOW});
  EXPECT_EQ(longer.length, 480u);
  EXPECT_EQ(read(log, 464, 3).error, std::uint32_t{EOVERFLOW});
  EXPECT_EQ(read(log, 464, 480).length, 5u);
  EXPECT_EQ(read(log).length, 0u) << "the end";
  EXPECT_EQ(read(log, 464, 5).error, std::uint32_t{ERANGE});
  call(MPOOL_IOC_REWIND, of_handle(log));
  EXPECT_EQ(text_of(read(log)), "one");
  EXPECT_GT(call(MPOOL_IOC_LENGTH, of_handle(log)).value, 488u);
  const std::uint64_t generation = properties(id).generation;
  EXPECT_EQ(call(MPOOL_IOC_ERASE, of_handle(log, generation + 10)).value, generation + 10);
  EXPECT_EQ(read(log).length, 0u);

  // Other openings share it; other flags do not fit.
  EXPECT_NE(open_logs(id), log);
  EXPECT_EQ(errno_of([&] { open_logs(id, {}, MPOOL_IOC_SERIALISED); }), EINVAL);
  EXPECT_EQ(code_of(MPOOL_IOC_CSTART, of_handle(log)), EINVAL);
  call(MPOOL_IOC_CLOSE, of_handle(log));
  EXPECT_EQ(code_of(MPOOL_IOC_CLOSE, of_handle(log)), EBADF);
}

TEST_F(ObjectControlTest, HasABufferForLongRecords) {
  const std::uint32_t log = open_logs(make_log());
  const std::string record = pattern(30'000);
  control_->write(session_, 1000, bytes_of(record));
  mpool_ioc_append append{};
  append.handle = log;
  append.flags = MPOOL_IOC_IN_BUFFER;
  append.offset = 1000;
  append.length = record.size();
  call(MPOOL_IOC_APPEND, append);
  append.length += 1;
  EXPECT_EQ(code_of(MPOOL_IOC_APPEND, append), EINVAL) << "beyond the buffer";
  append.offset = ~std::uint64_t{0};
  EXPECT_EQ(code_of(MPOOL_IOC_APPEND, append), EINVAL);
  mpool_ioc_read read{};
  read.handle = log;
  read.flags = MPOOL_IOC_IN_BUFFER;
  read.offset = 50'000;
  read.size = 100'000;
  EXPECT_EQ(call(MPOOL_IOC_READ, read).length, record.size());
  EXPECT_TRUE(control_->read(session_, 50'000, record.size()) == record);
  read.size = MPOOL_IOC_BUFFER;
  EXPECT_EQ(code_of(MPOOL_IOC_READ, read), EINVAL);
  EXPECT_EQ(errno_of([&] { control_->write(session_, MPOOL_IOC_BUFFER, bytes_of("x")); }), EFBIG);
  EXPECT_EQ(control_->read(session_, MPOOL_IOC_BUFFER, 1), "");
}

TEST_F(ObjectControlTest, CompactsAnMdc) {
  const ObjectId first = make_log(), second = make_log();
  const std::uint32_t mdc = open_logs(first, second);
  append(mdc, "old");
  call(MPOOL_IOC_CSTART, of_handle(mdc));
  append(mdc, "new");
  call(MPOOL_IOC_CEND, of_handle(mdc));
  EXPECT_EQ(code_of(MPOOL_IOC_ERASE, of_handle(mdc)), EINVAL);
  EXPECT_EQ(errno_of([&] { open_logs(first); }), EBUSY);
  call(MPOOL_IOC_CLOSE, of_handle(mdc));
  const std::uint32_t again = open_logs(second, first);
  EXPECT_EQ(text_of(read(again)), "new");
  EXPECT_EQ(read(again).length, 0u);
}

TEST_F(ObjectControlTest, GivesUpTheCompactionOfASessionThatEnds) {
  const ObjectId first = make_log();
  const ObjectId second = make_log();
  const std::uint32_t mdc = open_logs(first, second);
  append(mdc, "old");
  const auto own = std::exchange(session_, open("ctl", ""));
  call(MPOOL_IOC_CSTART, of_handle(open_logs(first, second)));
  const auto ended = std::exchange(session_, own);
  EXPECT_EQ(code_of(MPOOL_IOC_SYNC, of_handle(mdc)), EBUSY);
  control_->close(ended);
  EXPECT_EQ(code_of(MPOOL_IOC_SYNC, of_handle(mdc)), EINVAL);
  const std::uint32_t again = open_logs(first, second);
  EXPECT_EQ(text_of(read(again)), "old");
  EXPECT_EQ(read(again).length, 0u);
}

TEST_F(ObjectControlTest, AppendsToALogByItsFile) {
  const ObjectId id = make_log();
  const auto file = open("mlog", id.to_string());
  control_->write(file, 0, bytes_of("one "));
  control_->write(file, 0, bytes_of("two"));
  const auto reader = open("mlog", id.to_string(), {.read = true});
  EXPECT_EQ(control_->read(reader, 0, 100), "one two");
  control_->close(reader);
  control_->close(file);
}

TEST_F(ObjectControlTest, LeavesTheTreeAlone) {
  tree_.put("f", "content");
  tree_.append("log", "line");
  tree_.names().sync();
  const ObjectId mblock = object_of("f"), mlog = object_of("log");
  EXPECT_EQ(properties(mblock).flags, std::uint32_t{MPOOL_IOC_COMMITTED | MPOOL_IOC_OF_TREE});
  for (const ObjectId id : {mblock, mlog, mpool::root_log_id(0)}) {
    EXPECT_EQ(code_of(MPOOL_IOC_DELETE, named(id)), EPERM);
    if (id.is_mlog()) {
      EXPECT_EQ(errno_of([&] { open_logs(id); }), EPERM);
      EXPECT_EQ(errno_of([&] { open("mlog", id.to_string()); }), EACCES);
    }
  }
  EXPECT_EQ(errno_of([&] { open_logs(mpool::root_log_id(0), mpool::root_log_id(1)); }), EPERM);
  EXPECT_EQ(tree_.get("f"), "content");
}

TEST_F(ObjectControlTest, KeepsObjectsOverTheEndOfTheMount) {
  const ObjectId own = make_log();
  control_.reset();
  objects_.reset();
  maps_.reset();
  tree_.put("f", "content");
  tree_.remount();
  start();
  EXPECT_EQ(properties(own).flags, std::uint32_t{MPOOL_IOC_COMMITTED});
  call(MPOOL_IOC_DELETE, named(own));
}

TEST_F(ObjectControlTest, ChangesNothingInAReadOnlyMount) {
  const ObjectId own = make_log();
  control_.reset();
  objects_.reset();
  maps_.reset();
  tree_.remount();
  start(true);
  EXPECT_EQ(errno_of([&] { allocate(MPOOL_IOC_MBLOCK); }), EROFS);
  EXPECT_EQ(code_of(MPOOL_IOC_DELETE, named(own)), EROFS);
  EXPECT_EQ(errno_of([&] { open_logs(own); }), EROFS);
  EXPECT_EQ(errno_of([&] { open("mlog", own.to_string()); }), EROFS);
}

TEST_F(ObjectControlTest, ChecksEveryField) {
  const ObjectId log = make_log();
  mpool_ioc_alloc alloc{};
  alloc.type = MPOOL_IOC_MBLOCK;
  alloc.media_class = MPOOL_IOC_CAPACITY;
  const auto bad_alloc = [&](auto change) {
    mpool_ioc_alloc changed = alloc;
    change(changed);
    return code_of(MPOOL_IOC_ALLOC, changed);
  };
  EXPECT_EQ(bad_alloc([](auto& a) { a.type = 0; }), EINVAL);
  EXPECT_EQ(bad_alloc([](auto& a) { a.type = 3; }), EINVAL);
  EXPECT_EQ(bad_alloc([](auto& a) { a.media_class = 2; }), EINVAL);
  EXPECT_EQ(bad_alloc([](auto& a) { a.media_class = MPOOL_IOC_STAGING; }), ENOENT);
  EXPECT_EQ(bad_alloc([](auto& a) { a.flags = 2; }), EINVAL);
  EXPECT_EQ(bad_alloc([](auto& a) { a.capacity = 1; }), EINVAL);
  EXPECT_EQ(bad_alloc([](auto& a) { a.reserved0 = 1; }), EINVAL);
  EXPECT_EQ(bad_alloc([](auto& a) { a.reserved[3] = 1; }), EINVAL);
  mpool_ioc_object object = named(log);
  object.reserved[2] = 1;
  EXPECT_EQ(code_of(MPOOL_IOC_DELETE, object), EINVAL);
  EXPECT_EQ(errno_of([&] { open_logs(log, {}, 4); }), EINVAL);
  EXPECT_EQ(errno_of([&] { open_logs(log, log); }), EINVAL);
  EXPECT_EQ(errno_of([&] { open_logs({}); }), EINVAL);
  const std::uint32_t handle = open_logs(log);
  EXPECT_EQ(code_of(MPOOL_IOC_SYNC, of_handle(handle, 1)), EINVAL);
  EXPECT_EQ(errno_of([&] { read(handle, 465); }), EINVAL);
  mpool_ioc_read reading{};
  reading.handle = handle;
  reading.flags = 2;
  EXPECT_EQ(code_of(MPOOL_IOC_READ, reading), EINVAL);
  mpool_ioc_append appending{};
  appending.handle = handle;
  appending.length = 481;
  EXPECT_EQ(code_of(MPOOL_IOC_APPEND, appending), EINVAL);
  appending.length = 0;
  appending.offset = 1;
  EXPECT_EQ(code_of(MPOOL_IOC_APPEND, appending), EINVAL);
}

}  // namespace
}  // namespace mpoolfs
