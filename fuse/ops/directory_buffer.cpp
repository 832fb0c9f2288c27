#include "fuse/ops/directory_buffer.h"

namespace mpoolfs {

namespace {

// Bytes that an entry takes in an answer. The library computes it when given no memory.
std::size_t entry_size(const std::string& name, bool plus) {
  return plus ? fuse_add_direntry_plus(nullptr, nullptr, 0, name.c_str(), nullptr, 0)
              : fuse_add_direntry(nullptr, nullptr, 0, name.c_str(), nullptr, 0);
}

}  // namespace

std::vector<ListedEntry> list_entries(mpool::Namespace& names, mpool::InodeNumber directory,
                                      std::uint64_t offset, std::size_t size, bool plus) {
  std::vector<ListedEntry> entries;
  std::size_t used = 0;
  const auto take = [&](ListedEntry&& entry) {
    used += entry_size(entry.name, plus);
    if (used > size) return false;
    entries.push_back(std::move(entry));
    return true;
  };
  constexpr auto kDirectory = mpool::FileKind::directory;
  if (offset < kAfterDot && !take({".", directory, kDirectory, kAfterDot})) return entries;
  if (offset < kAfterDotDot &&
      !take({"..", names.parent_of(directory), kDirectory, kAfterDotDot})) {
    return entries;
  }
  names.read_directory(
      directory, offset <= kAfterDotDot ? 0 : offset, [&](const mpool::DirectoryEntry& entry) {
        return take({std::string(entry.name), entry.inode, entry.kind, entry.cookie});
      });
  return entries;
}

}  // namespace mpoolfs
