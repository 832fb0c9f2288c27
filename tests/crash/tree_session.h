// Sessions and workloads on the named tree, for power cuts and failures of devices.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "tests/crash/pool_session.h"
#include "tests/engine/names/support.h"

namespace mpool::test {

inline constexpr std::uint64_t kTreeZone = 16u << 10;
inline constexpr const char* kTree = "tree";
// A name that is created and removed inside a step: it may be found or not.
inline constexpr const char* kPassing = "passing";

using State = std::map<std::string, std::string>;

inline std::string text_of(const State& state) {
  std::string text;
  for (const auto& [name, line] : state)
    text += fmt::format("{}: {}\n  ", name, line);
  return text;
}

inline NamespaceOptions lazy_with_packs(std::uint64_t pack_max) {
  NamespaceOptions options = lazy();
  options.pack_max = pack_max;
  return options;
}

class TreeSession : public Session {
 public:
  // pack_max: bytes; files of at most this size go into packs.
  TreeSession(Machine& machine, std::uint64_t pack_max)
      : machine_(machine),
        tree_([&machine] { return machine.devices(); }, lazy_with_packs(pack_max)) {}

  TestTree& tree() { return tree_; }
  State state() {
    State state = tree_.dump();
    state.erase(kPassing);
    return state;
  }
  Facts facts(bool settled) override {
    if (settled) facts_of(tree_.pool(), true);
    return {{kTree, text_of(settled ? state() : state_after_failure())}};
  }
  void work(Model& model, std::uint64_t seed) override {
    const std::string text = pattern(1 + seed % 1000, seed);
    step(model, [&] { tree_.put("file after the cut", text); });
    step(model, [&] { tree_.append("log after the cut", ""); });
    step(model, [&] { tree_.append("log after the cut", text); });
    sync(model);
    step(model, [&] { tree_.append("log after the cut", "more"); });
    step(model, [&] { tree_.unlink("file after the cut"); });
    sync(model);
  }
  bool online() const override { return all_online(tree_.pool()); }
  // After deleting everything no object and no zone may be left.
  std::string clean_up() override {
    tree_.remove_all();
    tree_.names().repack();
    tree_.names().sync();
    if (const auto left = tree_.pool().object_count(); left != 2) {
      return fmt::format("{} objects are left beside the root MDC's", left - 2);
    }
    return check_zones(tree_.pool());
  }

  // Makes a change of the tree, not durable before sync().
  void step(Model& model, const std::function<void()>& change) {
    const Moment begun = model.now();
    try {
      change();
      model.begin_at(begun, kTree, text_of(state()));
    } catch (const Error&) {
      note_failed(model, begun);
      throw;
    }
  }
  // A failed change may be present in part; the state in memory, which it returns, may reach the
  // media.
  State note_failed(Model& model, Moment begun) {
    machine_.faults->disarm();
    State state = state_after_failure();
    model.begin_at(begun, kTree, text_of(state));
    return state;
  }
  void sync(Model& model) {
    tree_.names().sync();
    durable(model, state());
  }
  // All versions in the model are durable; the tree has this state.
  void durable(Model& model, State state) {
    model.durable(kTree);
    durable_ = std::move(state);
  }

 private:
  // Content that never was on the media may be lost with the device; then neither it nor its file
  // ever gets there. Durable content must be readable.
  State state_after_failure() {
    State state = tree_.dump(true);
    state.erase(kPassing);
    std::erase_if(state, [this](const auto& entry) {
      const auto& [path, line] = entry;
      const std::size_t end = line.find(TestTree::kUnreadable);
      if (end == std::string::npos) return false;
      const auto known = durable_.find(path);
      return known == durable_.end() || !known->second.starts_with(line.substr(0, end) + " ");
    });
    return state;
  }

  Machine& machine_;
  TestTree tree_;
  State durable_;
};

using Step = std::function<void(TestTree&)>;

// Steps; every `sync_every`-th one is synced.
class TreeWorkload : public Workload {
 public:
  // Makes the steps: the steps of one run may share state, and different seeds give different
  // steps.
  using MakeSteps = std::function<std::vector<Step>(std::uint64_t seed, bool brief)>;

  // pack_max: as TreeSession.
  TreeWorkload(std::string name, unsigned sync_every, MakeSteps make_steps, unsigned weight = 1,
               bool staging = false, std::uint64_t pack_max = 0)
      : name_(std::move(name)),
        sync_every_(sync_every),
        make_steps_(std::move(make_steps)),
        weight_(weight),
        staging_(staging),
        pack_max_(pack_max) {}

  std::string name() const override { return name_; }
  unsigned weight() const override { return weight_; }
  MediaSet prepare(std::uint64_t seed) const override {
    CreateOptions options = small_pool(kTreeZone, 2);
    options.root_capacity = 2 * kTreeZone;
    options.spare_percent = 0;
    return make_pool(options, 256 * kTreeZone, 512, seed, staging_ ? 128 * kTreeZone : 0);
  }
  std::unique_ptr<Session> open(Machine& machine) const override {
    return std::make_unique<TreeSession>(machine, pack_max_);
  }
  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    auto& tree = dynamic_cast<TreeSession&>(session);
    const std::vector<Step> steps = make_steps_(seed, brief);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      tree.step(model, [&] { steps[i](tree.tree()); });
      if (i % sync_every_ == 0) tree.sync(model);
      tree.tree().pool().wait_for_discards(std::chrono::seconds(10));
    }
    tree.sync(model);
  }

 private:
  const std::string name_;
  const unsigned sync_every_;
  const MakeSteps make_steps_;
  const unsigned weight_;
  const bool staging_;
  const std::uint64_t pack_max_;
};

}  // namespace mpool::test
