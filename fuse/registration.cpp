#include "fuse/registration.h"

#include <exception>

#include <unistd.h>

#include "fuse/client/params.h"
#include "fuse/client/registry.h"

namespace mpoolfs {

namespace {

template <typename Step>
void attempt(const mpool::Pool& pool, const Step& step) noexcept {
  try {
    step();
  } catch (const std::exception& error) {
    pool.log().info("pool {}: programs may not find the mount by its name: {}", pool.name(),
                    error.what());
  }
}

}  // namespace

Registration::Registration(const mpool::Pool& pool, const Options& options) : pool_(pool) {
  attempt(pool_, [&] {
    libmpool::record_mount({.params = libmpool::params_of(pool_),
                            .devices = options.device_paths,
                            .mount_point = options.mount_point,
                            .daemon = ::getpid()});
  });
}

Registration::~Registration() {
  attempt(pool_, [&] { libmpool::forget_mount(pool_.name(), pool_.uuid()); });
}

void Registration::update() const {
  attempt(pool_, [&] {
    const libmpool::RegistryLock lock;
    auto active = libmpool::find_active(pool_.uuid());
    if (!active || active->daemon != ::getpid()) return;
    active->params = libmpool::params_of(pool_);
    libmpool::record_active(*active);
  });
}

}  // namespace mpoolfs
