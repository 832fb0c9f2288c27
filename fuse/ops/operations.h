// The handlers of the kernel's requests: functions that do the work on the calling thread and
// return a value, or throw. They know neither libfuse nor the transport. All may be called at the
// same time. Those that starts_on_reactor() (transport/dispatcher.cpp) names are called with
// Blocking::forbidden first.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <sys/statvfs.h>

#include "engine/file/file_io.h"
#include "fuse/ops/call.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/ops/results.h"

namespace mpoolfs {

// The table for fuse_session_new(): its functions call the handlers, and reply.
const fuse_lowlevel_ops& operations();

// name_ops.cpp: names and their inodes.
mpool::LookupAnswer op_lookup(const Call& call, mpool::InodeNumber parent, std::string_view name);
Outcome op_forget(const Call& call, std::span<const mpool::InodeReferences> references);
Entry op_mknod(const Call& call, mpool::InodeNumber parent, std::string_view name, mode_t mode,
               dev_t device);
std::optional<Entry> op_mkdir(const Call& call, mpool::InodeNumber parent, std::string_view name,
                              mode_t mode);
Outcome op_unlink(const Call& call, mpool::InodeNumber parent, std::string_view name);
Outcome op_rmdir(const Call& call, mpool::InodeNumber parent, std::string_view name);
Entry op_symlink(const Call& call, mpool::InodeNumber parent, std::string_view name,
                 std::string_view target);
LinkTarget op_readlink(const Call& call, mpool::InodeNumber inode);
// flags: of renameat2(2).
Outcome op_rename(const Call& call, mpool::InodeNumber parent, std::string_view name,
                  mpool::InodeNumber new_parent, std::string_view new_name, unsigned flags);
Entry op_link(const Call& call, mpool::InodeNumber inode, mpool::InodeNumber new_parent,
              std::string_view new_name);
// The caller owns it.
Ownership ownership_of_new(const Call& call, mpool::InodeNumber parent, mode_t mode);

// attribute_ops.cpp: attributes of files and of the file system.
std::optional<mpool::Attributes> op_getattr(const Call& call, mpool::InodeNumber inode,
                                            const FileArgument& file);
std::optional<mpool::Attributes> op_setattr(const Call& call, mpool::InodeNumber inode,
                                            std::optional<off_t> size,
                                            const mpool::AttributeChange& change,
                                            const FileArgument& file);
struct statvfs op_statfs(const Call& call, mpool::InodeNumber inode);
Outcome op_setxattr(const Call& call, mpool::InodeNumber inode, std::string_view name,
                    const char* value, std::size_t size, int flags);
// room: as SizedValue; ERANGE for less than the value.
std::optional<SizedValue> op_getxattr(const Call& call, mpool::InodeNumber inode,
                                      std::string_view name, std::size_t room);
SizedValue op_listxattr(const Call& call, mpool::InodeNumber inode, std::size_t room);
Outcome op_removexattr(const Call& call, mpool::InodeNumber inode, std::string_view name);

// file_ops.cpp: contents.
std::optional<Opened> op_open(const Call& call, mpool::InodeNumber inode,
                              const FileArgument& argument);
// name: kUnnamed makes a file without a name (O_TMPFILE).
inline constexpr std::string_view kUnnamed = "/";
std::optional<CreatedFile> op_create(const Call& call, mpool::InodeNumber parent,
                                     std::string_view name, mode_t mode,
                                     const FileArgument& argument);
// memory: as OpenFile::read(). `io` and `operation` are used where the call must not block.
mpool::ReadResult op_read(const Call& call, const FileArgument& argument, std::uint64_t offset,
                          std::size_t size, mpool::ByteSpan memory, mpool::FileIo& io,
                          mpool::FileRead& operation);
mpool::IoState op_write(const Call& call, const FileArgument& argument, std::uint64_t offset,
                        mpool::ConstByteSpan data, mpool::FileIo& io, mpool::FileWrite& operation);
Outcome op_flush(const Call& call, mpool::InodeNumber inode, const FileArgument& argument);
Outcome op_release(const Call& call, mpool::InodeNumber inode, const FileArgument& argument);
Outcome op_fsync(const Call& call, mpool::InodeNumber inode, int data_only,
                 const FileArgument& argument);
// whence: SEEK_DATA or SEEK_HOLE; the kernel handles the others.
FoundOffset op_lseek(const Call& call, mpool::InodeNumber inode, off_t offset, int whence,
                     const FileArgument& argument);
Outcome op_fallocate(const Call& call, mpool::InodeNumber inode, int mode, off_t offset,
                     off_t length, const FileArgument& argument);

// directory_ops.cpp: reading directories. The data is as list_directory() makes it.
std::optional<std::vector<char>> op_readdir(const Call& call, mpool::InodeNumber inode,
                                            std::size_t size, off_t offset,
                                            const FileArgument& argument);
std::optional<std::vector<char>> op_readdirplus(const Call& call, mpool::InodeNumber inode,
                                                std::size_t size, off_t offset,
                                                const FileArgument& argument);
Outcome op_fsyncdir(const Call& call, mpool::InodeNumber inode, int data_only,
                    const FileArgument& argument);

}  // namespace mpoolfs
