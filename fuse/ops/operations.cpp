#include "fuse/ops/operations.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <exception>
#include <new>

#include "fuse/ops/answer.h"
#include "fuse/ops/handle_of.h"

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

void init(void* file_system, fuse_conn_info* connection) {
  connection->max_write = kMaxRequestSize;
  connection->max_readahead = kMaxReadAhead;
  connection->max_background = kMaxBackground;
  connection->congestion_threshold = kCongestion;
  // No other features, regardless of the library's defaults: no write-back cache (each write is a
  // request), no splicing (payloads must be in memory), no dropping of pages when a file's times
  // change, and the kernel clears set-user-ID bits itself.
  connection->want = connection->capable & kWanted;
  static_cast<FileSystem*>(file_system)
      ->pool.log()
      .debug("FUSE protocol {}.{}, max_write {}, capabilities {:#x} of {:#x}",
             connection->proto_major, connection->proto_minor, connection->max_write,
             connection->want, connection->capable);
}

// The arguments of handlers, from those of libfuse.
template <typename Argument>
Argument argument(Argument value) {
  return value;
}
FileArgument argument(fuse_file_info* info) {
  if (info == nullptr) return {};
  return {.flags = info->flags, .handle = handle_of(*info)};
}

// The name of an operation, for messages.
template <std::size_t kSize>
struct Label {
  constexpr Label(const char (&name)[kSize]) { std::copy_n(name, kSize, text); }
  char text[kSize]{};
};

// Makes an entry of the table of a handler that takes the arguments of libfuse in their order.
template <Label kName, auto kHandler, typename... Args>
void serve(void (*&entry)(fuse_req_t, fuse_ino_t, Args...)) {
  entry = [](fuse_req_t request, fuse_ino_t inode, Args... args) {
    answer(request, kName.text, inode,
           [&](const Call& call) { return kHandler(call, inode, argument(args)...); });
  };
}

void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  answer(request, "symlink", parent,
         [&](const Call& call) { return op_symlink(call, parent, name, target); });
}

void setattr(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int to_set,
             fuse_file_info* info) {
  answer(request, "setattr", inode, [&](const Call& call) {
    std::optional<off_t> size;
    if ((to_set & FUSE_SET_ATTR_SIZE) != 0) size = wanted->st_size;
    return op_setattr(call, inode, size,
                      to_change(*wanted, to_set, call.file_system.pool.clock().wall_time()),
                      argument(info));
  });
}

void read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info* info) {
  RequestContext& context = RequestContext::current();
  answer(request, "read", inode, [&](const Call& call) {
    return op_read(call, argument(info), checked_offset(offset), size, context.payload(),
                   context.io(), context.read_reply(request));
  });
}

void write(fuse_req_t request, fuse_ino_t inode, const char* data, size_t size, off_t offset,
           fuse_file_info* info) {
  RequestContext& context = RequestContext::current();
  answer(request, "write", inode, [&](const Call& call) {
    const mpool::IoState state =
        op_write(call, argument(info), checked_offset(offset), mpool::as_bytes(data, size),
                 context.io(), context.write_reply(request, size));
    return Written{.state = state, .size = size};
  });
}

// A FORGET has no reply, not even on failure.
void forget(fuse_req_t request, std::span<const mpool::InodeReferences> references) noexcept {
  try {
    if (op_forget(call_of(request), references) == Outcome::would_block) {
      return RequestContext::current().defer_to_worker(request);
    }
  } catch (const std::exception& error) {
    file_system_of(request).pool.log().error("inode {}: forgetting: {}", references.front().inode,
                                             error.what());
  }
  fuse_reply_none(request);
}

void forget_one(fuse_req_t request, fuse_ino_t inode, uint64_t lookups) {
  const mpool::InodeReferences references{.inode = inode, .count = lookups};
  forget(request, {&references, 1});
}

void forget_multi(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  std::vector<mpool::InodeReferences> references;
  try {
    for (const fuse_forget_data& forgotten : std::span(forgets, count))
      references.push_back({.inode = forgotten.ino, .count = forgotten.nlookup});
  } catch (const std::bad_alloc&) {
    // On failure the forgotten inodes are kept until the end of the mount.
    return fuse_reply_none(request);
  }
  forget(request, references);
}

// An open directory has no state: the kernel is told not to send opendir again, and to cache
// listings until the directory changes.
void opendir(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  Reply(request).refuse(ENOSYS);
}

void releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  Reply(request).send(Outcome::done);
}

fuse_lowlevel_ops make_table() {
  fuse_lowlevel_ops ops{};
  ops.init = init;
  serve<"lookup", op_lookup>(ops.lookup);
  ops.forget = forget_one;
  ops.forget_multi = forget_multi;
  serve<"mknod", op_mknod>(ops.mknod);
  serve<"mkdir", op_mkdir>(ops.mkdir);
  serve<"unlink", op_unlink>(ops.unlink);
  serve<"rmdir", op_rmdir>(ops.rmdir);
  ops.symlink = symlink;
  serve<"readlink", op_readlink>(ops.readlink);
  serve<"rename", op_rename>(ops.rename);
  serve<"link", op_link>(ops.link);
  serve<"getattr", op_getattr>(ops.getattr);
  ops.setattr = setattr;
  serve<"statfs", op_statfs>(ops.statfs);
  serve<"setxattr", op_setxattr>(ops.setxattr);
  serve<"getxattr", op_getxattr>(ops.getxattr);
  serve<"listxattr", op_listxattr>(ops.listxattr);
  serve<"removexattr", op_removexattr>(ops.removexattr);
  serve<"open", op_open>(ops.open);
  serve<"create", op_create>(ops.create);
  ops.read = read;
  ops.write = write;
  serve<"flush", op_flush>(ops.flush);
  serve<"release", op_release>(ops.release);
  serve<"fsync", op_fsync>(ops.fsync);
  serve<"fallocate", op_fallocate>(ops.fallocate);
  serve<"lseek", op_lseek>(ops.lseek);
  ops.opendir = opendir;
  serve<"readdir", op_readdir>(ops.readdir);
  serve<"readdirplus", op_readdirplus>(ops.readdirplus);
  ops.releasedir = releasedir;
  serve<"fsyncdir", op_fsyncdir>(ops.fsyncdir);
  return ops;
}

}  // namespace

const fuse_lowlevel_ops& operations() {
  static const fuse_lowlevel_ops table = make_table();
  return table;
}

}  // namespace mpoolfs
