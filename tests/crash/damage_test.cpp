// Every single damage of the blocks that a pool cannot do without: a flipped bit, a sector or page
// that reads as zeros, an older version of a page, pages that changed places. After it either all
// content is there, or the mount is refused with nothing written, or exactly the damaged file is
// reported as lost. Environment:
//   MPOOLFS_DAMAGES      how many damages are tried in all (at least)
//   MPOOLFS_TEST_LONG=1  200,000, if that is not given
//   MPOOLFS_TEST_SEED    the seed to begin with
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/check/check.h"
#include "tests/crash/damaged_pool.h"
#include "tests/crash/explorer.h"
#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

constexpr std::size_t kDamages = 10'000;
constexpr std::size_t kLongRunDamages = 200'000;
constexpr std::size_t kMaxFailures = 20;
constexpr const char* kLost = "unreadable";

std::size_t wanted_damages() {
  if (const char* text = std::getenv("MPOOLFS_DAMAGES")) return std::strtoull(text, nullptr, 10);
  return std::getenv("MPOOLFS_TEST_LONG") != nullptr ? kLongRunDamages : kDamages;
}

// The result for a damaged pool.
enum class Outcome : std::uint8_t {
  intact,   // all content is there
  refused,  // and nothing was written
  file_lost,
  // Undetectable by the format: after a power failure the end of a log looks like an interrupted
  // flush.
  shorter_log,
  // Nor are there checksums over the records of MDC0..N or the content of logs.
  changed_record,
};

const char* name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::intact:
      return "all content there";
    case Outcome::refused:
      return "mount refused";
    case Outcome::file_lost:
      return "one file reported as lost";
    case Outcome::shorter_log:
      return "exception: end of a log that looks like a flush cut short";
    case Outcome::changed_record:
      return "exception: bits of a record without a checksum";
  }
  return "";
}

// As TestTree::dump(), with kLost for a file that returns EIO.
void look_at(TestTree& tree, const std::string& path, TreeState& state) {
  for (const std::string& name : tree.list(path)) {
    const std::string child = path.empty() ? name : path + "/" + name;
    try {
      const Attributes attributes = tree.stat(child);
      std::string line = TestTree::describe(attributes);
      if (attributes.kind == FileKind::symlink) {
        line += " -> " + tree.names().read_symlink(attributes.inode);
      } else if (attributes.kind != FileKind::directory) {
        line += TestTree::describe_content(tree.get(child));
      }
      for (const std::string& xattr : tree.names().list_xattrs(attributes.inode)) {
        line += fmt::format(" {}={}", xattr, tree.names().get_xattr(attributes.inode, xattr));
      }
      state[child] = line;
      if (attributes.kind == FileKind::directory) look_at(tree, child, state);
    } catch (const Error& error) {
      if (error.code() != EIO) throw;
      state[child] = kLost;
    }
  }
}

std::string differences(const TreeState& expected, const TreeState& found) {
  std::string text;
  for (const auto& [path, line] : expected) {
    const auto at = found.find(path);
    if (at == found.end()) {
      text += fmt::format("\n  '{}' is gone: {}", path, line);
    } else if (at->second != line) {
      text += fmt::format("\n  '{}': {}, expected {}", path, at->second, line);
    }
  }
  for (const auto& [path, line] : found) {
    if (!expected.contains(path)) text += fmt::format("\n  '{}' is new: {}", path, line);
  }
  return text;
}

std::set<std::string> differing_paths(const TreeState& expected, const TreeState& found) {
  std::set<std::string> paths;
  for (const auto& [path, line] : expected) {
    const auto at = found.find(path);
    if (at == found.end() || at->second != line) paths.insert(path);
  }
  for (const auto& [path, line] : found) {
    if (!expected.contains(path)) paths.insert(path);
  }
  return paths;
}

// The tree alone: appends to logs have an end of their own.
TreeState without_logs(TreeState state) {
  for (auto& [path, line] : state) {
    if (line.starts_with("kind 5 ")) line = "a log";
  }
  return state;
}

bool changed_anything(const SimulatedHistory& history) {
  for (const SimulatedOperation& operation : history.operations()) {
    if (operation.kind != SimulatedOperation::Kind::flush) return true;
  }
  return false;
}

// Tries one damage.
class Trial {
 public:
  Trial(const SamplePool& pool, const PageDamage& damage)
      : pool_(pool), damage_(damage), damaged_(copy_of(pool.media)) {
    for (const auto& [at, page] : damage.pages)
      damaged_[0]->set_page(at, page);
  }

  // Empty, or the failure.
  std::string run() {
    const std::string failure = use();
    if (!failure.empty()) return failure;
    return check_and_repair();
  }
  Outcome outcome() const { return outcome_; }

 private:
  std::string use() {
    Machine machine(copy_of(damaged_));
    std::optional<TestTree> tree;
    try {
      tree.emplace([&machine] { return machine.devices(); }, lazy());
    } catch (const Error& error) {
      outcome_ = Outcome::refused;
      refusal_ = error.what();
      if (changed_anything(*machine.history)) {
        return fmt::format("refused ({}), but something was written", refusal_);
      }
      return {};
    }
    TreeState found;
    look_at(*tree, "", found);
    return judge(found, *tree);
  }

  std::string judge(const TreeState& found, TestTree& tree) {
    const std::set<std::string> paths = differing_paths(pool_.state, found);
    if (paths.empty()) {
      outcome_ = Outcome::intact;
      return {};
    }
    const LogArea* log = damage_.log;
    const bool of_user = log != nullptr && log->owner == LogArea::Owner::user;
    if (of_user && paths == std::set{log->path} && found.contains(log->path) &&
        found.at(log->path) == kLost) {
      outcome_ = Outcome::file_lost;
      tree.unlink(log->path);
      return {};
    }
    if (log != nullptr && is_exception(*log, found, paths)) return {};
    return "silent loss:" + differences(pool_.state, found);
  }

  bool is_exception(const LogArea& log, const TreeState& found,
                    const std::set<std::string>& paths) {
    const bool of_user = log.owner == LogArea::Owner::user;
    if (blocks_are_whole(log)) {
      outcome_ = Outcome::changed_record;
      // The root MDC's records have checksums.
      if (log.owner == LogArea::Owner::root_mdc) return false;
      return of_user ? paths == std::set{log.path} : is_one_file(paths);
    }
    outcome_ = Outcome::shorter_log;
    if (pool_.ended_cleanly || shows_loss(log, *damaged_[0])) return false;
    if (of_user) return paths == std::set{log.path};
    return std::ranges::any_of(pool_.earlier, [&](const TreeState& earlier) {
      return without_logs(earlier) == without_logs(found);
    });
  }

  // Their headers are as they were.
  bool blocks_are_whole(const LogArea& log) const {
    for (const auto& [at, page] : damage_.pages) {
      const auto before = pool_.media[0]->page(at);
      for (std::size_t block = 0; block < kPageSize; block += log.location.sector_size) {
        for (std::size_t i = 0; i < 40; ++i) {
          const std::byte was = before == nullptr ? std::byte{0} : (*before)[block + i];
          const std::byte is = page == nullptr ? std::byte{0} : (*page)[block + i];
          if (was != is) return false;
        }
      }
    }
    return true;
  }

  // All are names of one file: they have the same content.
  bool is_one_file(const std::set<std::string>& paths) const {
    std::set<std::string> lines;
    for (const std::string& path : paths) {
      const auto at = pool_.state.find(path);
      lines.insert(at == pool_.state.end() ? "" : at->second);
    }
    return lines.size() == 1;
  }

  std::string check_and_repair() {
    Machine machine(copy_of(damaged_));
    const auto devices = machine.devices();
    std::string findings;
    const check::Result result = check::check(
        devices, {.report = [&](const auto& found) { findings += "\n  " + found.what; },
                  .progress = nullptr});
    if (changed_anything(*machine.history)) return "check wrote to the media";
    const bool owes_finding = outcome_ == Outcome::refused || outcome_ == Outcome::file_lost;
    if (owes_finding && result.errors == 0) {
      return fmt::format("{}, but check finds no error: {}", name_of(outcome_), refusal_);
    }
    if (outcome_ > Outcome::file_lost) return {};
    const std::size_t steps = check::repair(devices, result.plan, [](const std::string&) {});
    if (steps == 0) return {};
    // Restores the damaged pages, except those that the repair wrote itself.
    for (const auto& [at, page] : damage_.pages) {
      if (machine.media[0]->page(at) == page) {
        machine.media[0]->set_page(at, pool_.media[0]->page(at));
      }
    }
    TreeState found;
    try {
      TestTree tree([&machine] { return machine.devices(); }, lazy());
      look_at(tree, "", found);
    } catch (const Error& error) {
      return fmt::format("not to be mounted after a repair: {}{}", error.what(), findings);
    }
    if (found == pool_.state) return {};
    return fmt::format("lost by a repair:{}{}", differences(pool_.state, found), findings);
  }

  const SamplePool& pool_;
  const PageDamage& damage_;
  MediaSet damaged_;
  Outcome outcome_ = Outcome::intact;
  std::string refusal_;
};

class DamageTest : public testing::TestWithParam<bool> {};

TEST_P(DamageTest, NothingIsLostSilently) {
  const std::uint64_t seed = base_seed();
  const SamplePool pool = make_sample(GetParam(), seed);
  const std::vector<PageDamage> damages = make_damages(pool, wanted_damages() / 2 + 1, seed);
  std::atomic<std::size_t> next = 0;
  std::atomic<std::size_t> failures = 0;
  std::mutex mutex;
  std::map<Outcome, std::size_t> outcomes;
  const auto work = [&] {
    for (std::size_t i; (i = next++) < damages.size() && failures < kMaxFailures;) {
      Trial trial(pool, damages[i]);
      std::string failure;
      try {
        failure = trial.run();
      } catch (const std::exception& error) {
        failure = fmt::format("ended with: {}", error.what());
      }
      const std::lock_guard lock(mutex);
      ++outcomes[trial.outcome()];
      if (failure.empty()) continue;
      ++failures;
      ADD_FAILURE() << pool.name << " pool, damage " << i << ": " << damages[i].what << '\n'
                    << failure;
    }
  };
  {
    std::jthread other(work);
    work();
  }
  fmt::print("{} pool: {} damages, MPOOLFS_TEST_SEED={}\n", pool.name, damages.size(), seed);
  for (const auto& [outcome, count] : outcomes)
    fmt::print("  {:6} {}\n", count, name_of(outcome));
}

INSTANTIATE_TEST_SUITE_P(Pools, DamageTest, testing::Values(true, false),
                         [](const auto& tested) { return tested.param ? "unmounted" : "cut_off"; });

}  // namespace
}  // namespace mpool::test
