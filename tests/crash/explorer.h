// Runs workloads on simulated devices and checks the result of every power failure, and of every
// failure of the device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/io/simulated_crash.h"
#include "tests/crash/model.h"

namespace mpool::test {

// Media in a machine that can be restarted: devices can be opened on them repeatedly.
struct Machine {
  // zeros: discarded ranges read as zeros while the machine runs.
  explicit Machine(MediaSet of, bool zeros = true) : media(std::move(of)), discard_zeros(zeros) {}

  std::unique_ptr<SimulatedDevice> device(unsigned number) const;
  std::vector<std::unique_ptr<Device>> devices() const;  // all

  MediaSet media;
  bool discard_zeros;
  std::shared_ptr<SimulatedHistory> history = std::make_shared<SimulatedHistory>();
  std::shared_ptr<SimulatedFaults> faults = std::make_shared<SimulatedFaults>();
};

// The subject of a workload: an active pool, possibly with its tree. Ends with the object. All
// functions pass on the engine's errors.
class Session {
 public:
  virtual ~Session() = default;
  // The user-visible state. settled (just recovered, or finished): also checks conditions that only
  // hold while no operation is in progress, and throws Error when one does not.
  virtual Facts facts(bool settled) = 0;
  // A few changes of each kind, to show that the pool is usable. Updates the model.
  virtual void work(Model& model, std::uint64_t seed) = 0;
  // False when a device is offline for writing (or there is none).
  virtual bool online() const = 0;
  // Deletes everything; empty, or a description of the remains.
  virtual std::string clean_up() = 0;
};

class Workload {
 public:
  virtual ~Workload() = default;
  virtual std::string name() const = 0;
  // Its share of the states, relative to the other workloads.
  virtual unsigned weight() const { return 1; }
  // The initial media.
  virtual MediaSet prepare(std::uint64_t seed) const = 0;
  virtual std::unique_ptr<Session> open(Machine& machine) const = 0;
  // Makes changes and updates the model; `session` is of open(). brief: few changes, for frequent
  // runs.
  virtual void run(Session& session, Model& model, std::uint64_t seed, bool brief) const = 0;
};

std::vector<std::unique_ptr<Workload>> pool_workloads();
std::vector<std::unique_ptr<Workload>> change_workloads();
std::vector<std::unique_ptr<Workload>> client_workloads();
std::vector<std::unique_ptr<Workload>> library_workloads();
std::vector<std::unique_ptr<Workload>> tree_workloads();

// The seed of this run: MPOOLFS_TEST_SEED, or 1.
std::uint64_t base_seed();

// Checks about `states` images of power failures in the workload, in as many runs as needed.
// Returns the number checked; failures go to GoogleTest.
std::uint64_t explore_crashes(const Workload& workload, std::uint64_t states);

// Runs the workload with the n-th read, write, flush and discard failing, for every n until none
// fails. Returns the number of runs.
std::uint64_t explore_faults(const Workload& workload);

}  // namespace mpool::test
