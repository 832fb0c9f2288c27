#include "fuse/ops/directory_buffer.h"

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "fuse/ops/attributes.h"

namespace mpoolfs {

namespace {

// Offsets of directory entries as the kernel sees them: 0 is the start, 1 is after ".", 2 after
// "..", and what follows are the engine's cookies.
constexpr std::uint64_t kAfterDot = 1;
constexpr std::uint64_t kAfterDotDot = 2;

// An entry chosen for an answer; `offset` is where reading goes on after it.
struct ListedEntry {
  std::string name;
  mpool::InodeNumber inode = 0;
  mpool::FileKind kind = mpool::FileKind::empty;
  std::uint64_t offset = 0;

  bool is_dots() const { return offset <= kAfterDotDot; }
};

// Bytes that an entry takes in an answer. The library computes it when given no memory.
std::size_t entry_size(const std::string& name, bool plus) {
  return plus ? fuse_add_direntry_plus(nullptr, nullptr, 0, name.c_str(), nullptr, 0)
              : fuse_add_direntry(nullptr, nullptr, 0, name.c_str(), nullptr, 0);
}

std::vector<ListedEntry> list_entries(const DirectorySource& source, std::uint64_t offset,
                                      std::size_t size, bool plus) {
  std::vector<ListedEntry> entries;
  std::size_t used = 0;
  const auto take = [&](ListedEntry&& entry) {
    used += entry_size(entry.name, plus);
    if (used > size) return false;
    entries.push_back(std::move(entry));
    return true;
  };
  constexpr auto kDirectory = mpool::FileKind::directory;
  if (offset < kAfterDot && !take({".", source.inode, kDirectory, kAfterDot})) return entries;
  if (offset < kAfterDotDot && !take({"..", source.parent(), kDirectory, kAfterDotDot})) {
    return entries;
  }
  source.read(offset <= kAfterDotDot ? 0 : offset, [&](const mpool::DirectoryEntry& entry) {
    return take({std::string(entry.name), entry.inode, entry.kind, entry.cookie});
  });
  return entries;
}

// What READDIR says of an entry, the inode number and the type; and what READDIRPLUS says where it
// can say no more: with inode 0 the kernel takes these alone.
fuse_entry_param briefly(const ListedEntry& entry) {
  fuse_entry_param brief{};
  brief.attr.st_ino = entry.inode;
  brief.attr.st_mode = type_bits(entry.kind);
  return brief;
}

std::optional<fuse_entry_param> fully(const DirectorySource& source, const ListedEntry& entry) {
  if (entry.is_dots()) return briefly(entry);
  try {
    return source.describe(entry.inode);
  } catch (const mpool::Error& error) {
    if (error.code() != ENOENT && error.code() != ESTALE) throw;
    return briefly(entry);
  }
}

}  // namespace

bool reply_directory(fuse_req_t request, const DirectorySource& source, std::uint64_t offset,
                     std::size_t size, bool plus) {
  std::vector<char> buffer(size);
  std::size_t used = 0;
  for (const ListedEntry& entry : list_entries(source, offset, size, plus)) {
    const std::optional<fuse_entry_param> shown = plus ? fully(source, entry) : briefly(entry);
    if (!shown) return false;
    char* const at = buffer.data() + used;
    const auto next = static_cast<off_t>(entry.offset);
    used +=
        plus ? fuse_add_direntry_plus(request, at, size - used, entry.name.c_str(), &*shown, next)
             : fuse_add_direntry(request, at, size - used, entry.name.c_str(), &shown->attr, next);
  }
  fuse_reply_buf(request, buffer.data(), used);
  return true;
}

}  // namespace mpoolfs
