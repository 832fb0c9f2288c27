// Open logs and MDCs of a mounted pool.
#pragma once

#include <memory>

#include "fuse/client/backend.h"
#include "fuse/client/mount_session.h"

namespace libmpool {

mpool_ioc_properties properties_on(const MountSession& session, mpool::ObjectId id);  // ENOENT
mlog_props mlog_of_mount(const MountSession& session, mpool::ObjectId id);  // ENOENT, EINVAL

// The session must outlive what they open.
std::unique_ptr<Log> open_mount_log(MountSession& session, mpool::ObjectId id,
                                    mpool::ClientLog::Options options);
std::unique_ptr<Mdc> open_mount_mdc(MountSession& session, mpool::ObjectId first,
                                    mpool::ObjectId second);

}  // namespace libmpool
