// Workloads of programs that use the C library.
#include <fmt/format.h>

#include "tests/crash/calls_session.h"
#include "tests/crash/library_session.h"

namespace mpool::test {
namespace {

// A pool for programs; the root MDC has room for the tree of a mount.
Machine new_machine(std::uint64_t zone_size, std::uint32_t sector_size, std::uint64_t seed) {
  CreateOptions options = small_pool(zone_size, 2);
  options.root_capacity = 4 * zone_size;
  return Machine(make_pool(options, 1u << 20, sector_size, seed));
}

// A key-value store is filled, flushes and compacts.
class StoreWorkload : public Workload {
 public:
  StoreWorkload(Way way, std::uint32_t sector_size) : way_(way), sector_size_(sector_size) {}
  std::string name() const override {
    return fmt::format("library_{}_store_{}", to_string(way_), sector_size_);
  }
  unsigned weight() const override { return 2; }
  MediaSet prepare(std::uint64_t seed) const override {
    Machine machine = new_machine(StoreSession::kZone, sector_size_, seed);
    StoreSession::create_store(machine, way_);
    {
      StoreSession session(machine, way_);
      Model unused(machine.history);
      session.change(unused, seed + 1, 5, StoreSession::Reopens::no);
    }
    return machine.media;
  }
  std::unique_ptr<Session> open(Machine& machine) const override {
    return std::make_unique<StoreSession>(machine, way_);
  }
  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    auto& of_store = dynamic_cast<StoreSession&>(session);
    of_store.change(model, seed, brief ? 25 : 80, StoreSession::Reopens::yes);
    of_store.work(model, seed);
  }

 private:
  const Way way_;
  const std::uint32_t sector_size_;
};

// Mblocks, logs and a pair by the plain calls.
class CallsWorkload : public Workload {
 public:
  CallsWorkload(Way way, std::uint32_t sector_size) : way_(way), sector_size_(sector_size) {}
  std::string name() const override {
    return fmt::format("library_{}_calls_{}", to_string(way_), sector_size_);
  }
  unsigned weight() const override { return 2; }
  MediaSet prepare(std::uint64_t seed) const override {
    Machine machine = new_machine(CallsSession::kZone, sector_size_, seed);
    CallsSession(machine, way_).prepare();
    return machine.media;
  }
  std::unique_ptr<Session> open(Machine& machine) const override {
    return std::make_unique<CallsSession>(machine, way_);
  }
  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    dynamic_cast<CallsSession&>(session).change(model, seed, brief ? 3 : 12);
  }

 private:
  const Way way_;
  const std::uint32_t sector_size_;
};

}  // namespace

std::vector<std::unique_ptr<Workload>> library_workloads() {
  std::vector<std::unique_ptr<Workload>> workloads;
  for (const std::uint32_t sector_size : {512u, 4096u}) {
    workloads.push_back(std::make_unique<StoreWorkload>(Way::engine, sector_size));
    for (const Way way : {Way::engine, Way::mount})
      workloads.push_back(std::make_unique<CallsWorkload>(way, sector_size));
  }
  workloads.push_back(std::make_unique<StoreWorkload>(Way::mount, 512));
  return workloads;
}

}  // namespace mpool::test
