// Runs workloads on simulated devices and checks what every power failure, and every failure of the
// device, leaves of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/device/simulated_crash.h"
#include "tests/crash/model.h"

namespace mpool::test {

// Media in a machine that can be switched on again: devices are opened on them as often as wanted.
struct Machine {
  // zeros: what the devices do with what is discarded while the machine runs.
  explicit Machine(MediaSet of, bool zeros = true) : media(std::move(of)), discard_zeros(zeros) {}

  std::unique_ptr<SimulatedDevice> device(unsigned number) const;
  std::vector<std::unique_ptr<Device>> devices() const;  // all

  MediaSet media;
  bool discard_zeros;
  std::shared_ptr<SimulatedHistory> history = std::make_shared<SimulatedHistory>();
  std::shared_ptr<SimulatedFaults> faults = std::make_shared<SimulatedFaults>();
};

// What a workload works on: an active pool, perhaps with its tree. Ends with the object. Errors of
// the engine are thrown through all functions.
class Session {
 public:
  virtual ~Session() = default;
  // All that a user can see. settled (just recovered, or done): checks also what only holds when
  // nothing is under way, and throws Error when it does not.
  virtual Facts facts(bool settled) = 0;
  // A few changes of each kind, to show that it can be worked with. The model is kept up to date.
  virtual void work(Model& model, std::uint64_t seed) = 0;
  // False when a device is offline for writing (or there is none).
  virtual bool online() const = 0;
  // Deletes everything; empty, or what was left behind.
  virtual std::string clean_up() = 0;
};

class Workload {
 public:
  virtual ~Workload() = default;
  virtual std::string name() const = 0;
  // Its share of the states, relative to others.
  virtual unsigned weight() const { return 1; }
  // The media to begin with.
  virtual MediaSet prepare(std::uint64_t seed) const = 0;
  virtual std::unique_ptr<Session> open(Machine& machine) const = 0;
  // Changes things and keeps the model; `session` is of open(). brief: few changes, for being
  // run very often.
  virtual void run(Session& session, Model& model, std::uint64_t seed, bool brief) const = 0;
};

std::vector<std::unique_ptr<Workload>> pool_workloads();
std::vector<std::unique_ptr<Workload>> change_workloads();
std::vector<std::unique_ptr<Workload>> tree_workloads();

// The seed of this run: MPOOLFS_TEST_SEED, or 1.
std::uint64_t base_seed();

// Checks about `states` images of power failures in the workload, in as many runs of it as they
// take. Returns how many were checked; failures go to GoogleTest.
std::uint64_t explore_crashes(const Workload& workload, std::uint64_t states);

// Runs the workload with the n-th read, write, flush and discard failing, for every n until none
// fails. Returns how many runs it were.
std::uint64_t explore_faults(const Workload& workload);

}  // namespace mpool::test
