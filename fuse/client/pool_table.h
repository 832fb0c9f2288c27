// The pools that are open in this process, shared by all their handles and maps.
#pragma once

#include <string>
#include <utility>

#include "fuse/client/backend.h"
#include "fuse/client/registry.h"

namespace libmpool {

// One use of an open pool: a handle or a map. The last one closes it.
class PoolUse {
 public:
  // Opens the pool unless it is open. EBUSY: it is open and one of both is exclusive, or another
  // process has it; ENOENT: it was deactivated meanwhile.
  static PoolUse open(const ActivePool& active, Sharing sharing);
  PoolUse(PoolUse&& other) noexcept
      : entry_(std::exchange(other.entry_, nullptr)), sharing_(other.sharing_) {}
  PoolUse& operator=(PoolUse&&) = delete;
  ~PoolUse();

  // A further, shared use.
  PoolUse another() const;
  Backend& operator*() const;
  Backend* operator->() const { return &**this; }

  struct Entry;

 private:
  PoolUse(Entry& entry, Sharing sharing) : entry_(&entry), sharing_(sharing) {}
  Entry* entry_;
  Sharing sharing_;
};

// In this process.
bool is_open(const std::string& name);

}  // namespace libmpool
