// Keeps a committed object of a pool.
#pragma once

#include <utility>

#include "engine/pool/pool.h"

namespace mpool {

// As long as it lives the object cannot be deleted (Pool::pin). Movable; the pool must outlive it.
class ObjectPin {
 public:
  // ENOENT unless the object is committed.
  ObjectPin(Pool& pool, ObjectId id) : pool_(&pool), id_(id) { pool.pin(id); }
  ObjectPin(ObjectPin&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)), id_(other.id_) {}
  ObjectPin& operator=(ObjectPin&&) = delete;
  ~ObjectPin() {
    if (pool_ != nullptr) pool_->unpin(id_);
  }

 private:
  Pool* pool_;
  ObjectId id_;
};

}  // namespace mpool
