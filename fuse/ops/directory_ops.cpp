#include <optional>
#include <span>
#include <vector>

#include "fuse/ops/directory_buffer.h"
#include "fuse/ops/operations.h"

namespace mpoolfs {

namespace {

// Longer answers would delay other requests of the same thread.
constexpr std::size_t kMaxListedAtOnce = 64u << 10;  // bytes

std::optional<std::vector<char>> list(const Call& call, mpool::InodeNumber inode, std::size_t size,
                                      off_t offset, bool plus) {
  if (!call.can_block() && size > kMaxListedAtOnce) return std::nullopt;
  mpool::Namespace& names = call.names();
  const auto describe = [&](mpool::InodeNumber entry) -> std::optional<fuse_entry_param> {
    const auto found = names.attributes(entry, call.blocking);
    if (!found) return std::nullopt;
    return to_entry(*found, call.file_system.presentation);
  };
  const DirectorySource source{
      .inode = inode,
      .parent = [&] { return names.parent_of(inode); },
      .read = [&](std::uint64_t cookie,
                  const DirectorySource::Take& take) { names.read_directory(inode, cookie, take); },
      .describe = describe,
      .ref = [&](std::span<mpool::InodeNumber> entries) { names.ref(entries); }};
  return list_directory(source, static_cast<std::uint64_t>(offset), size, plus);
}

}  // namespace

std::optional<std::vector<char>> op_readdir(const Call& call, mpool::InodeNumber inode,
                                            std::size_t size, off_t offset, const FileArgument&) {
  return list(call, inode, size, offset, false);
}

std::optional<std::vector<char>> op_readdirplus(const Call& call, mpool::InodeNumber inode,
                                                std::size_t size, off_t offset,
                                                const FileArgument&) {
  return list(call, inode, size, offset, true);
}

Outcome op_fsyncdir(const Call& call, mpool::InodeNumber, int, const FileArgument&) {
  call.names().sync();
  return Outcome::done;
}

}  // namespace mpoolfs
