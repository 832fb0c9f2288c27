// Pools on simulated devices for programs that use the C library, and sessions of such programs.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "fuse/client/api.h"
#include "tests/apps/kv_store.h"
#include "tests/crash/mounted_pool.h"
#include "tests/crash/pool_session.h"

namespace mpool::test {

// How the library reaches a pool: by the engine in the process, or by the daemon that has it
// mounted (mounted_pool.h).
enum class Way { engine, mount };
const char* to_string(Way way);

// The pool of a machine, as mpool_open() finds it by kLibraryPool. Maps of it are copies of the
// media.
class LibraryPool {
 public:
  LibraryPool(Machine& machine, Way way);  // opens it
  ~LibraryPool();
  LibraryPool(const LibraryPool&) = delete;
  LibraryPool& operator=(const LibraryPool&) = delete;

  mpool_handle* handle() const { return handle_; }
  Pool& pool() const { return *pool_; }

  // A program is killed and another one begins, while the daemon lives: all that the library has
  // open must be closed in between, which fails. Not with the engine in the process.
  bool can_kill() const { return mounted_.has_value(); }
  void kill_program() { mounted_->kill_programs(); }
  void begin_again();

 private:
  void open();

  std::optional<MountedPool> mounted_;
  mpool_handle* handle_ = nullptr;
  Pool* pool_ = nullptr;
};

inline constexpr const char* kLibraryPool = "simulated";

// Throws Error unless the call succeeded.
void check_call(mpool_err_t error, const char* call);

// A key-value store on the pool of a machine (tests/apps/README.md).
class StoreSession : public Session {
 public:
  static constexpr std::uint64_t kZone = 16u << 10;
  // Of a pool without a store.
  static void create_store(Machine& machine, Way way);
  StoreSession(Machine& machine, Way way);
  ~StoreSession() override;
  StoreSession(const StoreSession&) = delete;
  StoreSession& operator=(const StoreSession&) = delete;

  // The content of the store, as one. settled: the pool has no objects but those of the store.
  Facts facts(bool settled) override;
  void work(Model& model, std::uint64_t seed) override;
  bool online() const override { return all_online(pool_->pool()); }
  std::string clean_up() override;

  // Changes, flushes and compactions, and where `reopens` the store is closed and opened, too.
  enum class Reopens { no, yes };
  void change(Model& model, std::uint64_t seed, unsigned changes, Reopens reopens);

 private:
  class Work;
  void open_store();

  std::unique_ptr<LibraryPool> pool_;
  std::unique_ptr<apps::Store> store_;
};

}  // namespace mpool::test
