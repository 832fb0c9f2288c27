// The entry of a mounted pool among the active pools, by which programs find its mount
// (fuse/client/README.md, "Activation").
#pragma once

#include "engine/pool/pool.h"
#include "fuse/options.h"

namespace mpoolfs {

// As long as it lives, the pool is active. Failures are logged: programs do not find the mount
// then. Threads: update() may be called by several at a time.
class Registration {
 public:
  // The pool must outlive it.
  Registration(const mpool::Pool& pool, const Options& options);
  ~Registration();
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  // After a change of the pool's settings.
  void update() const;

 private:
  const mpool::Pool& pool_;
};

}  // namespace mpoolfs
