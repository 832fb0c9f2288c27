#include <cerrno>
#include <vector>

#include "engine/base/error.h"
#include "fuse/ops/answer.h"
#include "fuse/ops/directory_buffer.h"
#include "fuse/ops/operations.h"

namespace mpoolfs {

namespace {

// What READDIR says of an entry: the inode number and the type.
struct stat brief_attributes(const ListedEntry& entry) {
  struct stat brief {};
  brief.st_ino = entry.inode;
  brief.st_mode = type_bits(entry.kind);
  return brief;
}

// What READDIRPLUS says of an entry. With inode 0 the kernel takes the name and type alone: for "."
// and
// "..", and for an entry that went away since it was listed.
fuse_entry_param full_attributes(FileSystem& file_system, const ListedEntry& entry) {
  fuse_entry_param brief{};
  brief.attr = brief_attributes(entry);
  if (entry.is_dots()) return brief;
  try {
    return to_entry(file_system.names.attributes(entry.inode), file_system.presentation);
  } catch (const mpool::Error& error) {
    if (error.code() != ENOENT && error.code() != ESTALE) throw;
    return brief;
  }
}

template <typename Add>
void reply_entries(fuse_req_t request, const std::vector<ListedEntry>& entries, size_t size,
                   Add&& add) {
  std::vector<char> buffer(size);
  std::size_t used = 0;
  for (const ListedEntry& entry : entries) {
    used += add(buffer.data() + used, size - used, entry);
  }
  fuse_reply_buf(request, buffer.data(), used);
}

}  // namespace

// There is no state of an open directory: the kernel is told not to ask again, and to cache
// listings until the directory changes.
void op_opendir(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  fuse_reply_err(request, ENOSYS);
}

void op_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info*) {
  answer(request, "readdir", inode, [&](FileSystem& file_system) {
    const auto entries =
        list_entries(file_system.names, inode, static_cast<std::uint64_t>(offset), size, false);
    reply_entries(request, entries, size,
                  [&](char* at, std::size_t room, const ListedEntry& entry) {
                    const struct stat brief = brief_attributes(entry);
                    return fuse_add_direntry(request, at, room, entry.name.c_str(), &brief,
                                             static_cast<off_t>(entry.offset));
                  });
  });
}

void op_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                    fuse_file_info*) {
  answer(request, "readdirplus", inode, [&](FileSystem& file_system) {
    const auto entries =
        list_entries(file_system.names, inode, static_cast<std::uint64_t>(offset), size, true);
    reply_entries(request, entries, size,
                  [&](char* at, std::size_t room, const ListedEntry& entry) {
                    const fuse_entry_param full = full_attributes(file_system, entry);
                    return fuse_add_direntry_plus(request, at, room, entry.name.c_str(), &full,
                                                  static_cast<off_t>(entry.offset));
                  });
  });
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
