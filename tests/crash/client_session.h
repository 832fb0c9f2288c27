// A pool whose objects a program uses by id, and changes of them that keep the model.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/client/client_pool.h"
#include "tests/crash/pool_session.h"

namespace mpool::test {

// The two logs of a pair are known by their capacity; no other log has it.
inline constexpr std::uint64_t kPairZones = 3;

// Objects of programs in a pool.
std::optional<std::array<ObjectId, 2>> pair_of(const Pool& pool);
std::vector<ObjectId> logs_of(const Pool& pool);  // that are not in the pair
std::vector<ObjectId> mblocks_of(const Pool& pool);
// Mblocks, mlogs with their generations, and the pair as one. settled: as Session::facts().
Facts facts_of(ClientPool& client, bool settled);

class ClientSession : public Session {
 public:
  explicit ClientSession(Machine& machine) : machine_(machine) { start(); }
  ~ClientSession() override { stop(); }
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;

  Pool& pool() const { return pool_->pool(); }
  ClientPool& client() const { return *client_; }
  std::optional<std::array<ObjectId, 2>> pair() const { return pair_of(pool()); }
  std::vector<ObjectId> logs() const { return logs_of(pool()); }
  // Ends without closing anything, as a process that is killed, and activates again. What the model
  // says is then what is found.
  void kill(Model& model);

  Facts facts(bool settled) override { return facts_of(*client_, settled); }
  void work(Model& model, std::uint64_t seed) override;
  bool online() const override { return pool_->online(); }
  std::string clean_up() override { return pool_->clean_up(); }

 private:
  void start();
  void stop();

  Machine& machine_;
  std::unique_ptr<PoolSession> pool_;
  std::unique_ptr<ClientPool> client_;
};

// A sequence of records: all that the model says of it.
struct RecordSum {
  std::uint64_t records = 0;
  std::uint32_t digest = 0;
  void add(ConstByteSpan record);
  std::string value() const;
};

// The names and values of facts.
inline constexpr const char* kPairFact = "pair";
std::string value_of_log(std::uint64_t generation, const RecordSum& sum);
std::string value_of_mblock(MediaClass media_class, ConstByteSpan content);

// The calls of a program, each with what it means for the model.
class ClientWork {
 public:
  ClientWork(ClientSession& session, Model& model, std::uint64_t seed)
      : session_(session), model_(model), random_(seed) {}

  std::mt19937_64& random() { return random_; }
  bool chance(unsigned of) { return random_() % of == 0; }

  // Allocates an mblock and writes it in several calls; then commits, aborts or abandons it.
  enum class Fate { committed, aborted, abandoned };
  void add_mblock(Fate fate, MediaClass media_class = MediaClass::capacity);
  void delete_mblock();  // any; no effect without one
  ObjectId add_log(std::uint64_t zones, MediaClass media_class = MediaClass::capacity);
  void delete_log(ObjectId id);
  void settle() { session_.pool().wait_for_discards(std::chrono::seconds(10)); }

  // Opens a log, appends, syncs and erases it some times, and closes it.
  void use_log(ObjectId id, unsigned appends, std::size_t max_record);
  // Opens the pair, and appends; `compactions` times compacts it to a few records in between.
  void use_pair(unsigned appends, unsigned compactions, std::size_t max_record);

 private:
  std::vector<std::byte> make_record(std::size_t max_length);
  void reserve(ObjectId id);
  void compact(ClientMdc& mdc, RecordSum& sum, std::size_t max_record);

  ClientSession& session_;
  Model& model_;
  std::mt19937_64 random_;
};

}  // namespace mpool::test
