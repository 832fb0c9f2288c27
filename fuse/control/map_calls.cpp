#include "fuse/control/map_calls.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "engine/base/aligned_buffer.h"
#include "engine/cache/page_cache.h"
#include "fuse/control/call_structures.h"
#include "fuse/control/object_control.h"

namespace mpoolfs {

namespace {

static_assert(sizeof(mpool_ioc_member) == 16 && sizeof(mpool_ioc_map_create) == 128);
static_assert(sizeof(mpool_ioc_map) == 144 && sizeof(mpool_ioc_map_members) == 864);
static_assert(sizeof(mpool_ioc_map_range) == 128 && sizeof(mpool_ioc_map_residency) == 1920);
static_assert(static_cast<int>(mpool::Advice::cold) == MPOOL_IOC_COLD &&
              static_cast<int>(mpool::Advice::pinned) == MPOOL_IOC_PINNED);

std::string name_of(const char (&name)[MPOOL_IOC_MAP_NAME]) {
  const std::size_t length = ::strnlen(name, sizeof name);
  check(length < sizeof name, "a name without its end");
  return {name, length};
}

mpool::Advice advice_of(std::uint32_t number) {
  check(number < mpool::kAdviceCount, "no advice");
  return static_cast<mpool::Advice>(number);
}

[[noreturn]] void refuse_served(std::string_view name) {
  mpool::raise(EOPNOTSUPP, "map " + std::string(name), "the daemon serves it");
}

}  // namespace

MapCalls::~MapCalls() {
  for (const Maps::Node node : own_)
    maps_.remove(node);
}

void MapCalls::add_member(const mpool_ioc_member& member, std::vector<mpool::ObjectId>& members) {
  check_zero(member.reserved);
  check(member.kind <= MPOOL_IOC_MEMBER_FILE, "an unknown kind of member");
  if (member.kind == MPOOL_IOC_MEMBER_FILE) {
    const auto mblocks = objects_.names().mblocks_of(member.id);
    members.insert(members.end(), mblocks.begin(), mblocks.end());
    return;
  }
  const mpool::ObjectId id{member.id};
  if (id.is_mblock() && !objects_.client().mblock(id).committed) {
    mpool::raise(EAGAIN, "object " + id.to_string(), "it is not committed");
  }
  members.push_back(id);
}

void MapCalls::create(mpool_ioc_map_create& create, mpool::ConstByteSpan buffer) {
  check_zero(create.reserved);
  check_flags(create.flags, MPOOL_IOC_MAP_OF_SESSION);
  check(create.offset <= buffer.size() &&
            create.count <= (buffer.size() - create.offset) / sizeof(mpool_ioc_member),
        "the members are not inside of what was written to the buffer");
  std::string name = name_of(create.name);
  const mpool::Advice advice = advice_of(create.advice);
  std::vector<mpool::ObjectId> members;
  members.reserve(create.count);
  for (std::uint32_t i = 0; i < create.count; ++i) {
    mpool_ioc_member member{};
    std::memcpy(&member, buffer.data() + create.offset + i * sizeof member, sizeof member);
    add_member(member, members);
  }
  const auto [map, node] = maps_.create(std::move(name), std::move(members), advice);
  create.members = static_cast<std::uint32_t>(map->collection().members().size());
  create.stride = map->collection().stride();
  if ((create.flags & MPOOL_IOC_MAP_OF_SESSION) == 0) return;
  const std::lock_guard lock(mutex_);
  own_.push_back(node);
}

void MapCalls::call(mpool_ioc_map& map) {
  check_zero(map.reserved0);
  check_zero(map.reserved);
  const auto found = maps_.find(name_of(map.name));
  const mpool::Collection& collection = found->collection();
  const std::size_t count = collection.members().size();
  map.stride = collection.stride();
  map.members = static_cast<std::uint32_t>(count);
  map.written = 0;
  for (std::size_t i = 0; i < count; ++i)
    map.written += collection.length(i);
  map.advice = static_cast<std::uint32_t>(found->cached().advice());
  const auto file = found->show(maps_.native());
  map.flags = file != nullptr ? MPOOL_IOC_MAP_NATIVE : 0;
  map.resident = file != nullptr ? mpool::resident_pages(file->open().get(), 0, 0) : 0;
}

void MapCalls::call(mpool_ioc_map_members& members) {
  check_zero(members.reserved);
  check(members.count <= MPOOL_IOC_MAP_MEMBERS_MAX, "more members than the field has");
  const auto found = maps_.find(name_of(members.name));
  const mpool::Collection& collection = found->collection();
  const auto ids = collection.members();
  const std::size_t first = std::min<std::size_t>(members.first, ids.size());
  const std::size_t count = std::min<std::size_t>(members.count, ids.size() - first);
  members.count = static_cast<std::uint32_t>(count);
  std::memset(members.objid, 0, sizeof members.objid);
  std::memset(members.length, 0, sizeof members.length);
  for (std::size_t i = 0; i < count; ++i) {
    members.objid[i] = ids[first + i].value;
    members.length[i] = collection.length(first + i);
  }
}

void MapCalls::call(const mpool_ioc_map_range& range) {
  check_zero(range.reserved);
  const std::string name = name_of(range.name);
  const auto map = maps_.find(name);
  if (range.action == MPOOL_IOC_MAP_ADVISE) {
    check(range.offset == 0 && range.length == 0, "the advice is that of the whole map");
    return map->cached().set_advice(advice_of(range.value));
  }
  check(range.value == 0, "a value that the action does not take");
  const std::uint64_t size = map->collection().size();
  check(range.offset <= size && range.length <= size - range.offset, "a range beyond its end");
  if (range.action == MPOOL_IOC_MAP_PURGE) return maps_.purge(name, range.offset, range.length);
  check(range.action == MPOOL_IOC_MAP_WILLNEED, "an unknown action");
  const auto file = maps_.use(name);
  if (file == nullptr) refuse_served(name);
  mpool::read_ahead(file->open().get(), range.offset, range.length);
}

void MapCalls::call(mpool_ioc_map_residency& residency) {
  check_zero(residency.reserved0);
  check_zero(residency.reserved);
  check(residency.count >= 1 && residency.count <= MPOOL_IOC_MAP_CELLS, "the number of cells");
  check(
      residency.step != 0 && mpool::is_aligned(residency.step | residency.offset, mpool::kPageSize),
      "cells that are not whole pages");
  const std::string name = name_of(residency.name);
  const auto map = maps_.find(name);
  const auto file = map->show(maps_.native());
  if (file == nullptr) refuse_served(name);
  const std::uint64_t size = map->collection().size();
  std::memset(residency.resident, 0, sizeof residency.resident);
  std::uint64_t offset = residency.offset;
  for (std::uint32_t i = 0; i < residency.count && offset < size; ++i) {
    const std::uint64_t length = std::min(residency.step, size - offset);
    residency.resident[i] = static_cast<std::uint32_t>(
        file->look([&](int open) { return mpool::resident_pages(open, offset, length); }));
    offset += length;
  }
}

std::optional<std::vector<std::byte>> MapCalls::ioctl(unsigned command, mpool::ConstByteSpan in,
                                                      mpool::ConstByteSpan buffer) {
  const auto call_with = [&]<typename T>(T) {
    return with<T>(in, (_IOC_DIR(command) & _IOC_READ) != 0, [&](T& value) { call(value); });
  };
  switch (command) {
    case MPOOL_IOC_MAP_CREATE:
      return with<mpool_ioc_map_create>(
          in, true, [&](mpool_ioc_map_create& value) { create(value, buffer); });
    case MPOOL_IOC_MAP_SHOW:
      return call_with(mpool_ioc_map{});
    case MPOOL_IOC_MAP_MEMBERS:
      return call_with(mpool_ioc_map_members{});
    case MPOOL_IOC_MAP_RANGE:
      return call_with(mpool_ioc_map_range{});
    case MPOOL_IOC_MAP_RESIDENCY:
      return call_with(mpool_ioc_map_residency{});
    default:
      return std::nullopt;
  }
}

}  // namespace mpoolfs
