// Maps.
#include <cerrno>

#include "fuse/client/handle.h"
#include "fuse/client/map.h"

struct mpool_mcache_map {
  libmpool::Map map;
};

using libmpool::guarded;
using libmpool::require;

mpool_err_t mpool_mcache_mmap(mpool_handle* mp, size_t mbidc, uint64_t* mbidv,
                              mpc_vma_advice advice, mpool_mcache_map** mapp) {
  if (mapp != nullptr) *mapp = nullptr;
  return guarded([&] {
    require(mp, mapp);
    require(mbidv);
    if (static_cast<unsigned>(advice) > MPC_VMA_PINNED)
      mpool::raise(EINVAL, "map", "no such advice");
    *mapp =
        new mpool_mcache_map{.map{mp->use, std::span<const std::uint64_t>(mbidv, mbidc), advice}};
  });
}

mpool_err_t mpool_mcache_munmap(mpool_mcache_map* map) {
  return guarded([&] { delete map; });
}

mpool_err_t mpool_mcache_madvise(mpool_mcache_map* map, uint32_t mbidx, off_t offset, size_t length,
                                 int advice) {
  return guarded([&] {
    require(map);
    if (offset < 0) mpool::raise(EINVAL, "map", "offset {}", offset);
    map->map.advise(mbidx, static_cast<std::uint64_t>(offset), length, advice);
  });
}

mpool_err_t mpool_mcache_purge(mpool_mcache_map* map, const mpool_handle* mp) {
  return guarded([&] {
    require(map, mp);
    map->map.purge();
  });
}

mpool_err_t mpool_mcache_mincore(mpool_mcache_map* map, const mpool_handle* mp, size_t* rssp,
                                 size_t* vssp) {
  return guarded([&] {
    require(map, mp);
    require(rssp, vssp);
    *rssp = map->map.resident_pages();
    *vssp = map->map.size() / mpool::kPageSize;
  });
}

void* mpool_mcache_getbase(mpool_mcache_map* map, const uint32_t mbidx) {
  if (map == nullptr || mbidx >= map->map.members()) return nullptr;
  return map->map.address(mbidx);
}

mpool_err_t mpool_mcache_getpages(mpool_mcache_map* map, const uint32_t pagec, const uint32_t mbidx,
                                  const off_t pagenumv[], void* pagev[]) {
  return guarded([&] {
    require(map);
    require(pagenumv);
    require(pagev);
    if (mbidx >= map->map.members()) mpool::raise(EINVAL, "map", "no member {}", mbidx);
    for (uint32_t i = 0; i < pagec; ++i)
      pagev[i] = map->map.address(mbidx) + pagenumv[i] * static_cast<off_t>(mpool::kPageSize);
  });
}
