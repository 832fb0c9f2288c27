#include <cerrno>
#include <optional>
#include <span>
#include <string_view>

#include "fuse/ops/answer.h"
#include "fuse/ops/directory_buffer.h"
#include "fuse/ops/operations.h"
#include "fuse/ops/request_context.h"

namespace mpoolfs {

namespace {

// Longer answers would delay other requests of the same thread.
constexpr size_t kMaxListedAtOnce = 64u << 10;  // bytes

void list(fuse_req_t request, std::string_view operation, fuse_ino_t inode, size_t size,
          off_t offset, bool plus) {
  answer(request, operation, inode, [&](FileSystem& file_system) {
    RequestContext& context = RequestContext::current();
    if (!context.can_block() && size > kMaxListedAtOnce) return context.defer_to_worker(request);
    mpool::Namespace& names = file_system.names;
    const auto describe = [&](mpool::InodeNumber entry) -> std::optional<fuse_entry_param> {
      const auto found = names.attributes(entry, context.blocking());
      if (!found) return std::nullopt;
      return to_entry(*found, file_system.presentation);
    };
    const DirectorySource source{
        .inode = inode,
        .parent = [&] { return names.parent_of(inode); },
        .read =
            [&](std::uint64_t cookie, const DirectorySource::Take& take) {
              names.read_directory(inode, cookie, take);
            },
        .describe = describe,
        .ref = [&](std::span<mpool::InodeNumber> entries) { names.ref(entries); }};
    if (!reply_directory(request, source, static_cast<std::uint64_t>(offset), size, plus)) {
      context.defer_to_worker(request);
    }
  });
}

}  // namespace

// An open directory has no state: the kernel is told not to send opendir again, and to cache
// listings until the directory changes.
void op_opendir(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  fuse_reply_err(request, ENOSYS);
}

void op_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info*) {
  list(request, "readdir", inode, size, offset, false);
}

void op_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                    fuse_file_info*) {
  list(request, "readdirplus", inode, size, offset, true);
}

void op_releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  fuse_reply_err(request, 0);
}

void op_fsyncdir(fuse_req_t request, fuse_ino_t inode, int, fuse_file_info*) {
  answer(request, "fsyncdir", inode, [&](FileSystem& file_system) {
    file_system.names.sync();
    fuse_reply_err(request, 0);
  });
}

}  // namespace mpoolfs
