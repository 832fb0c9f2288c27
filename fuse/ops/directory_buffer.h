// The answer to READDIR and READDIRPLUS.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "engine/names/names.h"
#include "fuse/ops/fuse_api.h"

namespace mpoolfs {

// A directory to be listed. The functions are called during reply_directory() only.
struct DirectorySource {
  mpool::InodeNumber inode = 0;
  std::function<mpool::InodeNumber()> parent;  // what ".." stands for
  // As Namespace::read_directory.
  using Take = std::function<bool(const mpool::DirectoryEntry&)>;
  std::function<void(std::uint64_t cookie, const Take& take)> read;
  // What READDIRPLUS says of an entry; nullopt where that cannot be told without waiting. Throws
  // ENOENT or ESTALE for one that went away meanwhile.
  std::function<std::optional<fuse_entry_param>(mpool::InodeNumber)> describe;
  // What was described becomes part of an answer: as Namespace::ref(). None: nothing is counted.
  std::function<void(std::span<mpool::InodeNumber>)> ref;
};

// Answers with the entries after `offset` (0: from the start), "." and ".." first, as many as fit
// in `size` bytes. plus: the longer kind of entries. Throws what the functions throw, without an
// answer then. False, and no answer, where describe() could not tell.
[[nodiscard]] bool reply_directory(fuse_req_t request, const DirectorySource& source,
                                   std::uint64_t offset, std::size_t size, bool plus);

}  // namespace mpoolfs
