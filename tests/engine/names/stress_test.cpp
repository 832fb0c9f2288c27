// Many threads do everything at once; the resulting state must be the same in memory, after a crash
// and after a remount, and no space may be lost when all is deleted.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

constexpr std::chrono::milliseconds kDuration{1500};
constexpr std::uint64_t kMinSteps = 10;  // of each thread, regardless of their duration
constexpr int kThreads = 6;
constexpr std::array kDirectories = {"a", "b", "c"};

// Possible errors when other threads change the same names.
constexpr std::array kExpected = {ENOENT, EEXIST,  EPERM,  EINVAL,    ESTALE,
                                  EISDIR, ENOTDIR, ENOSPC, ENOTEMPTY, EACCES};

class Worker {
 public:
  Worker(TestTree& tree, std::uint64_t seed) : tree_(tree), random_(seed) {}

  void run(std::chrono::steady_clock::time_point end) {
    while (std::chrono::steady_clock::now() < end || done_ <= kMinSteps) {
      try {
        step();
        ++done_;
      } catch (const Error& error) {
        if (std::ranges::find(kExpected, error.code()) != kExpected.end()) continue;
        ADD_FAILURE() << error.what();
        return;
      }
    }
  }

 private:
  std::string path() {
    return fmt::format("{}/f{}", kDirectories[random_() % kDirectories.size()], random_() % 8);
  }
  std::string text() {
    return pattern(random_() % (random_() % 8 == 0 ? 150'000 : 5'000), random_());
  }

  // Closes in any case.
  template <typename Use>
  static void with(std::unique_ptr<OpenFile> file, Use use) {
    try {
      use(*file);
      file->flush();
    } catch (...) {
      file->close();
      throw;
    }
    file->close();
  }

  void step() {
    Namespace& names = tree_.names();
    switch (random_() % 15) {
      case 0:
      case 1:
      case 2:
        return with(tree_.create(path()), [&](OpenFile& file) {
          file.write(0, bytes_of(text()), false);
          if (random_() % 3 == 0) file.fsync();
          if (random_() % 4 == 0) file.truncate(0);
          if (random_() % 3 == 0) file.write(0, bytes_of(text()), true);
        });
      case 3:
        return with(tree_.create(path(), true), [&](OpenFile& file) {
          file.write(0, bytes_of(pattern(random_() % 20'000)), true);
        });
      case 4:
      case 5:
        return with(tree_.open(path(), {.write = true, .append = true}), [&](OpenFile& file) {
          for (int i = 0; i < 4; ++i)
            file.write(0, bytes_of(pattern(100)), true);
          if (random_() % 3 == 0) file.fsync();
        });
      case 6:
        return with(tree_.open(path(), {.write = true, .truncate = true}), [](OpenFile&) {});
      case 7:
        return with(tree_.open(path(), {.read = true}), [&](OpenFile& file) {
          std::string into(10'000, '\0');
          file.read(random_() % 5000, {reinterpret_cast<std::byte*>(into.data()), into.size()});
          file.fsync();
        });
      case 8:
        return tree_.unlink(path());
      case 9:
      case 10: {
        const auto mode = random_() % 5 == 0 ? RenameMode::exchange : RenameMode::replace;
        return tree_.rename(path(), path(), mode);
      }
      case 11:
        for (const char* directory : kDirectories) {
          for (const std::string& name : tree_.list(directory)) {
            tree_.stat(std::string(directory) + "/" + name);
          }
        }
        return;
      case 12: {
        const auto [parent, name] = tree_.split(path());
        names.link(tree_.stat(path()).inode, parent, name);
        return;
      }
      case 13:
        return use_reference();
      default: {
        AttributeChange change;
        change.mode = 0600 + random_() % 8;
        names.set_attributes(tree_.stat(path()).inode, change);
        names.set_xattr(tree_.stat(path()).inode, "user.x", std::to_string(random_() % 100), 0);
        if (random_() % 8 == 0) names.sync();
      }
    }
  }

  // As the kernel does: an inode that was looked up is opened later, whatever happens to its name.
  void use_reference() {
    const auto [parent, name] = tree_.split(path());
    const LookupAnswer found =
        tree_.names().lookup(parent, name, LookupReference::take, Blocking::forbidden);
    if (!found || found.attributes.being_written) return;
    const InodeReferences reference{found.attributes.inode, 1};
    try {
      std::this_thread::yield();
      with(tree_.names().open(reference.inode, {.read = true}), [](OpenFile& file) {
        std::string into(10'000, '\0');
        file.read(0, {reinterpret_cast<std::byte*>(into.data()), into.size()});
      });
    } catch (const Error&) {
      drop(reference);
      throw;
    }
    drop(reference);
  }
  void drop(const InodeReferences& reference) {
    if (!tree_.names().unref({&reference, 1}, Blocking::forbidden))
      tree_.names().unref({&reference, 1});
  }

  TestTree& tree_;
  std::mt19937_64 random_;
  std::uint64_t done_ = 0;
};

TEST(Stress, EverythingAtOnce) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  NamespaceOptions options;
  options.commit_interval = std::chrono::milliseconds(3);
  TestTree tree(options, {.zones = 1024, .root_capacity = 3 * kZoneSize});
  const auto clean = tree.used_zones();
  for (const char* directory : kDirectories)
    tree.mkdir(directory);
  const auto end = std::chrono::steady_clock::now() + kDuration;
  std::vector<Worker> workers;
  for (std::uint64_t i = 0; i < kThreads; ++i)
    workers.emplace_back(tree, seed + i);
  std::vector<std::thread> threads;
  for (Worker& worker : workers)
    threads.emplace_back([&] { worker.run(end); });
  for (std::thread& thread : threads)
    thread.join();

  tree.names().sync();
  const auto left = tree.dump();
  {
    TestTree crashed(std::make_shared<Media>(*tree.media()), {});
    EXPECT_EQ(crashed.dump(), left);
  }
  tree.remount();
  EXPECT_EQ(tree.dump(), left);
  tree.remove_all();
  EXPECT_EQ(tree.used_zones(), clean);
  EXPECT_EQ(tree.pool().object_count(), 2u) << "the root MDC's mlogs";
  tree.remount();
  EXPECT_TRUE(tree.list("").empty());
  EXPECT_EQ(tree.used_zones(), clean);
}

}  // namespace
}  // namespace mpool::test
