// MDCs.
#include <array>
#include <cerrno>
#include <exception>
#include <limits>

#include "fuse/client/handle.h"

namespace {

using libmpool::guarded;
using libmpool::require;
using libmpool::require_writable;
using mpool::ObjectId;

void require_writable_mdc(const mpool_mdc* mdc) {
  require(mdc);
  require_writable(mdc->handle);
}

void refuse_root(const mpool_handle& handle, uint64_t logid1, uint64_t logid2) {
  if (libmpool::is_root_log(logid1) || libmpool::is_root_log(logid2)) {
    mpool::raise(EPERM, handle.pool().name(), "the root MDC stays");
  }
}

// Aborts an uncommitted log; false when there is none.
bool abort_quietly(mpool::ClientPool& client, ObjectId id) noexcept {
  try {
    client.abort_log(id);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

// Removes a log, committed or not.
void remove_quietly(mpool::ClientPool& client, ObjectId id) noexcept {
  try {
    if (!abort_quietly(client, id)) client.delete_log(id);
  } catch (const std::exception&) {
    // The failure that led here is the one that counts.
  }
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
    mpool::ClientPool& client = mp->client();
    const auto first = client.allocate_log(media_class, capacity->mdt_captgt, policy);
    ObjectId second;
    try {
      second = client.allocate_log(media_class, capacity->mdt_captgt, policy).id;
    } catch (...) {
      abort_quietly(client, first.id);
      throw;
    }
    *logid1 = first.id.value;
    *logid2 = second.value;
    if (props == nullptr) return;
    *props = {};
    props->mdc_objid1 = first.id.value;
    props->mdc_objid2 = second.value;
    props->mdc_alloc_cap = first.capacity;
    props->mdc_mclassp = mclass;
  });
}

mpool_err_t mpool_mdc_commit(mpool_handle* mp, uint64_t logid1, uint64_t logid2) {
  return guarded([&] {
    require_writable(mp);
    refuse_root(*mp, logid1, logid2);
    mpool::ClientPool& client = mp->client();
    try {
      client.commit_log(ObjectId{logid1});
      client.commit_log(ObjectId{logid2});
    } catch (...) {
      remove_quietly(client, ObjectId{logid1});
      remove_quietly(client, ObjectId{logid2});
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
        mp->client().abort_log(ObjectId{id});
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
    refuse_root(*mp, logid1, logid2);
    std::exception_ptr last;
    for (const uint64_t id : {logid1, logid2}) {
      try {
        libmpool::refuse_tree_object(*mp, id);
        mp->client().delete_log(ObjectId{id});
      } catch (const mpool::Error&) {
        last = std::current_exception();
        abort_quietly(mp->client(), ObjectId{id});
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
      libmpool::refuse_tree_object(*mp, logid1);
      libmpool::refuse_tree_object(*mp, logid2);
    }
    auto opened = std::make_unique<mpool_mdc>(mpool_mdc{.handle = mp, .mdc = {}});
    mpool_mdc* const handle = opened.get();
    const std::lock_guard lock(mp->mutex);
    mp->mdcs.emplace(handle, std::move(opened));
    try {
      handle->mdc = mp->client().open_mdc(ObjectId{logid1}, ObjectId{logid2});
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
    const std::shared_ptr<mpool::ClientMdc> closed = std::move(mdc->mdc);
    const bool failed = closed->failed();
    handle.client().close_mdc(closed);
    if (failed) mpool::raise(EINVAL, "MDC", "its compaction had failed");
  });
}

mpool_err_t mpool_mdc_sync(mpool_mdc* mdc) {
  return guarded([&] {
    require_writable_mdc(mdc);
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
    require(mdc);
    require(data);
    require_writable_mdc(mdc);
    if (len < 0 || len > ssize_t{std::numeric_limits<std::uint32_t>::max()}) {
      mpool::raise(EINVAL, "call", "a record of {} bytes", len);
    }
    mdc->mdc->append(mpool::as_bytes(data, static_cast<std::size_t>(len)), sync);
  });
}

mpool_err_t mpool_mdc_cstart(mpool_mdc* mdc) {
  return guarded([&] {
    require_writable_mdc(mdc);
    mdc->mdc->start_compaction();
  });
}

mpool_err_t mpool_mdc_cend(mpool_mdc* mdc) {
  return guarded([&] {
    require_writable_mdc(mdc);
    mdc->mdc->end_compaction();
  });
}

mpool_err_t mpool_mdc_usage(mpool_mdc* mdc, size_t* used) {
  return guarded([&] {
    require(mdc, used);
    *used = mdc->mdc->used();
  });
}
