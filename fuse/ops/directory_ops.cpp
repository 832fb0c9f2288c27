#include <cerrno>
#include <string_view>

#include "fuse/ops/answer.h"
#include "fuse/ops/directory_buffer.h"
#include "fuse/ops/operations.h"

namespace mpoolfs {

namespace {

void list(fuse_req_t request, std::string_view operation, fuse_ino_t inode, size_t size,
          off_t offset, bool plus) {
  answer(request, operation, inode, [&](FileSystem& file_system) {
    mpool::Namespace& names = file_system.names;
    const DirectorySource source{.inode = inode,
                                 .parent = [&] { return names.parent_of(inode); },
                                 .read =
                                     [&](std::uint64_t cookie, const DirectorySource::Take& take) {
                                       names.read_directory(inode, cookie, take);
                                     },
                                 .describe =
                                     [&](mpool::InodeNumber entry) {
                                       return to_entry(names.attributes(entry),
                                                       file_system.presentation);
                                     }};
    reply_directory(request, source, static_cast<std::uint64_t>(offset), size, plus);
  });
}

}  // namespace

// There is no state of an open directory: the kernel is told not to ask again, and to cache
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
  answer_change(request, "fsyncdir", inode, [&](FileSystem& file_system) {
    file_system.names.sync();
    fuse_reply_err(request, 0);
  });
}

}  // namespace mpoolfs
