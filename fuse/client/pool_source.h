// Where the pools come from that programs open: the registry and its back ends, or a test.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "fuse/client/backend.h"
#include "fuse/client/registry.h"

namespace libmpool {

// Threads: all functions may be called at the same time. Errors: mpool::Error.
class PoolSource {
 public:
  virtual ~PoolSource() = default;
  // nullopt: no active pool has the name.
  virtual std::optional<ActivePool> find(const std::string& name) = 0;
  // EBUSY: another process has it.
  virtual std::unique_ptr<Backend> open(const ActivePool& active) = 0;
};

// That of this process.
PoolSource& pool_source();
// Replaces it by that of a test, before the first call, until the end of the process.
void use_pool_source(PoolSource& source);

}  // namespace libmpool
