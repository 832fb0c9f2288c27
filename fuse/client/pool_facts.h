// What the calls say about a pool, and its settings: the same in the process and through a mount,
// in the structures of <mpool/ioctl.h>.
#pragma once

#include <functional>

#include <mpool/ioctl.h>
#include <sys/types.h>

#include "engine/pool/pool.h"

namespace libmpool {

// Bytes, of writes of mblocks: mblock_props.mpr_optimal_wrsz.
std::uint32_t optimal_write_size(const mpool::Device& device);

mpool_ioc_pool facts_of(const mpool::Pool& pool, bool holds_tree);
mpool_ioc_usage usage_of(const mpool::Pool& pool);

// True if this process has the group.
bool is_in_group(gid_t group);

// A user that changes settings.
struct SettingsUser {
  uid_t uid = 0;
  std::function<bool(gid_t)> is_in_group;
};

// Changes the settings that are given and differ from the present ones. Durable on return. Errors:
// EPERM as chown(2) and chmod(2), EMEDIUMTYPE a user type of a pool that holds a tree, EINVAL a
// value out of range, those of Pool::configure.
void change_settings(mpool::Pool& pool, const mpool_ioc_settings& wanted, const SettingsUser& user,
                     bool holds_tree);

}  // namespace libmpool
