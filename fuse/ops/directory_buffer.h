// The data of READDIR and READDIRPLUS.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/names/namespace.h"
#include "fuse/ops/fuse_api.h"

namespace mpoolfs {

// A directory to list. The functions are called during list_directory() only.
struct DirectorySource {
  mpool::InodeNumber inode = 0;
  std::function<mpool::InodeNumber()> parent;  // the inode of ".."
  // As Namespace::read_directory.
  using Take = std::function<bool(const mpool::DirectoryEntry&)>;
  std::function<void(std::uint64_t cookie, const Take& take)> read;
  // The READDIRPLUS data of an entry; nullopt if getting it would block. Throws ENOENT or ESTALE
  // for an entry that was removed meanwhile.
  std::function<std::optional<fuse_entry_param>(mpool::InodeNumber)> describe;
  // Counts the references of the described entries in an answer: as Namespace::ref(). Empty: no
  // counting.
  std::function<void(std::span<mpool::InodeNumber>)> ref;
};

// The entries after `offset` (0: from the start), "." and ".." first, as many as fit in `size`
// bytes, in the form of the protocol. plus: entries with attributes. Throws the errors of the
// functions. nullopt: describe() would block.
std::optional<std::vector<char>> list_directory(const DirectorySource& source, std::uint64_t offset,
                                                std::size_t size, bool plus);

}  // namespace mpoolfs
