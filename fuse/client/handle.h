// The handles of C programs.
#pragma once

#include <algorithm>
#include <cerrno>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/base/error.h"
#include "engine/client/client_pool.h"
#include "fuse/client/api.h"
#include "fuse/client/guard.h"
#include "fuse/client/pool_table.h"

struct mpool_mlog {
  mpool_handle* handle;
  mpool::ObjectId id;
  std::unique_ptr<libmpool::Log> log;
};

struct mpool_mdc {
  mpool_handle* handle;
  std::unique_ptr<libmpool::Mdc> mdc;
};

struct mpool_handle {
  explicit mpool_handle(libmpool::PoolUse open, bool is_writable)
      : use(std::move(open)), writable(is_writable) {}
  libmpool::Backend& backend() const { return *use; }

  libmpool::PoolUse use;
  const bool writable;
  std::mutex mutex;  // guards the logs opened by this handle
  std::unordered_set<const mpool_mlog*> logs;
  // Owned: a program need not close one whose compaction failed.
  std::unordered_map<const mpool_mdc*, std::unique_ptr<mpool_mdc>> mdcs;
};

namespace libmpool {

// EINVAL, EPERM.
inline void require_writable(const mpool_handle* handle) {
  require(handle);
  if (!handle->writable) mpool::raise(EPERM, "call", "the handle is read-only");
}

// The same of an open log or MDC.
template <typename Opened>
void require_writable(const Opened* opened) {
  require(opened);
  require_writable(opened->handle);
}

// EINVAL for a number that is none.
inline mpool::MediaClass class_from(unsigned mclass) {
  if (mclass >= MP_MED_NUMBER) mpool::raise(EINVAL, "call", "no media class {}", mclass);
  return mclass == MP_MED_STAGING ? mpool::MediaClass::staging : mpool::MediaClass::capacity;
}

inline mpool::SpacePolicy policy_from(bool spare) {
  return spare ? mpool::SpacePolicy::spare_then_usable : mpool::SpacePolicy::usable_only;
}

inline bool is_root_log(std::uint64_t id) {
  return id == mpool::root_log_id(0).value || id == mpool::root_log_id(1).value;
}

// EMEDIUMTYPE when a program is about to use the root MDC of a file system's pool.
inline void refuse_tree(const mpool_handle& handle) {
  if (handle.backend().holds_tree()) {
    mpool::raise(EMEDIUMTYPE, "pool", "the root MDC holds a file system");
  }
}

// The result of a read: an error that comes with a length, too.
inline void give_result(const mpool::SharedReader::Result& result, size_t* rdlen) {
  *rdlen = result.length;
  if (result.error != 0) mpool::raise(result.error, "read", "record of {} bytes", result.length);
}

inline mpool::ByteSpan bytes_of(void* data, std::size_t size) {
  return {static_cast<std::byte*>(data), data == nullptr ? 0 : size};
}

// The parts of a transfer; EINVAL unless they are whole pages of page-aligned memory, of a page to
// kMaxTransfer together.
template <typename Span>
std::vector<Span> parts_of(const iovec* iov, int iovc) {
  constexpr int kMaxParts = 1024;
  constexpr std::size_t kMaxTransfer = mpool::ClientPool::kMaxTransfer;
  require(iov);
  if (iovc < 0 || iovc > kMaxParts) mpool::raise(EINVAL, "call", "{} parts", iovc);
  std::vector<Span> parts;
  parts.reserve(static_cast<std::size_t>(iovc));
  std::size_t sum = 0;
  for (const iovec& part : std::span(iov, static_cast<std::size_t>(iovc))) {
    const auto address = reinterpret_cast<std::uintptr_t>(part.iov_base);
    if (address == 0 || part.iov_len == 0 || (address | part.iov_len) % mpool::kPageSize != 0 ||
        part.iov_len > kMaxTransfer - sum) {
      mpool::raise(EINVAL, "call", "not whole pages, or more than {} bytes", kMaxTransfer);
    }
    sum += part.iov_len;
    parts.emplace_back(static_cast<std::byte*>(part.iov_base), part.iov_len);
  }
  if (sum == 0) mpool::raise(EINVAL, "call", "a transfer of nothing");
  return parts;
}

}  // namespace libmpool
