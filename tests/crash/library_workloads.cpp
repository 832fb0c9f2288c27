// Workloads of programs that use the C library.
#include <fmt/format.h>

#include "tests/crash/calls_session.h"
#include "tests/crash/library_session.h"

namespace mpool::test {
namespace {

// A key-value store is filled, flushes and compacts.
class StoreWorkload : public Workload {
 public:
  explicit StoreWorkload(std::uint32_t sector_size) : sector_size_(sector_size) {}
  std::string name() const override { return fmt::format("library_store_{}", sector_size_); }
  unsigned weight() const override { return 2; }
  MediaSet prepare(std::uint64_t seed) const override {
    Machine machine(make_pool(small_pool(StoreSession::kZone, 2), 1u << 20, sector_size_, seed));
    StoreSession::create_store(machine);
    {
      StoreSession session(machine);
      Model unused(machine.history);
      session.change(unused, seed + 1, 5, StoreSession::Reopens::no);
    }
    return machine.media;
  }
  std::unique_ptr<Session> open(Machine& machine) const override {
    return std::make_unique<StoreSession>(machine);
  }
  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    auto& of_store = dynamic_cast<StoreSession&>(session);
    of_store.change(model, seed, brief ? 25 : 80, StoreSession::Reopens::yes);
    of_store.work(model, seed);
  }

 private:
  const std::uint32_t sector_size_;
};

// Mblocks, logs and a pair by the plain calls.
class CallsWorkload : public Workload {
 public:
  explicit CallsWorkload(std::uint32_t sector_size) : sector_size_(sector_size) {}
  std::string name() const override { return fmt::format("library_calls_{}", sector_size_); }
  unsigned weight() const override { return 2; }
  MediaSet prepare(std::uint64_t seed) const override {
    Machine machine(make_pool(small_pool(CallsSession::kZone, 2), 1u << 20, sector_size_, seed));
    CallsSession(machine).prepare();
    return machine.media;
  }
  std::unique_ptr<Session> open(Machine& machine) const override {
    return std::make_unique<CallsSession>(machine);
  }
  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    dynamic_cast<CallsSession&>(session).change(model, seed, brief ? 3 : 12);
  }

 private:
  const std::uint32_t sector_size_;
};

}  // namespace

std::vector<std::unique_ptr<Workload>> library_workloads() {
  std::vector<std::unique_ptr<Workload>> workloads;
  for (const std::uint32_t sector_size : {512u, 4096u}) {
    workloads.push_back(std::make_unique<StoreWorkload>(sector_size));
    workloads.push_back(std::make_unique<CallsWorkload>(sector_size));
  }
  return workloads;
}

}  // namespace mpool::test
