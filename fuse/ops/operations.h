// The handlers of the kernel's requests. They are independent of the transport: they take a request
// of libfuse's low-level interface whose session has a FileSystem as user data, do the work on the
// calling thread, and answer. All may be called at the same time.
#pragma once

#include "fuse/ops/fuse_api.h"

namespace mpoolfs {

// The most data of one READ or WRITE, in bytes.
inline constexpr unsigned kMaxRequestSize = 1u << 20;

// The table for fuse_session_new().
const fuse_lowlevel_ops& operations();

// operations.cpp: negotiation with the kernel.
void op_init(void* file_system, fuse_conn_info* connection);

// name_ops.cpp: names and their inodes.
void op_lookup(fuse_req_t request, fuse_ino_t parent, const char* name);
void op_forget(fuse_req_t request, fuse_ino_t inode, uint64_t lookups);
void op_forget_multi(fuse_req_t request, size_t count, fuse_forget_data* forgets);
void op_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device);
void op_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode);
void op_unlink(fuse_req_t request, fuse_ino_t parent, const char* name);
void op_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name);
void op_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name);
void op_readlink(fuse_req_t request, fuse_ino_t inode);
void op_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned int flags);
void op_link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t new_parent, const char* new_name);

// attribute_ops.cpp: attributes of files and of the file system.
void op_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info);
void op_setattr(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int to_set,
                fuse_file_info* info);
void op_statfs(fuse_req_t request, fuse_ino_t inode);
void op_setxattr(fuse_req_t request, fuse_ino_t inode, const char* name, const char* value,
                 size_t size, int flags);
void op_getxattr(fuse_req_t request, fuse_ino_t inode, const char* name, size_t size);
void op_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size);
void op_removexattr(fuse_req_t request, fuse_ino_t inode, const char* name);

// file_ops.cpp: contents.
void op_open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info);
void op_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* info);
void op_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info* info);
void op_write(fuse_req_t request, fuse_ino_t inode, const char* data, size_t size, off_t offset,
              fuse_file_info* info);
void op_flush(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info);
void op_release(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info);
void op_fsync(fuse_req_t request, fuse_ino_t inode, int data_only, fuse_file_info* info);
void op_fallocate(fuse_req_t request, fuse_ino_t inode, int mode, off_t offset, off_t length,
                  fuse_file_info* info);

// directory_ops.cpp: reading directories.
void op_opendir(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info);
void op_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                fuse_file_info* info);
void op_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                    fuse_file_info* info);
void op_releasedir(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info);
void op_fsyncdir(fuse_req_t request, fuse_ino_t inode, int data_only, fuse_file_info* info);

}  // namespace mpoolfs
