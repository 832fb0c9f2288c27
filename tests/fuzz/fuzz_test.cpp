// Damages pools, seed by seed, and uses them: no crash, no hang, no exception except Error, no more
// memory than the devices justify. The seeds of corpus/seeds, which once found a fault, come first.
//
// MPOOLFS_TEST_LONG=1 runs many more; MPOOLFS_FUZZ_SEED=N begins with that seed (a failure prints
// its own), and MPOOLFS_FUZZ_COUNT=N sets their number.
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/fuzz/exercise.h"
#include "tests/fuzz/memory.h"
#include "tests/fuzz/mutate.h"

// g++ defines macros for the sanitizers that it uses, clang has features.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MPOOLFS_SANITIZED 1
#elif defined(__has_feature)
#define MPOOLFS_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define MPOOLFS_SANITIZED 0
#endif
#if MPOOLFS_SANITIZED
#include <sanitizer/common_interface_defs.h>
#endif

namespace mpool::fuzz {
namespace {

constexpr bool kSanitized = MPOOLFS_SANITIZED != 0;
constexpr std::uint64_t kCount = kSanitized ? 100 : 800;
constexpr std::uint64_t kLongCount = 100'000;
// Time limit in seconds for one seed; it takes a hundredth of a second.
constexpr unsigned kPatience = kSanitized ? 240 : 60;
// In addition to data written to media in memory: threads, buffers, constant parts.
constexpr std::size_t kFixedMemory = 64u << 20;

// The present seed, as text: for signal handlers.
char current[64] = "none\n";

void print_seed() {
  const char text[] = "\nfuzz: seed ";
  static_cast<void>(!::write(STDERR_FILENO, text, sizeof text - 1));
  static_cast<void>(!::write(STDERR_FILENO, current, std::char_traits<char>::length(current)));
}

extern "C" void on_signal(int signal) {
  print_seed();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

// Any end of the process names the seed.
void install_handlers() {
#if MPOOLFS_SANITIZED
  __sanitizer_set_death_callback(print_seed);
#else
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL})
    std::signal(signal, on_signal);
#endif
  for (const int signal : {SIGABRT, SIGALRM})
    std::signal(signal, on_signal);
}

void run(std::uint64_t seed, Tally& tally) {
  fmt::format_to_n(current, sizeof current - 1, "{}\n\0", seed);
  ::alarm(kPatience);
  Random random(seed);
  const Image& image = images()[random() % images().size()];
  const std::size_t before = live_memory();
  reset_peak();
  std::string done;
  std::string fault;
  {
    const MediaSet media = image.copy();
    done = mutate(image, media, random);
    try {
      fault = exercise(media, tally);
    } catch (const std::exception& error) {
      fault = fmt::format("an exception that is no Error: {}", error.what());
    }
  }
  ::alarm(0);
  EXPECT_EQ(fault, "") << "seed " << seed << ": " << image.name << ": " << done;
  EXPECT_LE(peak_memory() - before, kFixedMemory + image.size())
      << "seed " << seed << ": " << image.name << ": " << done;
}

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::strtoull(value, nullptr, 10) : otherwise;
}

class FuzzTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    install_handlers();
    ::alarm(kPatience);  // includes making the images
    ASSERT_FALSE(images().empty());
  }
};

TEST_F(FuzzTest, SoundImagesPass) {
  for (const Image& image : images()) {
    Tally tally;
    EXPECT_EQ(exercise(image.copy(), tally), "") << image.name;
    EXPECT_EQ(tally.mounted, 1u) << image.name;
    EXPECT_EQ(tally.with_errors, 0u) << image.name;
  }
}

TEST_F(FuzzTest, Corpus) {
  std::ifstream file(MPOOLFS_FUZZ_CORPUS);
  ASSERT_TRUE(file) << MPOOLFS_FUZZ_CORPUS;
  Tally tally;
  for (std::string line; std::getline(file, line);) {
    std::uint64_t seed = 0;
    if (!line.empty() && line[0] != '#' && std::istringstream(line) >> seed) {
      run(seed, tally);
    }
  }
  EXPECT_GT(tally.pools, 0u);
}

TEST_F(FuzzTest, Seeds) {
  const bool longer = std::getenv("MPOOLFS_TEST_LONG") != nullptr;
  const std::uint64_t first = setting("MPOOLFS_FUZZ_SEED", 1);
  const std::uint64_t count = setting("MPOOLFS_FUZZ_COUNT", longer ? kLongCount : kCount);
  Tally tally;
  for (std::uint64_t seed = first; seed < first + count; ++seed)
    run(seed, tally);
  // Damage is detected, but does not prevent all progress.
  constexpr std::uint64_t kMinCount = 50;
  if (count < kMinCount) return;
  EXPECT_GT(tally.with_errors, count / 5);
  EXPECT_GT(tally.activated - tally.mounted, 0u);
  EXPECT_GT(tally.mounted, count / 5);
  std::cout << fmt::format("{} pools: {} activated, {} mounted, {} with errors\n", tally.pools,
                           tally.activated, tally.mounted, tally.with_errors);
}

}  // namespace
}  // namespace mpool::fuzz
