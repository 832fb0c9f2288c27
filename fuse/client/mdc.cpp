// MDCs.
#include <cerrno>
#include <exception>
#include <limits>

#include "fuse/client/handle.h"

namespace {

using libmpool::guarded;
using libmpool::require;
using libmpool::require_writable;
using mpool::ObjectId;

constexpr auto kLogType = mpool::ObjectType::mlog;

void refuse_root(uint64_t logid1, uint64_t logid2) {
  if (libmpool::is_root_log(logid1) || libmpool::is_root_log(logid2)) {
    mpool::raise(EPERM, "pool", "the root MDC stays");
  }
}

// Gives up a log after a failure, which is the one that counts.
template <typename Step>
void quietly(const Step& step) noexcept {
  try {
    step();
  } catch (const std::exception&) {
    // There is none, or it stays.
  }
}

// Of an uncommitted log.
void abort_quietly(libmpool::Backend& backend, ObjectId id) noexcept {
  quietly([&] { backend.abort(id, kLogType); });
}

}  // namespace

mpool_err_t mpool_mdc_alloc(mpool_handle* mp, uint64_t* logid1, uint64_t* logid2,
                            mp_media_classp mclass, const mdc_capacity* capacity,
                            mdc_props* props) {
  return guarded([&] {
    require(mp, logid1, logid2, capacity);
    require_writable(mp);
    const mpool::MediaClass media_class = libmpool::class_from(mclass);
    const mpool::SpacePolicy policy = libmpool::policy_from(capacity->mdt_spare);
    libmpool::Backend& backend = mp->backend();
    const ObjectId first = backend.allocate(kLogType, media_class, capacity->mdt_captgt, policy);
    ObjectId second;
    mlog_props log{};
    try {
      second = backend.allocate(kLogType, media_class, capacity->mdt_captgt, policy);
      if (props != nullptr) log = backend.log(first);
    } catch (...) {
      abort_quietly(backend, first);
      if (second.value != 0) abort_quietly(backend, second);
      throw;
    }
    *logid1 = first.value;
    *logid2 = second.value;
    if (props == nullptr) return;
    *props = {};
    props->mdc_objid1 = first.value;
    props->mdc_objid2 = second.value;
    props->mdc_alloc_cap = log.lpr_alloc_cap;
    props->mdc_mclassp = mclass;
  });
}

mpool_err_t mpool_mdc_commit(mpool_handle* mp, uint64_t logid1, uint64_t logid2) {
  return guarded([&] {
    require_writable(mp);
    refuse_root(logid1, logid2);
    libmpool::Backend& backend = mp->backend();
    const ObjectId first{logid1};
    const ObjectId second{logid2};
    bool committed = false;
    try {
      backend.commit(first, kLogType);
      committed = true;
      backend.commit(second, kLogType);
    } catch (...) {
      // Not what was committed before.
      if (committed) quietly([&] { backend.remove(first, kLogType); });
      abort_quietly(backend, first);
      abort_quietly(backend, second);
      throw;
    }
  });
}

mpool_err_t mpool_mdc_abort(mpool_handle* mp, uint64_t logid1, uint64_t logid2) {
  return guarded([&] {
    require_writable(mp);
    std::exception_ptr last;
    for (const uint64_t id : {logid1, logid2}) {
      try {
        mp->backend().abort(ObjectId{id}, kLogType);
      } catch (const mpool::Error&) {
        last = std::current_exception();
      }
    }
    if (last) std::rethrow_exception(last);
  });
}

mpool_err_t mpool_mdc_delete(mpool_handle* mp, uint64_t logid1, uint64_t logid2) {
  return guarded([&] {
    require_writable(mp);
    refuse_root(logid1, logid2);
    std::exception_ptr last;
    for (const uint64_t id : {logid1, logid2}) {
      try {
        mp->backend().remove(ObjectId{id}, kLogType);
      } catch (const mpool::Error&) {
        last = std::current_exception();
        abort_quietly(mp->backend(), ObjectId{id});
      }
    }
    if (last) std::rethrow_exception(last);
  });
}

mpool_err_t mpool_mdc_get_root(mpool_handle* mp, uint64_t* logid1, uint64_t* logid2) {
  return guarded([&] {
    require(mp, logid1, logid2);
    *logid1 = mpool::root_log_id(0).value;
    *logid2 = mpool::root_log_id(1).value;
  });
}

mpool_err_t mpool_mdc_open(mpool_handle* mp, uint64_t logid1, uint64_t logid2, uint8_t,
                           mpool_mdc** mdc) {
  return guarded([&] {
    require(mp, mdc);
    if (mp->writable && logid1 != logid2 && libmpool::is_root_log(logid1) &&
        libmpool::is_root_log(logid2)) {
      libmpool::refuse_tree(*mp);
    }
    if (mp->writable) {
      mp->backend().check_changeable(ObjectId{logid1});
      mp->backend().check_changeable(ObjectId{logid2});
    }
    auto opened = std::make_unique<mpool_mdc>(mpool_mdc{.handle = mp, .mdc = {}});
    mpool_mdc* const handle = opened.get();
    const std::lock_guard lock(mp->mutex);
    mp->mdcs.emplace(handle, std::move(opened));
    try {
      handle->mdc = mp->backend().open_mdc(ObjectId{logid1}, ObjectId{logid2});
    } catch (...) {
      mp->mdcs.erase(handle);
      throw;
    }
    *mdc = handle;
  });
}

mpool_err_t mpool_mdc_close(mpool_mdc* mdc) {
  return guarded([&] {
    require(mdc);
    mpool_handle& handle = *mdc->handle;
    const std::lock_guard lock(handle.mutex);
    const auto ended = handle.mdcs.extract(mdc);
    if (ended.empty()) mpool::raise(EINVAL, "call", "not an open MDC");
    const bool failed = mdc->mdc->failed();
    mdc->mdc->close();
    if (failed) mpool::raise(EINVAL, "MDC", "its compaction had failed");
  });
}

mpool_err_t mpool_mdc_sync(mpool_mdc* mdc) {
  return guarded([&] {
    require_writable(mdc);
    mdc->mdc->sync();
  });
}

mpool_err_t mpool_mdc_rewind(mpool_mdc* mdc) {
  return guarded([&] {
    require(mdc);
    mdc->mdc->rewind();
  });
}

mpool_err_t mpool_mdc_read(mpool_mdc* mdc, void* data, size_t size, size_t* rdlen) {
  return guarded([&] {
    require(mdc, rdlen);
    require(data);
    libmpool::give_result(mdc->mdc->read(libmpool::bytes_of(data, size)), rdlen);
  });
}

mpool_err_t mpool_mdc_append(mpool_mdc* mdc, void* data, ssize_t len, bool sync) {
  return guarded([&] {
    require(mdc, data);
    require_writable(mdc);
    if (len < 0 || len > ssize_t{std::numeric_limits<std::uint32_t>::max()}) {
      mpool::raise(EINVAL, "call", "a record of {} bytes", len);
    }
    const mpool::ConstByteSpan record = mpool::as_bytes(data, static_cast<std::size_t>(len));
    mdc->mdc->append(std::span(&record, 1), sync);
  });
}

mpool_err_t mpool_mdc_cstart(mpool_mdc* mdc) {
  return guarded([&] {
    require_writable(mdc);
    mdc->mdc->start_compaction();
  });
}

mpool_err_t mpool_mdc_cend(mpool_mdc* mdc) {
  return guarded([&] {
    require_writable(mdc);
    mdc->mdc->end_compaction();
  });
}

mpool_err_t mpool_mdc_usage(mpool_mdc* mdc, size_t* used) {
  return guarded([&] {
    require(mdc, used);
    *used = mdc->mdc->used();
  });
}
