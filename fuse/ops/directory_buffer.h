// The answer to READDIR and READDIRPLUS.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/names/names.h"
#include "fuse/ops/fuse_api.h"

namespace mpoolfs {

// Offsets of directory entries as the kernel sees them: 0 is the start, 1 is after ".", 2 after
// "..", and what follows are the engine's cookies.
inline constexpr std::uint64_t kAfterDot = 1;
inline constexpr std::uint64_t kAfterDotDot = 2;

// An entry chosen for an answer; `offset` is where reading goes on after it.
struct ListedEntry {
  std::string name;
  mpool::InodeNumber inode = 0;
  mpool::FileKind kind = mpool::FileKind::empty;
  std::uint64_t offset = 0;

  bool is_dots() const { return offset <= kAfterDotDot; }
};

// The entries of `directory` after `offset`, as many as fit in `size` bytes of an answer, "." and
// ".." first. plus: of the longer kind of entries.
std::vector<ListedEntry> list_entries(mpool::Namespace& names, mpool::InodeNumber directory,
                                      std::uint64_t offset, std::size_t size, bool plus);

}  // namespace mpoolfs
