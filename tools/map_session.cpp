#include "tools/map_session.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/cache/page_cache.h"
#include "tools/pool_access.h"

namespace mpool::tools {

namespace {

FileDescriptor open_ctl(const std::string& mount_point) {
  FileDescriptor ctl(::open((mount_point + "/.mpool/ctl").c_str(), O_RDWR | O_CLOEXEC));
  if (ctl) return ctl;
  const int code = errno;
  if (code == EACCES) raise(code, mount_point, "only root and the pool's owner may use its maps");
  if (code == ENOENT) raise(code, mount_point, "no pool is mounted there");
  raise_system(code, mount_point + "/.mpool/ctl", "open");
}

std::string explanation(int code) {
  switch (code) {
    case EEXIST:
      return "there is such a map";
    case E2BIG:
      return "greater than the pool allows: mpool get POOL map_size";
    case EAGAIN:
      return "a member is not committed yet: the file is still open for writing";
    case EINVAL:
      return "members are mblocks and committed files with content; a name has at most 63 bytes, "
             "without '/'";
    case ENOTTY:
      return "the daemon of this mount is older than this program";
    default:
      return errno_text(code);
  }
}

}  // namespace

MapSession::MapSession(const std::string& where)
    : mount_point_(mount_point_of(where, "is not mounted: maps are made of a mounted pool")),
      ctl_(open_ctl(mount_point_)) {}

std::string MapSession::path_of(const std::string& name) const {
  return mount_point_ + "/.mpool/map/" + name;
}

template <typename T>
void MapSession::call(unsigned long command, const std::string& name, T& structure) const {
  if (name.size() >= sizeof structure.name) raise(ENOENT, "map " + name, "there is no such map");
  std::memcpy(structure.name, name.data(), name.size());
  if (::ioctl(ctl_.get(), command, &structure) == 0) return;
  const int code = errno;
  if (code == ENOENT && command != MPOOL_IOC_MAP_CREATE) {
    raise(code, "map " + name, "there is no such map: mpool map list shows them");
  }
  raise(code, "map " + name, "{}", code == ENOENT ? "a member does not exist" : explanation(code));
}

mpool_ioc_member MapSession::parse_member(const std::string& text) const {
  if (text.starts_with("0x")) {
    if (const auto id = ObjectId::parse(text)) {
      return {.id = id->value, .kind = MPOOL_IOC_MEMBER_MBLOCK, .reserved = 0};
    }
  }
  struct stat file {};
  struct stat mount {};
  if (::stat(text.c_str(), &file) != 0 && ::stat((mount_point_ + "/" + text).c_str(), &file) != 0) {
    raise_system(errno, text, "neither an object id (0x…) nor a file");
  }
  if (::stat(mount_point_.c_str(), &mount) != 0 || mount.st_dev != file.st_dev) {
    raise(EXDEV, text, "the file is not in the mount {}", mount_point_);
  }
  return {.id = file.st_ino, .kind = MPOOL_IOC_MEMBER_FILE, .reserved = 0};
}

void MapSession::create(const std::string& name, std::span<const std::string> members,
                        Advice advice) {
  mpool_ioc_map_create create{};
  if (name.size() >= sizeof create.name) raise(EINVAL, "map " + name, "{}", explanation(EINVAL));
  std::vector<mpool_ioc_member> given;
  for (const std::string& member : members)
    given.push_back(parse_member(member));
  const std::size_t size = given.size() * sizeof given.front();
  if (::pwrite(ctl_.get(), given.data(), size, 0) != static_cast<ssize_t>(size)) {
    raise_system(errno, "map " + name, "passing its members");
  }
  create.count = static_cast<std::uint32_t>(given.size());
  create.advice = static_cast<std::uint32_t>(advice);
  call(MPOOL_IOC_MAP_CREATE, name, create);
}

std::vector<std::string> MapSession::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_of("")))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

FileDescriptor MapSession::open_map(const std::string& name) const {
  FileDescriptor file(::open(path_of(name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) raise_system(errno, "map " + name, "open");
  return file;
}

MapFacts MapSession::facts(const std::string& name) const {
  mpool_ioc_map map{};
  call(MPOOL_IOC_MAP_SHOW, name, map);
  MapFacts facts{.name = name,
                 .members = map.members,
                 .stride = map.stride,
                 .written = map.written,
                 .resident = map.resident,
                 .advice = static_cast<Advice>(std::min<std::uint32_t>(map.advice, 3)),
                 .native = (map.flags & MPOOL_IOC_MAP_NATIVE) != 0};
  if (!facts.native) facts.resident = resident_pages(open_map(name).get(), 0, 0);
  return facts;
}

std::vector<MapSession::Member> MapSession::members(const MapFacts& map) const {
  std::vector<Member> members;
  while (members.size() < map.members) {
    mpool_ioc_map_members part{};
    part.first = static_cast<std::uint32_t>(members.size());
    part.count = MPOOL_IOC_MAP_MEMBERS_MAX;
    call(MPOOL_IOC_MAP_MEMBERS, map.name, part);
    for (std::uint32_t i = 0; i < part.count; ++i)
      members.push_back({.id = {part.objid[i]}, .length = part.length[i]});
    if (part.count == 0) break;
  }
  return members;
}

std::vector<std::uint32_t> MapSession::residency(const MapFacts& map, std::uint64_t step) const {
  std::vector<std::uint32_t> cells;
  const std::uint64_t count = map.size() / step;
  if (!map.native) {
    const FileDescriptor file = open_map(map.name);
    for (std::uint64_t i = 0; i < count; ++i)
      cells.push_back(static_cast<std::uint32_t>(resident_pages(file.get(), i * step, step)));
    return cells;
  }
  while (cells.size() < count) {
    mpool_ioc_map_residency part{};
    part.offset = cells.size() * step;
    part.step = step;
    part.count = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(MPOOL_IOC_MAP_CELLS, count - cells.size()));
    call(MPOOL_IOC_MAP_RESIDENCY, map.name, part);
    cells.insert(cells.end(), part.resident, part.resident + part.count);
  }
  return cells;
}

void MapSession::change(const std::string& name, std::uint32_t action, std::uint32_t value) {
  mpool_ioc_map_range range{};
  range.action = action;
  range.value = value;
  call(MPOOL_IOC_MAP_RANGE, name, range);
}

void MapSession::advise(const std::string& name, Advice advice) {
  change(name, MPOOL_IOC_MAP_ADVISE, static_cast<std::uint32_t>(advice));
}

void MapSession::purge(const std::string& name) {
  change(name, MPOOL_IOC_MAP_PURGE, 0);
}

void MapSession::read_ahead(const MapFacts& map) {
  if (map.native) return change(map.name, MPOOL_IOC_MAP_WILLNEED, 0);
  mpool::read_ahead(open_map(map.name).get(), 0, 0);
}

void MapSession::remove(const std::string& name) {
  if (::unlink(path_of(name).c_str()) == 0) return;
  const int code = errno;
  if (code == ENOENT) raise(code, "map " + name, "there is no such map: mpool map list shows them");
  raise_system(code, "map " + name, "removing it");
}

}  // namespace mpool::tools
