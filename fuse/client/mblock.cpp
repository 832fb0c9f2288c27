// mblocks.
#include <algorithm>
#include <cerrno>
#include <limits>

#include "fuse/client/handle.h"

namespace {

using libmpool::guarded;
using libmpool::require;
using libmpool::require_writable;
using mpool::ObjectId;

constexpr std::uint32_t kMinOptimalWrite = 4096;
constexpr std::uint32_t kMaxOptimalWrite = 131072;

std::uint32_t optimal_write_size(const mpool::Device& device) {
  const std::uint32_t stated = device.properties().optimal_io_size;
  if (stated == 0) return kMaxOptimalWrite;
  return static_cast<std::uint32_t>(
      mpool::round_down(std::clamp(stated, kMinOptimalWrite, kMaxOptimalWrite), mpool::kPageSize));
}

mblock_props props_of(const mpool_handle& handle, const mpool::ClientPool::Mblock& mblock) {
  mblock_props props{};
  props.mpr_objid = mblock.id.value;
  props.mpr_alloc_cap = static_cast<std::uint32_t>(mblock.capacity);
  props.mpr_write_len = static_cast<std::uint32_t>(mblock.written_length);
  props.mpr_optimal_wrsz = optimal_write_size(handle.pool().device(mblock.media_class));
  props.mpr_mclassp = static_cast<std::uint32_t>(mblock.media_class);
  props.mpr_iscommitted = mblock.committed ? 1 : 0;
  return props;
}

}  // namespace

mpool_err_t mpool_mblock_alloc(mpool_handle* mp, mp_media_classp mclass, bool spare, uint64_t* mbid,
                               mblock_props* props) {
  return guarded([&] {
    require(mp, mbid);
    require_writable(mp);
    const auto mblock =
        mp->client().allocate_mblock(libmpool::class_from(mclass), libmpool::policy_from(spare));
    if (props != nullptr) *props = props_of(*mp, mblock);
    *mbid = mblock.id.value;
  });
}

mpool_err_t mpool_mblock_find(mpool_handle* mp, uint64_t mbid, mblock_props* props) {
  return guarded([&] {
    require(mp);
    const auto found = props_of(*mp, mp->client().mblock(ObjectId{mbid}));
    if (props != nullptr) *props = found;
  });
}

mpool_err_t mpool_mblock_props_get(mpool_handle* mp, uint64_t mbid, mblock_props* props) {
  return guarded([&] {
    require(mp, props);
    *props = props_of(*mp, mp->client().mblock(ObjectId{mbid}));
  });
}

mpool_err_t mpool_mblock_write(mpool_handle* mp, uint64_t mbid, const iovec* iov, int iovc) {
  return guarded([&] {
    require_writable(mp);
    mp->client().write_mblock(ObjectId{mbid}, libmpool::parts_of<mpool::ConstByteSpan>(iov, iovc));
  });
}

mpool_err_t mpool_mblock_commit(mpool_handle* mp, uint64_t mbid) {
  return guarded([&] {
    require_writable(mp);
    mp->client().commit_mblock(ObjectId{mbid});
  });
}

mpool_err_t mpool_mblock_abort(mpool_handle* mp, uint64_t mbid) {
  return guarded([&] {
    require_writable(mp);
    mp->client().abort_mblock(ObjectId{mbid});
  });
}

mpool_err_t mpool_mblock_delete(mpool_handle* mp, uint64_t mbid) {
  return guarded([&] {
    require_writable(mp);
    libmpool::refuse_tree_object(*mp, mbid);
    mp->client().delete_mblock(ObjectId{mbid});
  });
}

mpool_err_t mpool_mblock_read(mpool_handle* mp, uint64_t mbid, const iovec* iov, int iovc,
                              off_t offset) {
  return guarded([&] {
    require(mp);
    if (offset < 0) mpool::raise(EINVAL, "call", "offset {}", offset);
    mp->client().read_mblock(ObjectId{mbid}, static_cast<std::uint64_t>(offset),
                             libmpool::parts_of<mpool::ByteSpan>(iov, iovc));
  });
}
