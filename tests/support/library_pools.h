// Pools on simulated devices that programs on the C library open by name. For programs that link
// the static library of the calls.
#pragma once

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "engine/cache/collection.h"
#include "engine/pool/object_pin.h"
#include "engine/pool/pool.h"
#include "fuse/client/engine_backend.h"
#include "fuse/client/pool_source.h"

namespace mpool::test {

// Pinned mblocks, which are mapped as copies: the devices have no files.
class CopiedMblocks : public libmpool::PinnedMblocks {
 public:
  CopiedMblocks(Pool& pool, std::span<const std::uint64_t> ids) : pool_(pool) {
    for (const std::uint64_t id : ids) {
      ObjectPin pin(pool, ObjectId{id});
      members_.push_back({.pin = std::move(pin), .object = pool.find(ObjectId{id}).value()});
      longest_ = std::max(longest_, members_.back().object.written_length);
    }
  }
  std::size_t count() const override { return members_.size(); }
  std::uint64_t length(std::size_t index) const override {
    return members_[index].object.written_length;
  }
  std::uint64_t stride() const override { return Collection::stride_of(longest_); }
  void map_all(std::byte* base) override {
    for (const Member& member : members_) {
      const std::uint64_t length = round_up(member.object.written_length, kPageSize);
      constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
      if (length != 0) {
        if (::mmap(base, length, PROT_READ | PROT_WRITE, kFlags, -1, 0) == MAP_FAILED) {
          raise_system(errno, "map", "mmap");
        }
        pool_.device(member.object.media_class)
            .read(pool_.offset_of(member.object), {base, length});
        ::mprotect(base, length, PROT_READ);
      }
      base += stride();
    }
  }
  void drop_cached() override {}

 private:
  struct Member {
    ObjectPin pin;
    ObjectRecord object;
  };
  Pool& pool_;
  std::vector<Member> members_;
  std::uint64_t longest_ = 0;
};

// The engine in the process, on a pool that a test activates.
class SuppliedBackend : public libmpool::EngineBackend {
 public:
  explicit SuppliedBackend(std::unique_ptr<Pool> pool) : EngineBackend(std::move(pool), {}) {}
  std::unique_ptr<libmpool::PinnedMblocks> pin(std::span<const std::uint64_t> ids,
                                               mpc_vma_advice) override {
    return std::make_unique<CopiedMblocks>(pool(), ids);
  }
};

// The pools of a test program; those of the machine cannot be opened in it. Messages of the library
// are dropped.
//
// Threads: all functions may be called at the same time.
class LibraryPools : public libmpool::PoolSource {
 public:
  // A back end, and the pool that it has as long as it lives.
  struct Opened {
    std::unique_ptr<libmpool::Backend> backend;
    Pool* pool = nullptr;
  };
  using Open = std::function<Opened()>;

  static LibraryPools& instance() {
    static LibraryPools& pools = *new LibraryPools;
    return pools;
  }
  // From here on mpool_open() opens the pool of that name so.
  void supply(const std::string& name, Open open) {
    const std::lock_guard lock(mutex_);
    pools_[name].open = std::move(open);
  }
  static Opened in_process(std::unique_ptr<Pool> pool) {
    auto backend = std::make_unique<SuppliedBackend>(std::move(pool));
    Pool* const opened = &backend->pool();
    return {.backend = std::move(backend), .pool = opened};
  }
  // The pool of that name, which is open.
  Pool& opened(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return *pools_.at(name).opened;
  }

  std::optional<libmpool::ActivePool> find(const std::string& name) override {
    const std::lock_guard lock(mutex_);
    if (!pools_.contains(name)) return std::nullopt;
    libmpool::ActivePool active;
    name.copy(active.params.mp_name, sizeof active.params.mp_name - 1);
    active.params.mp_uid = ::geteuid();
    active.params.mp_mode = 0600;
    return active;
  }
  std::unique_ptr<libmpool::Backend> open(const libmpool::ActivePool& active) override {
    Open open;
    {
      const std::lock_guard lock(mutex_);
      open = pools_.at(active.name()).open;
    }
    Opened opened = open();
    const std::lock_guard lock(mutex_);
    pools_.at(active.name()).opened = opened.pool;
    return std::move(opened.backend);
  }

 private:
  struct Supplied {
    Open open;
    Pool* opened = nullptr;
  };

  LibraryPools() {
    ::setlogmask(LOG_MASK(LOG_EMERG));  // of this process
    libmpool::use_pool_source(*this);
  }

  std::mutex mutex_;  // guards pools_
  std::map<std::string, Supplied> pools_;
};

}  // namespace mpool::test
