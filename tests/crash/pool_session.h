// An active pool, and changes of its objects that keep a model.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/mlog/mlog.h"
#include "engine/pool/pool.h"
#include "tests/crash/explorer.h"

namespace mpool::test {

// Small sizes, so that logs fill quickly.
CreateOptions small_pool(std::uint64_t zone_size, unsigned mdc_count);

// Creates a pool on the first device, the second being its staging device.
void create_pool(Machine& machine, const CreateOptions& options);
// A device of that many bytes with a pool, and a staging device, if requested. With an odd seed the
// device is not new: it had another pool of the same layout, whose blocks are still there.
MediaSet make_pool(const CreateOptions& options, std::uint64_t size, std::uint32_t sector_size,
                   std::uint64_t seed, std::uint64_t staging_size = 0);

// Changes objects of a pool and updates a model. Each call is durable on return.
class PoolWork {
 public:
  PoolWork(Pool& pool, Model& model, std::uint64_t seed);

  // Allocates, writes and commits mblocks.
  std::vector<ObjectId> add_mblocks(unsigned count, MediaClass media_class = MediaClass::capacity);
  void remove(const std::vector<ObjectId>& objects);
  // Deletes one of the mblocks; no effect without any.
  void remove_any();
  // An allocation that never becomes an object; aborted, or abandoned.
  void allocate_in_vain(bool give_up);
  // Waits for the discards, so that they happen at the same moment in every run.
  void settle() { pool_.wait_for_discards(std::chrono::seconds(10)); }

  ObjectId add_mlog(std::uint64_t capacity);
  // A few appends to all mlogs except the root MDC's.
  void append_to_mlogs();

  Pool& pool() { return pool_; }
  Model& model() { return model_; }
  std::mt19937_64& random() { return random_; }

 private:
  void write_mblock(ObjectRecord& object);
  ObjectRecord allocate(ObjectType type, std::uint64_t capacity, MediaClass media_class);

  Pool& pool_;
  Model& model_;
  std::mt19937_64 random_;
};

// An open mlog whose records the model knows.
class LogWork {
 public:
  LogWork(PoolWork& work, ObjectId id);

  // Not durable before sync().
  void append(std::size_t length);
  void sync();
  // Empties it, with a greater generation.
  void erase();
  std::uint64_t room() const { return log_->capacity() - log_->used(); }

 private:
  void begin_version(Moment begun);

  PoolWork& work_;
  const ObjectId id_;
  const std::string fact_;
  std::unique_ptr<Mlog> log_;
  std::uint64_t records_ = 0;
  std::uint32_t digest_ = 0;
};

std::string fact_of(ObjectId id);

// False when a device is offline for writing.
bool all_online(const Pool& pool);

// A pool without its tree.
class PoolSession : public Session {
 public:
  explicit PoolSession(std::unique_ptr<Pool> pool) : pool_(std::move(pool)) {}

  Pool& pool() const { return *pool_; }
  Facts facts(bool settled) override;
  // Mblocks in all classes, and appends to mlogs.
  void work(Model& model, std::uint64_t seed) override;
  bool online() const override { return all_online(*pool_); }
  std::string clean_up() override;

 private:
  std::unique_ptr<Pool> pool_;
};

// Activates the pool on the machine's media, all of them or the first ones. Background work is off;
// maintenance: thresholds for Pool::maintain().
std::unique_ptr<Pool> activate(Machine& machine, std::size_t devices = ~std::size_t{0},
                               Tunables::Maintenance maintenance = {});

// Names and values of the facts of the pool itself.
inline constexpr const char* kNameFact = "pool";
inline constexpr const char* kConfigFact = "config";
std::string fact_of(MediaClass media_class);
std::string value_of(const ConfigRecord& config);
std::string value_of(std::uint32_t zones, unsigned spare_percent);

// The facts of the pool itself and of its objects. settled: throws Error when check_zones() finds a
// fault.
Facts facts_of(Pool& pool, bool settled);
// Empty when each zone in use has exactly one owner, otherwise the fault.
std::string check_zones(Pool& pool);

}  // namespace mpool::test
