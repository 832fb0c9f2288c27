// Workloads on the named tree. After a power failure it must be a state that the tree had, not
// older than the last synced state.
#include <functional>
#include <map>
#include <optional>
#include <random>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "tests/crash/tree_session.h"
#include "tests/engine/names/flushed_file.h"

namespace mpool::test {
namespace {

// Every kind of change of the tree.
std::vector<Step> every_change(std::uint64_t seed, bool) {
  return {
      [](TestTree& tree) { tree.mkdir("d"); },
      [=](TestTree& tree) { tree.put("d/a", pattern(2 * kTreeZone + 10, seed)); },
      [](TestTree& tree) { tree.put("b", pattern(100)); },
      [](TestTree& tree) { tree.rename("b", "d/b"); },
      [](TestTree& tree) { tree.names().link(tree.stat("d/a").inode, kRootInode, "hard"); },
      [](TestTree& tree) { tree.unlink("d/a"); },
      [](TestTree& tree) { tree.put("e", pattern(kTreeZone)); },
      [](TestTree& tree) { tree.rename("e", "hard"); },
      [](TestTree& tree) { tree.names().set_xattr(tree.stat("d").inode, "user.x", "1", 0); },
      [=](TestTree& tree) { tree.put("f", pattern(10 + seed % 9000, 1)); },
      [](TestTree& tree) { tree.put("g", pattern(10, 2)); },
      [](TestTree& tree) { tree.rename("f", "g", RenameMode::exchange); },
      [](TestTree& tree) {
        AttributeChange change;
        change.mode = 0600;
        tree.names().set_attributes(tree.stat("g").inode, change);
      },
      [](TestTree& tree) { tree.unlink("f"); },
      [](TestTree& tree) { tree.names().remove_xattr(tree.stat("d").inode, "user.x"); },
      [](TestTree& tree) { tree.names().make_symlink(kRootInode, "link", "d/b", {}); },
      [](TestTree& tree) { tree.put("h", ""); },
      [](TestTree& tree) {
        tree.names().rename(kRootInode, "h", kRootInode, "i", RenameMode::replace, Owner{});
      },
      [](TestTree& tree) { tree.unlink("hard"); },
      [](TestTree& tree) { tree.unlink("d/b"); },
      [](TestTree& tree) { tree.names().remove_directory(kRootInode, "d"); },
  };
}

// Files on the staging device, the tree on the other. Every step must be synced: the content of
// logs is not ordered with changes of the tree.
std::vector<Step> on_staging(std::uint64_t seed, bool brief) {
  std::vector<Step> steps = {
      [](TestTree& tree) { tree.names().set_xattr(kRootInode, "user.mpool.class", "staging", 0); }};
  for (std::uint64_t i = 0; i < (brief ? 2 : 8); ++i) {
    const std::string name = "f" + std::to_string(i);
    steps.emplace_back(
        [=](TestTree& tree) { tree.put(name, pattern(3000 + i * 4000 + seed % 1000, i)); });
    steps.emplace_back([](TestTree& tree) { tree.append("log", pattern(500)); });
    if (i % 3 == 2) steps.emplace_back([=](TestTree& tree) { tree.unlink(name); });
  }
  steps.insert(steps.begin() + 1, [](TestTree& tree) { tree.append("log", ""); });
  return steps;
}

// Small files come and go; what is left of their packs is moved.
std::vector<Step> small_files(std::uint64_t seed, bool brief) {
  constexpr std::uint64_t kFiles = 12;  // fill a pack and begin the next one
  const auto name = [](std::uint64_t number) { return "f" + std::to_string(number); };
  const auto put = [=](std::uint64_t number) {
    return [=](TestTree& tree) {
      tree.put(name(number), pattern(1000 + (seed + number * 331) % 900, number));
    };
  };
  const auto repack = [](TestTree& tree) { tree.names().repack(); };
  std::vector<Step> steps;
  for (std::uint64_t round = 0; round < (brief ? 1 : 2); ++round) {
    const std::uint64_t first = round * kFiles;
    for (std::uint64_t i = 0; i < kFiles; ++i)
      steps.emplace_back(put(first + i));
    steps.emplace_back([=](TestTree& tree) { tree.put("large", pattern(kTreeZone / 4, round)); });
    for (std::uint64_t i = 0; i < kFiles; ++i) {
      if (i % 4 != 1) steps.emplace_back([=](TestTree& tree) { tree.unlink(name(first + i)); });
    }
    steps.emplace_back(repack);
    steps.emplace_back([=](TestTree& tree) { tree.rename(name(first + 1), name(first + 5)); });
    steps.emplace_back(repack);
    steps.emplace_back([](TestTree& tree) { tree.unlink("large"); });
  }
  return steps;
}

// As editors do: a new file, still being written, takes the name of the old one.
std::vector<Step> replacements(std::uint64_t seed, bool brief) {
  std::vector<Step> steps;
  for (std::uint64_t round = 0; round < (brief ? 2 : 8); ++round) {
    steps.emplace_back([=](TestTree& tree) {
      const ScopedFile file(tree.create("temporary"));
      file->write(0, bytes_of(pattern(300 + seed % 200 + round, round)), false);
      tree.rename("temporary", "target");
    });
  }
  return steps;
}

// Enough changes for a few compactions of the root MDC.
std::vector<Step> compactions(std::uint64_t seed, bool brief) {
  std::vector<Step> steps;
  for (std::uint64_t i = 0; i < (brief ? 2 : 6); ++i) {
    steps.emplace_back(
        [=](TestTree& tree) { tree.put("f" + std::to_string(i), pattern(5000 + seed % 1000, i)); });
    steps.emplace_back([](TestTree& tree) {
      for (int j = 0; j < 100; ++j) {
        tree.mkdir(kPassing);
        tree.names().remove_directory(kRootInode, kPassing);
      }
    });
  }
  return steps;
}

// A tree large enough for the root MDC to grow twice, or three times if there is time. Each step is
// a record.
std::vector<Step> growth(std::uint64_t seed, bool brief) {
  std::vector<Step> steps;
  for (std::uint64_t i = 0; i < (brief ? 20 : 36); ++i) {
    steps.emplace_back([=](TestTree& tree) {
      tree.names().make_symlink(kRootInode, "link" + std::to_string(i),
                                pattern(2500 + seed % 500, i), {});
    });
  }
  return steps;
}

// A log that outgrows its mlogs, and is emptied.
std::vector<Step> log_life(std::uint64_t seed, bool brief) {
  std::vector<Step> steps = {[](TestTree& tree) { tree.append("log", ""); }};
  std::mt19937_64 random(seed);
  for (unsigned i = 0; i < (brief ? 8u : 40u); ++i) {
    if (i % 11 == 7) {
      steps.emplace_back([](TestTree& tree) { tree.names().truncate(tree.stat("log").inode, 0); });
      continue;
    }
    const std::size_t length = 1 + random() % (i % 4 == 0 ? 14'000 : 3000);
    steps.emplace_back([=](TestTree& tree) { tree.append("log", pattern(length, i)); });
  }
  return steps;
}

// Appends, and then changes of names: never the later without the earlier. (An append may be
// present without a change before it, so each round ends with a sync.)
std::vector<Step> appends_before_names(std::uint64_t seed, bool brief) {
  std::vector<Step> steps = {[](TestTree& tree) { tree.mkdir("d"); }};
  for (std::uint64_t round = 0; round < (brief ? 2 : 8); ++round) {
    const std::string name = "log" + std::to_string(round);
    steps.emplace_back([](TestTree& tree) { tree.append("new", ""); });
    steps.emplace_back(
        [=](TestTree& tree) { tree.append("new", pattern(1 + (seed + round * 997) % 5000)); });
    steps.emplace_back([=](TestTree& tree) { tree.rename("new", name); });
    steps.emplace_back([=](TestTree& tree) { tree.put("file" + std::to_string(round), "text"); });
  }
  return steps;
}
constexpr unsigned kRoundOfAppends = 4;

// Files unlinked while open are removed with their last close: files created with them stay.
std::vector<Step> unlinked_while_open(std::uint64_t, bool) {
  const auto held = std::make_shared<std::optional<ScopedFile>>();
  return {
      [](TestTree& tree) { tree.mkdir("d"); },
      [=](TestTree& tree) {
        tree.put("f", pattern(100));
        held->emplace(tree.open("f", {.read = true}));
        tree.unlink("f");
      },
      [](TestTree& tree) { tree.put("g", pattern(200)); },
      [=](TestTree&) { held->reset(); },
      [](TestTree&) {},
      [](TestTree& tree) { tree.put("h", pattern(300)); },
  };
}

// A file that already has the name of another one is fsynced while it is being written: from then
// on it has at least the fsynced content.
class FsyncedFile : public TreeWorkload {
 public:
  FsyncedFile() : TreeWorkload("tree_fsynced_file", 1, {}, 1) {}

  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    auto& tree_session = dynamic_cast<TreeSession&>(session);
    TestTree& tree = tree_session.tree();
    tree_session.step(model, [&] { tree.put("target", "old"); });
    tree_session.sync(model);
    const Attributes old = tree.stat("target");
    const std::string text = pattern((brief ? 1 : 4) * kTreeZone, seed);
    std::mt19937_64 random(seed);
    Moment begun = model.now();
    try {
      const ScopedFile file(tree.create("f"));
      tree.rename("f", "target");
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = std::min<std::size_t>(1 + random() % 5000, text.size() - at);
        file->write(at, bytes_of(std::string_view(text).substr(at, length)), false);
        at += length;
        if (at < text.size() && random() % 3 != 0) continue;
        Attributes expected = old;
        expected.size = at;
        const std::string content = text.substr(0, at);
        const State state = {
            {"target", TestTree::describe(expected) + TestTree::describe_content(content)}};
        begun = model.now();
        model.begin_at(begun, kTree, text_of(state));
        file->fsync();
        tree_session.durable(model, state);
      }
    } catch (const Error&) {
      tree_session.note_failed(model, begun);
      throw;
    }
    tree_session.step(model, [] {});
    tree_session.sync(model);
  }
};

// Files that are fsynced many times while they are written, in one zone: odd lengths, other files,
// a rename, truncations and an unlink in between. Fsynced content is there.
class FsyncsInAZone : public TreeWorkload {
 public:
  FsyncsInAZone(std::string name, std::uint64_t pack_max)
      : TreeWorkload(std::move(name), 1, {}, 2, false, pack_max) {}

  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    auto& tree = dynamic_cast<TreeSession&>(session);
    for (std::uint64_t number = 0; number < (brief ? 1 : 3); ++number) {
      Round round{.session = tree, .model = model, .random = std::mt19937_64(seed + number)};
      try {
        round.run();
      } catch (const Error&) {
        tree.note_failed(model, round.begun);
        throw;
      }
    }
  }

 private:
  struct Round {
    TreeSession& session;
    Model& model;
    std::mt19937_64 random;
    Moment begun = 0;
    Attributes file = {};  // of the file that is written; its content, and what is on the media
    std::string text = {};
    std::string name = "f";  // empty: it has none
    State others = {};
    State current = {};  // after the last change

    // A change that brings the tree to the state that the members show.
    void change(const std::function<void()>& make) {
      State state = others;
      if (!name.empty()) {
        file.size = text.size();
        state[name] = TestTree::describe(file) + TestTree::describe_content(text);
      }
      begun = model.now();
      model.begin_at(begun, kTree, text_of(state));
      make();
      current = std::move(state);
    }
    void sync() {
      session.tree().names().sync();
      session.durable(model, current);
    }
    // Writes at the end and fsyncs, a few times.
    void write(OpenFile& open, unsigned times) {
      for (unsigned i = 0; i < times; ++i) {
        const std::string part = pattern(1 + random() % 1500, random());
        const std::uint64_t at = text.size();
        open.write(at, bytes_of(part), false);
        text += part;
        change([&] { open.fsync(); });
        session.durable(model, current);
      }
    }
    // The bytes that go cannot be written again: a hole follows.
    void cut(OpenFile& open) {
      const std::size_t end = text.size();
      text.resize(1 + random() % end);
      change([&] { open.truncate(text.size()); });
      if (random() % 2 == 0) sync();
      text.resize(end);
    }

    void run() {
      TestTree& tree = session.tree();
      others = session.state();
      begun = model.now();
      const ScopedFile open(tree.create("f"));
      file = tree.stat("f");
      file.kind = FileKind::write_once;
      write(*open, 4);
      cut(*open);
      write(*open, 2);
      const std::string other = pattern(100 + random() % 300, random());
      Attributes described = file;
      described.size = other.size();
      others["other"] = TestTree::describe(described) + TestTree::describe_content(other);
      change([&] { tree.put("other", other); });
      write(*open, 2);
      name = "g";
      change([&] { tree.rename("f", "g"); });
      write(*open, 2);
      text.clear();
      file.kind = FileKind::empty;
      change([&] { open->truncate(0); });
      file.kind = FileKind::write_once;
      write(*open, 3);
      tree.pool().wait_for_discards(std::chrono::seconds(10));
      name.clear();
      change([&] { tree.unlink("g"); });
      write(*open, 2);
      sync();
      others.erase("other");
      change([&] { tree.unlink("other"); });
      sync();
    }
  };
};

// A file whose descriptor was closed before other changes, and whose close arrives after them. Its
// commit comes before them; behind a sync that it could not know of.
class LateClose : public TreeWorkload {
 public:
  LateClose() : TreeWorkload("tree_late_close", 1, {}, 2) {}

  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    auto& tree = dynamic_cast<TreeSession&>(session);
    for (std::uint64_t number = 0; number < (brief ? 3 : 9); ++number) {
      Round round{.session = tree, .model = model, .seed = seed, .number = number};
      round.begun = model.now();
      try {
        round.run();
      } catch (const Error&) {
        round.note(tree.note_failed(model, round.begun));
        throw;
      }
    }
  }

 private:
  struct Round {
    TreeSession& session;
    Model& model;
    std::uint64_t seed;
    std::uint64_t number;
    Moment begun = 0;  // of the file, or of the last sync without it
    // The new names since then, and when each was begun.
    std::vector<std::pair<Moment, std::string>> changes = {};

    std::string path(const char* kind) const { return fmt::format("{}{}", kind, number); }

    // All changes since `begun` are in `state`; the file came first.
    void note(const State& state) const {
      for (std::size_t count = 0; count <= changes.size(); ++count) {
        State version = state;
        for (std::size_t later = count; later < changes.size(); ++later)
          version.erase(changes[later].second);
        const Moment moment = count == 0 ? begun : changes[count - 1].first;
        model.begin_at(moment, kTree, text_of(version));
      }
    }
    void make_directory(const char* kind) {
      changes.emplace_back(model.now(), path(kind));
      session.tree().mkdir(path(kind));
    }
    // A sync that finds the close on its way, or does not.
    void sync(FlushedFile& file, bool arrives) {
      Namespace& names = session.tree().names();
      if (arrives) names.events().catch_up.set([&] { file.arrive(); });
      names.sync();
      names.events().catch_up.set(nullptr);
      if (arrives) file.close();
      State state = session.state();
      if (!arrives) state.erase(path("closed"));
      note(state);
      session.durable(model, std::move(state));
      begun = model.now();
      changes.clear();
    }

    void run() {
      TestTree& tree = session.tree();
      const std::size_t length = number % 2 == 0 ? 100 + seed % 100 : 2 * kTreeZone + 10;
      {
        FlushedFile file(tree, path("closed"), pattern(length, number));
        make_directory("directory");
        changes.emplace_back(model.now(), path("file"));
        tree.put(path("file"), pattern(50, seed));
        if (number % 3 > 0) sync(file, number % 3 == 1);
        make_directory("later");
      }
      tree.pool().wait_for_discards(std::chrono::seconds(10));
      note(session.state());
      session.sync(model);
    }
  };
};

}  // namespace

std::vector<std::unique_ptr<Workload>> tree_workloads() {
  std::vector<std::unique_ptr<Workload>> workloads;
  const auto add = [&](std::string name, unsigned sync_every,
                       std::vector<Step> (*steps)(std::uint64_t, bool), unsigned weight,
                       std::uint64_t pack_max = 0) {
    workloads.push_back(std::make_unique<TreeWorkload>(std::move(name), sync_every, steps, weight,
                                                       false, pack_max));
  };
  add("tree_synced_each", 1, every_change, 2);
  add("tree_synced_by_three", 3, every_change, 2);
  add("tree_synced_at_the_end", 100, every_change, 1);
  add("tree_replacements", 1, replacements, 1);
  add("tree_replacements_by_three", 3, replacements, 1);
  add("tree_compactions", 1, compactions, 2);
  add("tree_growth", 2, growth, 2);
  add("tree_log_synced_each", 1, log_life, 2);
  add("tree_log_synced_by_four", 4, log_life, 2);
  add("tree_appends_before_names", kRoundOfAppends, appends_before_names, 2);
  add("tree_unlinked_while_open", 2, unlinked_while_open, 1);
  add("packs_synced_each", 1, small_files, 2, kTreeZone);
  add("packs_synced_by_five", 5, small_files, 2, kTreeZone);
  add("packs_synced_at_the_end", 1000, small_files, 1, kTreeZone);
  add("packs_every_change", 3, every_change, 1, kTreeZone);
  add("packs_replacements", 1, replacements, 1, kTreeZone);
  add("packs_unlinked_while_open", 2, unlinked_while_open, 1, kTreeZone);
  workloads.push_back(std::make_unique<TreeWorkload>("tree_on_staging", 1, on_staging, 1, true));
  workloads.push_back(std::make_unique<FsyncedFile>());
  workloads.push_back(std::make_unique<FsyncsInAZone>("tree_fsyncs_in_a_zone", 0));
  workloads.push_back(std::make_unique<FsyncsInAZone>("packs_fsyncs_in_a_zone", kTreeZone));
  workloads.push_back(std::make_unique<LateClose>());
  return workloads;
}

}  // namespace mpool::test
