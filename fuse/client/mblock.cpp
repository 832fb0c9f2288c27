// mblocks.
#include <cerrno>

#include "fuse/client/handle.h"

namespace {

using libmpool::guarded;
using libmpool::require;
using libmpool::require_writable;
using mpool::ObjectId;

constexpr auto kMblock = mpool::ObjectType::mblock;

}  // namespace

mpool_err_t mpool_mblock_alloc(mpool_handle* mp, mp_media_classp mclass, bool spare, uint64_t* mbid,
                               mblock_props* props) {
  return guarded([&] {
    require(mp, mbid);
    require_writable(mp);
    const ObjectId id = mp->backend().allocate(kMblock, libmpool::class_from(mclass), 0,
                                               libmpool::policy_from(spare));
    if (props != nullptr) *props = mp->backend().mblock(id);
    *mbid = id.value;
  });
}

mpool_err_t mpool_mblock_find(mpool_handle* mp, uint64_t mbid, mblock_props* props) {
  return guarded([&] {
    require(mp);
    const auto found = mp->backend().mblock(ObjectId{mbid});
    if (props != nullptr) *props = found;
  });
}

mpool_err_t mpool_mblock_props_get(mpool_handle* mp, uint64_t mbid, mblock_props* props) {
  return guarded([&] {
    require(mp, props);
    *props = mp->backend().mblock(ObjectId{mbid});
  });
}

mpool_err_t mpool_mblock_write(mpool_handle* mp, uint64_t mbid, const iovec* iov, int iovc) {
  return guarded([&] {
    require_writable(mp);
    mp->backend().write_mblock(ObjectId{mbid}, libmpool::parts_of<mpool::ConstByteSpan>(iov, iovc));
  });
}

mpool_err_t mpool_mblock_commit(mpool_handle* mp, uint64_t mbid) {
  return guarded([&] {
    require_writable(mp);
    mp->backend().commit(ObjectId{mbid}, kMblock);
  });
}

mpool_err_t mpool_mblock_abort(mpool_handle* mp, uint64_t mbid) {
  return guarded([&] {
    require_writable(mp);
    mp->backend().abort(ObjectId{mbid}, kMblock);
  });
}

mpool_err_t mpool_mblock_delete(mpool_handle* mp, uint64_t mbid) {
  return guarded([&] {
    require_writable(mp);
    mp->backend().remove(ObjectId{mbid}, kMblock);
  });
}

mpool_err_t mpool_mblock_read(mpool_handle* mp, uint64_t mbid, const iovec* iov, int iovc,
                              off_t offset) {
  return guarded([&] {
    require(mp);
    if (offset < 0) mpool::raise(EINVAL, "call", "offset {}", offset);
    mp->backend().read_mblock(ObjectId{mbid}, static_cast<std::uint64_t>(offset),
                              libmpool::parts_of<mpool::ByteSpan>(iov, iovc));
  });
}
