#include "fuse/ops/directory_buffer.h"

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "fuse/ops/attributes.h"

namespace mpoolfs {

namespace {

// Offsets of directory entries in the kernel: 0 is the start, 1 is after ".", 2 after "..", then
// follow the engine's cookies.
constexpr std::uint64_t kAfterDot = 1;
constexpr std::uint64_t kAfterDotDot = 2;

// An entry chosen for an answer; reading continues at `offset` after it.
struct ListedEntry {
  std::string name;
  mpool::InodeNumber inode = 0;
  mpool::FileKind kind = mpool::FileKind::empty;
  std::uint64_t offset = 0;

  bool is_dots() const { return offset <= kAfterDotDot; }
};

// Bytes of an entry in an answer. The library computes it when given no memory.
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

// The READDIR data of an entry: inode number and type. Also for READDIRPLUS where the attributes
// are unknown: with inode 0 the kernel uses these alone.
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

// Nullopt if describing one of them would block.
std::optional<std::vector<fuse_entry_param>> describe_entries(
    const DirectorySource& source, const std::vector<ListedEntry>& entries, bool plus) {
  std::vector<fuse_entry_param> all;
  all.reserve(entries.size());
  for (const ListedEntry& entry : entries) {
    const std::optional<fuse_entry_param> shown = plus ? fully(source, entry) : briefly(entry);
    if (!shown) return std::nullopt;
    all.push_back(*shown);
  }
  return all;
}

// The kernel treats each entry that has an inode as looked up. For an entry that was removed
// meanwhile the answer contains only its name.
void refer_to(const DirectorySource& source, const std::vector<ListedEntry>& entries,
              std::vector<fuse_entry_param>& shown) {
  std::vector<mpool::InodeNumber> inodes;
  inodes.reserve(shown.size());
  for (const fuse_entry_param& entry : shown)
    inodes.push_back(entry.ino);
  source.ref(inodes);
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (inodes[i] == 0) shown[i] = briefly(entries[i]);
  }
}

}  // namespace

std::optional<std::vector<char>> list_directory(const DirectorySource& source, std::uint64_t offset,
                                                std::size_t size, bool plus) {
  const std::vector<ListedEntry> entries = list_entries(source, offset, size, plus);
  std::optional<std::vector<fuse_entry_param>> shown = describe_entries(source, entries, plus);
  if (!shown) return std::nullopt;
  std::vector<char> buffer(size);
  if (plus && source.ref) refer_to(source, entries, *shown);
  std::size_t used = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    char* const at = buffer.data() + used;
    const char* const name = entries[i].name.c_str();
    const fuse_entry_param& entry = (*shown)[i];
    const auto next = static_cast<off_t>(entries[i].offset);
    used += plus ? fuse_add_direntry_plus(nullptr, at, size - used, name, &entry, next)
                 : fuse_add_direntry(nullptr, at, size - used, name, &entry.attr, next);
  }
  buffer.resize(used);
  return buffer;
}

}  // namespace mpoolfs
