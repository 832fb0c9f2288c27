#include "fuse/ops/operations.h"

#include <spdlog/spdlog.h>

#include "fuse/ops/file_system.h"

namespace mpoolfs {

namespace {

constexpr unsigned kMaxReadAhead =
    8u << 20;  // bytes; the kernel takes the smaller of this and its own
// Requests for read-ahead and asynchronous direct I/O that the kernel sends before it waits for
// answers.
constexpr unsigned kMaxBackground = 512;
constexpr unsigned kCongestion = 384;

// Enabled if the kernel supports it.
constexpr unsigned kWanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_ATOMIC_O_TRUNC |
                             FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_PARALLEL_DIROPS |
                             FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
                             FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA;

}  // namespace

void op_init(void*, fuse_conn_info* connection) {
  connection->max_write = kMaxRequestSize;
  connection->max_readahead = kMaxReadAhead;
  connection->max_background = kMaxBackground;
  connection->congestion_threshold = kCongestion;
  // No other features, regardless of the library's defaults: no write-back cache (each write is a
  // request), no splicing (payloads must be in memory), no dropping of pages when a file's times
  // change, and the kernel clears set-user-ID bits itself.
  connection->want = connection->capable & kWanted;
  spdlog::debug("FUSE protocol {}.{}, max_write {}, capabilities {:#x} of {:#x}",
                connection->proto_major, connection->proto_minor, connection->max_write,
                connection->want, connection->capable);
}

const fuse_lowlevel_ops& operations() {
  static const fuse_lowlevel_ops table = [] {
    fuse_lowlevel_ops ops{};
    ops.init = op_init;
    ops.lookup = op_lookup;
    ops.forget = op_forget;
    ops.forget_multi = op_forget_multi;
    ops.mknod = op_mknod;
    ops.mkdir = op_mkdir;
    ops.unlink = op_unlink;
    ops.rmdir = op_rmdir;
    ops.symlink = op_symlink;
    ops.readlink = op_readlink;
    ops.rename = op_rename;
    ops.link = op_link;
    ops.getattr = op_getattr;
    ops.setattr = op_setattr;
    ops.statfs = op_statfs;
    ops.setxattr = op_setxattr;
    ops.getxattr = op_getxattr;
    ops.listxattr = op_listxattr;
    ops.removexattr = op_removexattr;
    ops.open = op_open;
    ops.create = op_create;
    ops.read = op_read;
    ops.write = op_write;
    ops.flush = op_flush;
    ops.release = op_release;
    ops.fsync = op_fsync;
    ops.fallocate = op_fallocate;
    ops.opendir = op_opendir;
    ops.readdir = op_readdir;
    ops.readdirplus = op_readdirplus;
    ops.releasedir = op_releasedir;
    ops.fsyncdir = op_fsyncdir;
    return ops;
  }();
  return table;
}

}  // namespace mpoolfs
