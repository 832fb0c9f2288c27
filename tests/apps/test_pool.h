// Pools and processes for the tests of the programs here.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>

#include <sys/types.h>

namespace apps {

// With CLIENT_TEST_BACKEND=mount pools are mounted, and the library works through the mounts.
bool through_mounts();

// The seed of this run, which is printed: MPOOLFS_TEST_SEED, or 1.
unsigned test_seed();

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  unsigned below(unsigned limit) { return static_cast<unsigned>(engine_() % limit); }

 private:
  std::mt19937 engine_;
};

// Rounds of a test: `few`, or ten times as many with MPOOLFS_TEST_LONG.
unsigned rounds(unsigned few);

// A pool of 512 MiB with zones of 1 MiB, on an image file. It must not be open at the end.
class TestPool {
 public:
  TestPool();
  ~TestPool();
  TestPool(const TestPool&) = delete;
  TestPool& operator=(const TestPool&) = delete;
  const std::string& name() const { return name_; }
  // The path of a file that goes with it.
  std::string file(const std::string& name) const { return directory_ + "/" + name; }
  // Committed mblocks and mlogs. Opens the pool.
  std::uint32_t count_objects() const;

 private:
  std::string image() const { return directory_ + "/image"; }
  std::string mount_point() const { return directory_ + "/mount"; }

  const std::string name_;
  std::string directory_;
};

// A process that runs `work`, and ends with its return, or fails with an exception of it. The test
// must have no pool open when it starts one.
class Process {
 public:
  explicit Process(const std::function<void()>& work);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  bool running();
  // By SIGKILL; a failure of the test if it had ended.
  void kill();
  // Waits for its end; a failure of the test unless the work returned.
  void join();

 private:
  pid_t pid_;
  int status_ = -1;
  bool ended_ = false;
};

// Memory that processes share. T is zeroes, and needs no destruction.
void* map_shared(std::size_t size);
template <typename T>
class Shared {
 public:
  Shared() : memory_(static_cast<T*>(map_shared(sizeof(T)))) {}
  T* operator->() const { return memory_; }
  T& operator*() const { return *memory_; }

 private:
  T* memory_;  // until the end of the process
};

}  // namespace apps
