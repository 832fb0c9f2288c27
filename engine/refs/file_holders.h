// What keeps a file of the tree, and with it the objects of its content.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mpool {

// A user of an inode in memory.
enum class FileHolder : std::uint8_t {
  open_file,       // a handle of the frontend
  backing_file,    // the kernel, which reads the zones by itself
  displaced_name,  // an inode that is not recorded has its name; a roll-back gives it back
  call,            // a call in progress
};
inline constexpr std::size_t kFileHolderCount = 4;
std::string_view to_string(FileHolder holder);

// The number of users of an inode, by kind. Not thread-safe.
class FileHolders {
 public:
  void add(FileHolder holder) { ++counts_[index(holder)]; }
  void drop(FileHolder holder) {
    assert(counts_[index(holder)] > 0);
    --counts_[index(holder)];
  }
  unsigned count(FileHolder holder) const { return counts_[index(holder)]; }
  unsigned total() const {
    unsigned sum = 0;
    for (const unsigned count : counts_)
      sum += count;
    return sum;
  }

 private:
  static constexpr std::size_t index(FileHolder holder) { return static_cast<std::size_t>(holder); }

  std::array<unsigned, kFileHolderCount> counts_{};
};

// Why a file is still needed; the strongest reason.
enum class FileNeed : std::uint8_t {
  name,    // a name of the tree
  holder,  // FileHolders
  // References of the kernel alone (Namespace::ref()): its content may be removed where space is
  // needed.
  references,
  nothing,  // the inode is destroyed and its objects are released (References::release)
};
// `keeps_content` is false when the content was dropped with the last name: references do not keep
// what is left.
constexpr FileNeed need_of(std::uint64_t names, unsigned holders, std::uint64_t references,
                           bool keeps_content = true) {
  if (names > 0) return FileNeed::name;
  if (holders > 0) return FileNeed::holder;
  return references > 0 && keeps_content ? FileNeed::references : FileNeed::nothing;
}

}  // namespace mpool
