#include "fuse/transport/request_metrics.h"

#include <string_view>

#include <linux/fuse.h>

namespace mpoolfs {

namespace {

struct KindName {
  std::uint32_t opcode;
  std::string_view name;
};

constexpr KindName kKindNames[] = {
    {0, "other"},
    {FUSE_LOOKUP, "lookup"},
    {FUSE_FORGET, "forget"},
    {FUSE_GETATTR, "getattr"},
    {FUSE_SETATTR, "setattr"},
    {FUSE_READLINK, "readlink"},
    {FUSE_SYMLINK, "symlink"},
    {FUSE_MKNOD, "mknod"},
    {FUSE_MKDIR, "mkdir"},
    {FUSE_UNLINK, "unlink"},
    {FUSE_RMDIR, "rmdir"},
    {FUSE_RENAME, "rename"},
    {FUSE_LINK, "link"},
    {FUSE_OPEN, "open"},
    {FUSE_READ, "read"},
    {FUSE_WRITE, "write"},
    {FUSE_STATFS, "statfs"},
    {FUSE_RELEASE, "release"},
    {FUSE_FSYNC, "fsync"},
    {FUSE_SETXATTR, "setxattr"},
    {FUSE_GETXATTR, "getxattr"},
    {FUSE_LISTXATTR, "listxattr"},
    {FUSE_REMOVEXATTR, "removexattr"},
    {FUSE_FLUSH, "flush"},
    {FUSE_READDIR, "readdir"},
    {FUSE_FSYNCDIR, "fsyncdir"},
    {FUSE_CREATE, "create"},
    {FUSE_IOCTL, "ioctl"},
    {FUSE_BATCH_FORGET, "forget"},
    {FUSE_FALLOCATE, "fallocate"},
    {FUSE_LSEEK, "lseek"},
    {FUSE_TMPFILE, "create"},
    {FUSE_READDIRPLUS, "readdirplus"},
    {FUSE_RENAME2, "rename"},
};

}  // namespace

RequestMetrics::RequestMetrics(mpool::Metrics& metrics)
    : in_progress_(metrics.gauge("mpoolfs_requests_in_progress",
                                 "Requests of the kernel that have no reply yet")) {
  for (const auto& [opcode, name] : kKindNames) {
    const mpool::Metrics::Labels labels{{"request", std::string(name)}};
    kinds_[opcode] = {
        .durations = &metrics.histogram("mpoolfs_request_duration_seconds",
                                        "Time from the arrival of a request to its reply", labels),
        .errors = &metrics.counter("mpoolfs_request_errors_total",
                                   "Requests that were answered with an error", labels)};
  }
  for (Kind& kind : kinds_) {
    if (kind.durations == nullptr) kind = kinds_[0];
  }
}

void RequestMetrics::end(std::uint32_t opcode, mpool::Clock::Duration taken, bool failed) noexcept {
  const Kind& kind = kinds_[opcode < kKinds ? opcode : 0];
  kind.durations->record(taken);
  if (failed) kind.errors->add();
  in_progress_.add(-1);
}

}  // namespace mpoolfs
