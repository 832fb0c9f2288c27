#include "engine/cache/memory.h"

#include <cerrno>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/error_of.h"
#include "tests/support/temporary_directory.h"

namespace mpool {
namespace {

using test::error_of;

class MemoryTest : public ::testing::Test {
 protected:
  MemoryTest() { write("/proc/meminfo", "MemTotal:  1000 kB\nMemAvailable:  600 kB\n"); }

  void write(const std::string& path, const std::string& text) {
    const std::string file = root() + path;
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    std::ofstream(file) << text;
  }
  void make_v1(const std::string& path, const std::string& limit) {
    write(path + "/memory.limit_in_bytes", limit);
    write(path + "/memory.usage_in_bytes", "300000\n");
    write(path + "/memory.stat",
          "inactive_file 1\nactive_file 2\ntotal_inactive_file 40000\ntotal_active_file 60000\n");
  }
  void make_v2(const std::string& path, const std::string& limit) {
    write(path + "/memory.max", limit);
    write(path + "/memory.current", "300000\n");
    write(path + "/memory.stat", "anon 5\ninactive_file 40000\nactive_file 60000\n");
  }
  std::string root() const { return directory_.path().string(); }
  MemoryInfo read(const std::string& cgroup) { return SystemMemory(cgroup, root()).read(); }

  test::TemporaryDirectory directory_;
};

TEST_F(MemoryTest, OfTheMachine) {
  const MemoryInfo memory = read("");
  EXPECT_EQ(memory.limit, 1000u * 1024);
  EXPECT_EQ(memory.available, 600u * 1024);
}

TEST_F(MemoryTest, OfACgroup) {
  make_v1("/one", "500000\n");
  make_v2("/two", "500000\n");
  for (const char* cgroup : {"/one", "/two"}) {
    EXPECT_EQ(read(cgroup).limit, 500'000u) << cgroup;
    EXPECT_EQ(read(cgroup).available, 300'000u) << cgroup;
  }
}

TEST_F(MemoryTest, OfACgroupWithoutLimitIsBoundedByTheMachine) {
  make_v1("/one", "9223372036854771712\n");
  make_v2("/two", "max\n");
  for (const char* cgroup : {"/one", "/two"})
    EXPECT_EQ(read(cgroup).limit, 1000u * 1024) << cgroup;
}

TEST_F(MemoryTest, TheOwnCgroupOrOneAboveItThatHasALimit) {
  write("/proc/self/cgroup", "5:memory:/a/b\n0::/x\n");
  make_v1("/sys/fs/cgroup/memory/a/b", "9223372036854771712\n");
  EXPECT_EQ(read("").limit, 1000u * 1024);
  make_v1("/sys/fs/cgroup/memory/a", "500000\n");
  EXPECT_EQ(read("").limit, 500'000u);
  write("/proc/self/cgroup", "0::/c/d\n");
  make_v2("/sys/fs/cgroup/c/d", "400000\n");
  EXPECT_EQ(read("").limit, 400'000u);
}

TEST_F(MemoryTest, Errors) {
  EXPECT_EQ(error_of([&] { read("/none"); }, "/none: is no memory cgroup"), ENOENT);
  make_v2("/two", "many\n");
  EXPECT_EQ(error_of([&] { read("/two"); }, "has no number"), EIO);
  make_v2("/two", "500000\n");
  write("/two/memory.stat", "anon 5\n");
  EXPECT_EQ(error_of([&] { read("/two"); }, "has no field inactive_file"), EIO);
}

TEST_F(MemoryTest, WithoutTheFilesOfTheKernelThereIsNoAlarm) {
  make_v1("/one", "500000\n");
  make_v2("/two", "500000\n");
  for (const char* cgroup : {"", "/one", "/two"})
    EXPECT_FALSE(SystemMemory(cgroup, root()).make_alarm([] {})) << cgroup;
}

}  // namespace
}  // namespace mpool
