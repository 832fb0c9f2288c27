// Maps of a mounted pool, through its `.mpool/ctl` (fuse/client/include/mpool/ioctl.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <mpool/ioctl.h>

#include "engine/base/error.h"
#include "engine/cache/advice.h"
#include "engine/format/object_id.h"
#include "engine/io/file_descriptor.h"

namespace mpool::tools {

struct MapFacts {
  std::string name;
  std::uint64_t members = 0;
  std::uint64_t stride = 0;    // bytes
  std::uint64_t written = 0;   // bytes
  std::uint64_t resident = 0;  // pages
  Advice advice = Advice::cold;
  bool native = false;  // the kernel reads it by itself

  std::uint64_t size() const { return members * stride; }
};

// Errors: ENOENT no such map, EEXIST, EINVAL, …, as the calls, with the name of the map.
class MapSession {
 public:
  // `where`: a mount point, or the name, UUID=… or devices of a mounted pool. ENOENT when that is
  // no mounted pool, EACCES for other users than its owner.
  explicit MapSession(const std::string& where);

  const std::string& mount_point() const { return mount_point_; }
  std::string path_of(const std::string& name) const;

  // members: ids ("0x…") of mblocks, or paths of files, as they are or below the mount point.
  void create(const std::string& name, std::span<const std::string> members, Advice advice);
  std::vector<std::string> names() const;
  MapFacts facts(const std::string& name) const;
  struct Member {
    ObjectId id;
    std::uint64_t length = 0;  // bytes
  };
  std::vector<Member> members(const MapFacts& map) const;
  // The pages in memory of each `step` bytes of a map, in order.
  std::vector<std::uint32_t> residency(const MapFacts& map, std::uint64_t step) const;
  void advise(const std::string& name, Advice advice);
  void purge(const std::string& name);
  void read_ahead(const MapFacts& map);
  void remove(const std::string& name);

 private:
  mpool_ioc_member parse_member(const std::string& text) const;
  FileDescriptor open_map(const std::string& name) const;
  void change(const std::string& name, std::uint32_t action, std::uint32_t value);
  template <typename T>
  void call(unsigned long command, const std::string& name, T& structure) const;

  std::string mount_point_;
  FileDescriptor ctl_;
};

}  // namespace mpool::tools
