// An open file: all that a frontend does with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "engine/base/blocking.h"
#include "engine/base/bytes.h"
#include "engine/file/file_io.h"
#include "engine/refs/file_holders.h"
#include "engine/tree/attributes.h"

namespace mpool {

struct OpenIntent {
  bool read = false;
  bool write = false;
  bool append = false;    // O_APPEND
  bool truncate = false;  // O_TRUNC
  bool direct = false;    // O_DIRECT: Buffering::device
  FileHolder holder = FileHolder::open_file;
};

// Whether an allocated range becomes part of the file.
enum class LengthChange : std::uint8_t { keep, extend };

enum class SeekFor : std::uint8_t { data, hole };

// An open file. Made by Namespace::open and create; must be closed once, before the Namespace ends.
//
// Threads: all functions except close() may be called at the same time.
class OpenFile {
 public:
  virtual ~OpenFile() = default;

  virtual InodeNumber inode() const = 0;
  virtual FileKind kind() const = 0;
  // The content is committed: it can be cached and mapped.
  virtual bool cacheable() const = 0;

  // Reads at most `length` bytes; fewer only at the end of the file. Of a write-once file that is
  // not committed: the content written so far, by any handle. Errors: EBADF, EIO.
  // With `on` the call does not block on the device where it need not: the operation is finished on
  // the ring. `memory` is aligned to kPageSize; its size is a multiple of kPageSize and not less
  // than `length`. It is used until the end and may be touched up to the end of the page in which
  // the data ends. Files other than committed write-once files, and content that does not lie in
  // whole pages of the device, are read before the call returns; with Blocking::forbidden:
  // would_block. Without `on` everything is, into any memory of at least `length` bytes.
  virtual ReadResult read(std::uint64_t offset, std::size_t length, ByteSpan memory,
                          std::optional<OnRing<FileRead>> on, Blocking blocking) = 0;
  std::size_t read(std::uint64_t offset, ByteSpan into) {
    return read(offset, into.size(), into, std::nullopt, Blocking::allowed).data.size();
  }
  // Write-once: EINVAL for bytes that are on the device already. Log: one record, at the end; with
  // `append` false EINVAL at any other offset. EBADF when opened for reading. Errors: ENOSPC, EIO,
  // EFBIG.
  // With `on` as for read(); `data` is used until the operation is finished. done: the data is
  // taken, and may be on the device later; a failure then is returned by later writes, fsync and
  // close. Logs, and data for which zones must be allocated or memory is short, are written before
  // the call returns; with Blocking::forbidden: would_block.
  virtual IoState write(std::uint64_t offset, ConstByteSpan data, bool append,
                        std::optional<OnRing<FileWrite>> on, Blocking blocking) = 0;
  void write(std::uint64_t offset, ConstByteSpan data, bool append) {
    write(offset, data, append, std::nullopt, Blocking::allowed);
  }
  // ftruncate. Write-once file being written: size 0 discards, a greater size declares, a smaller
  // size removes the tail; bytes of the tail that were on the device cannot be written again. Log:
  // size 0 erases, otherwise EPERM.
  virtual void truncate(std::uint64_t size) = 0;
  // fallocate: until the last close, writes to the range do not fail for lack of room. An fsync
  // ends this guarantee for the rest of zones that were written to with gaps. ENOSPC with nothing
  // changed; EOPNOTSUPP for logs; EBADF when opened for reading.
  virtual void allocate(std::uint64_t offset, std::uint64_t length, LengthChange change) = 0;
  // lseek with SEEK_DATA and SEEK_HOLE: the first offset from `offset` on that is of the kind; the
  // end of the file counts as a hole. Exact for committed files; in others everything is data, but
  // what a file without content declares as its length. nullopt: `offset` is not in the file, or
  // no data follows.
  virtual std::optional<std::uint64_t> seek(std::uint64_t offset, SeekFor what) = 0;
  // Everything written so far by any handle, and the name of the file, is durable on return.
  virtual void fsync() = 0;
  // A descriptor was closed (others may exist): returns the errors so far. If close() follows, with
  // no write between, the commit comes here in the order of changes.
  // False: it would block.
  virtual bool flush(Blocking blocking) = 0;
  void flush() { flush(Blocking::allowed); }
  // The last close. Commits when this is the last writing handle. Never throws: a failed commit is
  // logged and the file is removed. False: it would block, which is so unless a new small file
  // stays in memory completely, or there is nothing to commit or delete. Then close() must follow,
  // which may block: batches of changes and calls about this file wait for it.
  virtual bool close(Blocking blocking) noexcept = 0;
  void close() noexcept { close(Blocking::allowed); }
};

// A new file, open.
using CreatedFile = std::pair<Attributes, std::unique_ptr<OpenFile>>;

}  // namespace mpool
