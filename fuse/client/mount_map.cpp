#include "fuse/client/mount_map.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/error.h"

namespace libmpool {

namespace {

constexpr const char* kMapSubject = "map";

std::vector<mpool_ioc_member> members_of(std::span<const std::uint64_t> ids) {
  std::vector<mpool_ioc_member> members;
  members.reserve(ids.size());
  for (const std::uint64_t value : ids) {
    const mpool::ObjectId id{value};
    if (!id.is_mblock()) mpool::raise(EINVAL, id.to_string(), "not the id of an mblock");
    members.push_back({.id = value, .kind = MPOOL_IOC_MEMBER_MBLOCK, .reserved = 0});
  }
  return members;
}

template <typename Structure>
void set_name(Structure& structure, const std::string& name) {
  std::memcpy(structure.name, name.data(), std::min(name.size(), sizeof structure.name - 1));
}

}  // namespace

MountMap::MountMap(MountSession& session, std::string name, std::span<const std::uint64_t> ids,
                   mpc_vma_advice advice)
    : session_(session), name_(std::move(name)), count_(ids.size()) {
  const std::vector<mpool_ioc_member> members = members_of(ids);
  mpool_ioc_map_create create{};
  set_name(create, name_);
  create.count = static_cast<std::uint32_t>(count_);
  create.flags = MPOOL_IOC_MAP_OF_SESSION;
  create.advice = static_cast<std::uint32_t>(advice);
  try {
    session_.call_with_buffer(MPOOL_IOC_MAP_CREATE, create, std::as_bytes(std::span(members)));
  } catch (const mpool::Error& error) {
    if (error.code() != EAGAIN) throw;
    mpool::raise(ENOENT, kMapSubject, "an mblock is not committed");
  }
  stride_ = create.stride;
}

MountMap::~MountMap() {
  session_.remove_map(name_);
}

template <typename Structure>
void MountMap::call(unsigned long command, Structure& structure) const {
  set_name(structure, name_);
  session_.call(command, structure);
}

void MountMap::fetch_lengths() const {
  std::vector<std::uint64_t> lengths;
  lengths.reserve(count_);
  while (lengths.size() < count_) {
    mpool_ioc_map_members members{};
    members.first = static_cast<std::uint32_t>(lengths.size());
    members.count = MPOOL_IOC_MAP_MEMBERS_MAX;
    call(MPOOL_IOC_MAP_MEMBERS, members);
    if (members.count == 0) mpool::raise(EIO, kMapSubject, "it has fewer members than it should");
    lengths.insert(lengths.end(), members.length, members.length + members.count);
  }
  lengths_ = std::move(lengths);
}

std::uint64_t MountMap::length(std::size_t index) const {
  std::call_once(fetched_, [this] { fetch_lengths(); });
  return lengths_[index];
}

void MountMap::map_all(std::byte* base) {
  // Not of a child: that would keep the mblocks.
  session_.open_map(name_)->map({base, count_ * stride_});
}

void MountMap::drop_cached() {
  mpool_ioc_map_range range{};
  range.action = MPOOL_IOC_MAP_PURGE;
  call(MPOOL_IOC_MAP_RANGE, range);
  // Where the daemon serves the map, it has the kernel do that in the background.
  session_.open_map(name_)->drop_cached();
}

// mincore(2) shows the pages of a native map to root only: they are those of the daemon's view.
std::optional<std::size_t> MountMap::resident_pages() const {
  mpool_ioc_map map{};
  call(MPOOL_IOC_MAP_SHOW, map);
  if ((map.flags & MPOOL_IOC_MAP_NATIVE) == 0) return std::nullopt;
  return map.resident;
}

}  // namespace libmpool
