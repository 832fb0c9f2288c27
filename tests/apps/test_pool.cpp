#include "tests/apps/test_pool.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/apps/calls.h"

namespace apps {
namespace {

std::string new_name() {
  static unsigned number = 0;
  return "apps" + std::to_string(::getpid()) + "-" + std::to_string(++number);
}

std::string environment(const char* name, const char* otherwise) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

std::string new_directory() {
  std::string name = environment("TEST_TMPDIR", "/var/tmp") + "/apps-test-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
  return name;
}

int shell(const std::string& command) {
  const int status = std::system(("{ " + command + "; } >/dev/null 2>&1").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

bool through_mounts() {
  return environment("CLIENT_TEST_BACKEND", "engine") == "mount";
}

unsigned test_seed() {
  static const unsigned seed = [] {
    const auto value =
        static_cast<unsigned>(std::stoul(environment("MPOOLFS_TEST_SEED", "1"), nullptr, 10));
    std::printf("MPOOLFS_TEST_SEED=%u\n", value);
    std::fflush(stdout);
    return value;
  }();
  return seed;
}

unsigned rounds(unsigned few) {
  return std::getenv("MPOOLFS_TEST_LONG") != nullptr ? few * 10 : few;
}

TestPool::TestPool() : name_(new_name()), directory_(new_directory()) {
  std::FILE* const file = std::fopen(image().c_str(), "w");
  if (file == nullptr || std::fclose(file) != 0) throw std::runtime_error(image());
  std::filesystem::resize_file(image(), std::uintmax_t{512} << 20);
  mpool_params params;
  mpool_params_init(&params);
  params.mp_mblocksz[MP_MED_CAPACITY] = 1;
  check(mpool_create(name_.c_str(), image().c_str(), &params, 0, nullptr), "mpool_create");
  if (!through_mounts()) return;
  std::filesystem::create_directory(mount_point());
  const std::string options = environment("CLIENT_TEST_MOUNT_OPTIONS", "allow_other");
  if (shell("\"$MPOOLFS\" -o " + options + " " + image() + " " + mount_point()) != 0) {
    throw std::runtime_error("mpoolfs " + mount_point());
  }
}

TestPool::~TestPool() {
  if (through_mounts()) {
    EXPECT_EQ(shell("umount " + mount_point()), 0);
    // The daemon ends a moment after its mount.
    for (int tries = 0; tries < 1000; ++tries) {
      if (shell("pgrep -f 'mpoolf[s].* " + mount_point() + "'") != 0) break;
      ::usleep(10000);
    }
  }
  const mpool_err_t error = mpool_destroy(name_.c_str(), 0, nullptr);
  std::array<char, 128> text;
  EXPECT_EQ(error, 0) << mpool_strinfo(error, text.data(), text.size());
  std::error_code failed;
  std::filesystem::remove_all(directory_, failed);
  EXPECT_FALSE(failed) << directory_;
}

std::uint32_t TestPool::count_objects() const {
  const Pool pool(name_);
  mpool_usage usage{};
  check(mpool_usage_get(pool.get(), &usage), "mpool_usage_get");
  return usage.mpu_mblock_cnt + usage.mpu_mlog_cnt;
}

Process::Process(const std::function<void()>& work) : pid_(::fork()) {
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ != 0) return;
  int status = 0;
  try {
    work();
    status = testing::Test::HasFailure() ? 1 : 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "process %d: %s\n", ::getpid(), error.what());
    status = 2;
  }
  std::fflush(nullptr);
  ::_exit(status);
}

Process::~Process() {
  if (ended_) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, &status_, 0);
}

bool Process::running() {
  if (!ended_) ended_ = ::waitpid(pid_, &status_, WNOHANG) == pid_;
  return !ended_;
}

void Process::kill() {
  if (!running()) {
    ADD_FAILURE() << "a process had ended with status " << status_;
    return;
  }
  ::kill(pid_, SIGKILL);
  ended_ = ::waitpid(pid_, &status_, 0) == pid_;
}

void Process::join() {
  if (!ended_) ended_ = ::waitpid(pid_, &status_, 0) == pid_;
  EXPECT_TRUE(WIFEXITED(status_) && WEXITSTATUS(status_) == 0) << "status " << status_;
}

void* map_shared(std::size_t size) {
  void* const memory =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("mmap");
  return memory;
}

}  // namespace apps
