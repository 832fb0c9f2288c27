// Asynchronous reads and writes of an OpenFile, as the daemon makes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "engine/base/write_memory.h"
#include "engine/file/file_io.h"
#include "engine/file/open_file.h"
#include "engine/io/io_ring.h"

namespace mpool::test {

inline constexpr std::size_t kPage = kPageSize;

// A ring of the calling thread. It has no memory of its own: writes are pending until they are on
// the device, and nothing is prefetched.
class AsyncIo {
 public:
  AsyncIo() { ring_.enable(); }

  static AsyncIo& of_thread() {
    static thread_local AsyncIo io;
    return io;
  }
  FileIo& io() { return io_; }
  // Runs completions until no read or write is pending.
  void complete() {
    while (io_.pending() > 0) {
      ring_.submit_and_wait();
      ring_.run_completions();
    }
  }

 private:
  IoRing ring_{8, 64};
  WriteMemory no_memory_{{.max_bytes = 0}};
  FileIoGroup group_{1, no_memory_};
  FileIo io_{ring_, group_, [](RingOperation&) { FAIL() << "there is one ring"; }};
};

struct AsyncRead final : FileRead {
  void finished(ConstByteSpan bytes, int code) noexcept override {
    ++calls;
    error = code;
    text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  int calls = 0;
  int error = 0;
  std::string text;
};

struct AsyncWrite final : FileWrite {
  void finished(int code) noexcept override {
    ++calls;
    error = code;
  }
  int calls = 0;
  int error = 0;
};

// The result of a read that does not block; nullopt if it would.
inline std::optional<std::string> read_async(OpenFile& file, std::uint64_t offset,
                                             std::size_t length) {
  AlignedBuffer memory(round_up(length, kPage));
  if (!memory.empty()) std::memset(memory.data(), 0xee, memory.size());
  AsyncIo& async = AsyncIo::of_thread();
  AsyncRead read;
  const ReadResult result = file.read(offset, length, memory.span(),
                                      OnRing<FileRead>{async.io(), read}, Blocking::forbidden);
  if (result.state == IoState::would_block) return std::nullopt;
  if (result.state == IoState::done) {
    return std::string(reinterpret_cast<const char*>(result.data.data()), result.data.size());
  }
  async.complete();
  EXPECT_EQ(read.calls, 1);
  if (read.error != 0) raise(read.error, "test", "asynchronous read");
  return read.text;
}

inline AlignedBuffer aligned(std::string_view text) {
  AlignedBuffer buffer(text.size());
  std::memcpy(buffer.data(), text.data(), text.size());
  return buffer;
}

// Writes without blocking; if it would block, with it.
inline void put(OpenFile& file, std::uint64_t offset, std::string_view text, bool append = false) {
  const AlignedBuffer data = aligned(text);
  AsyncIo& async = AsyncIo::of_thread();
  AsyncWrite write;
  const IoState state = file.write(offset, data.span(), append,
                                   OnRing<FileWrite>{async.io(), write}, Blocking::allowed);
  if (state == IoState::pending) async.complete();
  EXPECT_EQ(write.calls, state == IoState::pending ? 1 : 0);
}

}  // namespace mpool::test
