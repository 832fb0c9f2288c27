// What the calls say about a pool and its objects, and its settings: the same in the process and
// through a mount, in the structures of <mpool/ioctl.h>.
#pragma once

#include <functional>

#include <mpool/ioctl.h>
#include <sys/types.h>

#include "engine/client/client_pool.h"
#include "engine/pool/pool.h"
#include "fuse/client/api.h"

namespace libmpool {

// Bytes, of writes of mblocks: mblock_props.mpr_optimal_wrsz.
std::uint32_t optimal_write_size(const mpool::Device& device);

mpool_ioc_pool facts_of(const mpool::Pool& pool, bool holds_tree);
mpool_ioc_usage usage_of(const mpool::Pool& pool);

// Of an object, but MPOOL_IOC_OF_TREE.
mpool_ioc_properties properties_of(const mpool::ClientPool::Mblock& mblock);
mpool_ioc_properties properties_of(const mpool::ClientPool::Log& log);
// The same for programs. write_size: as optimal_write_size().
mblock_props mblock_props_of(const mpool_ioc_properties& properties, std::uint32_t write_size);
mlog_props mlog_props_of(const mpool_ioc_properties& properties);

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
