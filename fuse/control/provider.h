// What a name in the control directory serves (fuse/control/README.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/file/open_file.h"
#include "fuse/ops/attributes.h"
#include "fuse/ops/results.h"

namespace mpoolfs {

// An open file. Threads: all functions may be called at the same time; they may block. Errors:
// Error with errno.
class ControlFile {
 public:
  virtual ~ControlFile() = default;

  // At most `size` bytes; fewer at the end.
  virtual std::string read(std::uint64_t offset, std::size_t size);  // by default EPERM
  // Takes all of `data`, or throws.
  virtual void write(std::uint64_t offset, mpool::ConstByteSpan data);  // by default EPERM
  // At each close(2) of a descriptor. By default nothing.
  virtual void flush() {}
  // `command` as of _IOR(), _IOW(), _IOWR(): its size and direction are those of `in` and of the
  // result. By default ENOTTY.
  virtual std::vector<std::byte> ioctl(unsigned command, mpool::ConstByteSpan in);

  // How the kernel reads it; a file that is cached has a size and never changes.
  virtual Caching caching() const { return Caching::none; }
  virtual std::uint32_t backing_id() const { return 0; }  // for Caching::native
};

// Owns a name in the control directory: a file, or a directory of files.
//
// Threads: all functions may be called at the same time; they may block. Errors: Error with errno.
class ControlProvider {
 public:
  // kSelf: the name itself. Others, up to kMaxNode: files in its directory.
  using Node = std::uint64_t;
  static constexpr Node kSelf = 0;
  static constexpr Node kMaxNode = (Node{1} << 56) - 3;

  struct Info {
    mpool::FileKind kind = mpool::FileKind::empty;  // or directory, which only kSelf can be
    std::uint32_t mode = 0444;                      // permission bits
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint64_t size = 0;   // bytes; as 0, reads find the end
    std::uint64_t space = 0;  // bytes taken on the devices
  };

  virtual ~ControlProvider() = default;

  // That of kSelf never changes. ESTALE: no such node.
  virtual Info describe(Node node) const = 0;
  // Of a directory:
  virtual std::optional<Node> lookup(std::string_view) const { return std::nullopt; }
  // Calls `take` with the files whose nodes are greater than `after`, in ascending order, until it
  // returns false.
  using Take = std::function<bool(Node, std::string_view name)>;
  virtual void list(Node /*after*/, const Take& /*take*/) const {}
  // Of a directory whose mode allows it: removes a file. By default EPERM.
  virtual void remove(std::string_view name);
  // The node is a file whose mode allows the access to some user; the kernel has checked that it
  // allows it to this one.
  virtual std::unique_ptr<ControlFile> open(Node node, const mpool::OpenIntent& intent) = 0;
  // The same for a file that depends on the user.
  virtual std::unique_ptr<ControlFile> open_for(const Caller& /*caller*/, Node node,
                                                const mpool::OpenIntent& intent) {
    return open(node, intent);
  }
};

// A file of text that is generated at each open and stays as it is for that handle. Each line that
// is written to it is a command.
class TextFile : public ControlProvider {
 public:
  using Generator = std::function<std::string()>;
  using Command = std::function<void(std::string_view line)>;

  // Both may be called by several threads at a time. Without commands the file is read-only.
  explicit TextFile(Generator generate, Command command = nullptr);

  Info describe(Node node) const override;
  // The text is generated for an opening that can read.
  std::unique_ptr<ControlFile> open(Node node, const mpool::OpenIntent& intent) override;

 private:
  const Generator generate_;
  const Command command_;
};

}  // namespace mpoolfs
