// mlogs.
#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "fuse/client/handle.h"

namespace {

using libmpool::guarded;
using libmpool::require;
using libmpool::require_writable;
using mpool::ClientLog;
using mpool::ObjectId;

constexpr auto kMlog = mpool::ObjectType::mlog;

// The first `length` bytes of the parts, which have no count.
std::vector<mpool::ConstByteSpan> record_of(const iovec* iov, size_t length) {
  static constexpr std::array<std::byte, 65536> kZeros{};
  if (length > std::numeric_limits<std::uint32_t>::max()) {
    mpool::raise(EINVAL, "call", "a record of {} bytes", length);
  }
  std::vector<mpool::ConstByteSpan> parts;
  if (length != 0) require(iov);
  for (; length != 0; ++iov) {
    std::size_t left = std::min(iov->iov_len, length);
    length -= left;
    if (iov->iov_base != nullptr) {
      if (left != 0) parts.push_back(mpool::as_bytes(iov->iov_base, left));
      continue;
    }
    for (; left != 0; left -= parts.back().size())
      parts.push_back(std::span(kZeros).first(std::min(left, kZeros.size())));
  }
  return parts;
}

}  // namespace

mpool_err_t mpool_mlog_alloc(mpool_handle* mp, mp_media_classp mclass, mlog_capacity* capacity,
                             uint64_t* mlogid, mlog_props* props) {
  return guarded([&] {
    require(mp, capacity, mlogid);
    require_writable(mp);
    const ObjectId id =
        mp->backend().allocate(kMlog, libmpool::class_from(mclass), capacity->lcp_captgt,
                               libmpool::policy_from(capacity->lcp_spare != 0));
    if (props != nullptr) *props = mp->backend().log(id);
    *mlogid = id.value;
  });
}

mpool_err_t mpool_mlog_commit(mpool_handle* mp, uint64_t mlogid) {
  return guarded([&] {
    require_writable(mp);
    mp->backend().commit(ObjectId{mlogid}, kMlog);
  });
}

mpool_err_t mpool_mlog_abort(mpool_handle* mp, uint64_t mlogid) {
  return guarded([&] {
    require_writable(mp);
    mp->backend().abort(ObjectId{mlogid}, kMlog);
  });
}

mpool_err_t mpool_mlog_delete(mpool_handle* mp, uint64_t mlogid) {
  return guarded([&] {
    require_writable(mp);
    if (libmpool::is_root_log(mlogid)) {
      mpool::raise(EPERM, "pool", "the logs of the root MDC stay");
    }
    mp->backend().remove(ObjectId{mlogid}, kMlog);
  });
}

mpool_err_t mpool_mlog_open(mpool_handle* mp, uint64_t mlogid, uint8_t flags, uint64_t* gen,
                            mpool_mlog** mlog) {
  return guarded([&] {
    require(mp, gen, mlog);
    if (mp->writable && libmpool::is_root_log(mlogid)) libmpool::refuse_tree(*mp);
    if (mp->writable) mp->backend().check_changeable(ObjectId{mlogid});
    const ClientLog::Options options{.semantics = (flags & MLOG_OF_COMPACT_SEM) != 0
                                                      ? mpool::CompactionSemantics::on
                                                      : mpool::CompactionSemantics::off,
                                     .serialised_by_caller = (flags & MLOG_OF_SKIP_SER) != 0};
    auto opened = std::make_unique<mpool_mlog>(mpool_mlog{.handle = mp, .id = {mlogid}, .log = {}});
    const std::lock_guard lock(mp->mutex);
    mp->logs.insert(opened.get());
    try {
      opened->log = mp->backend().open_log(ObjectId{mlogid}, options);
      *gen = opened->log->generation();
    } catch (...) {
      mp->logs.erase(opened.get());
      throw;
    }
    *mlog = opened.release();
  });
}

mpool_err_t mpool_mlog_close(mpool_mlog* mlog) {
  return guarded([&] {
    require(mlog);
    const std::unique_ptr<mpool_mlog> ended(mlog);
    mpool_handle& handle = *mlog->handle;
    const std::lock_guard lock(handle.mutex);
    handle.logs.erase(mlog);
    mlog->log->close();
  });
}

mpool_err_t mpool_mlog_append(mpool_mlog* mlog, iovec* iov, size_t len, int sync) {
  return guarded([&] {
    require_writable(mlog);
    mlog->log->append(record_of(iov, len), sync != 0);
  });
}

mpool_err_t mpool_mlog_rewind(mpool_mlog* mlog) {
  return guarded([&] {
    require(mlog);
    mlog->log->rewind();
  });
}

mpool_err_t mpool_mlog_read(mpool_mlog* mlog, void* data, size_t size, size_t* rdlen) {
  return guarded([&] {
    require(mlog, rdlen);
    require(data);
    libmpool::give_result(mlog->log->read(libmpool::bytes_of(data, size)), rdlen);
  });
}

mpool_err_t mpool_mlog_seek_read(mpool_mlog* mlog, size_t skip, void* data, size_t size,
                                 size_t* rdlen) {
  return guarded([&] {
    require(mlog, rdlen);
    if (skip == 0) require(data);
    const mpool::ByteSpan into = libmpool::bytes_of(data, size);
    libmpool::give_result(skip == 0 ? mlog->log->read(into) : mlog->log->skip_and_read(skip, into),
                          rdlen);
  });
}

mpool_err_t mpool_mlog_sync(mpool_mlog* mlog) {
  return guarded([&] {
    require_writable(mlog);
    mlog->log->sync();
  });
}

mpool_err_t mpool_mlog_len(mpool_mlog* mlog, size_t* len) {
  return guarded([&] {
    require(mlog, len);
    *len = mlog->log->used();
  });
}

mpool_err_t mpool_mlog_erase(mpool_mlog* mlog, uint64_t min_gen) {
  return guarded([&] {
    require_writable(mlog);
    mlog->log->erase(min_gen);
  });
}

mpool_err_t mpool_mlog_props_get(mpool_mlog* mlog, mlog_props* props) {
  return guarded([&] {
    require(mlog, props);
    mlog_props found = mlog->handle->backend().log(mlog->id);
    found.lpr_gen = mlog->log->generation();
    *props = found;
  });
}
