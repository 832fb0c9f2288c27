// Every call of `.mpool/ctl` with mutated structures (fuse/client/include/mpool/ioctl.h): a call
// succeeds or fails with an errno, and a session leaves nothing behind.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <mpool/ioctl.h>

#include "fuse/control/control_tree.h"
#include "fuse/control/object_control.h"
#include "fuse/control/object_files.h"
#include "tests/engine/names/support.h"
#include "tests/fuse/maps_support.h"

namespace mpoolfs {
namespace {

using mpool::ObjectId;
using mpool::ObjectType;
using mpool::test::TestTree;

constexpr std::array<unsigned, 26> kCalls = {
    MPOOL_IOC_VERSION,       MPOOL_IOC_ALLOC,      MPOOL_IOC_COMMIT,      MPOOL_IOC_ABORT,
    MPOOL_IOC_DELETE,        MPOOL_IOC_PROPERTIES, MPOOL_IOC_OPEN,        MPOOL_IOC_CLOSE,
    MPOOL_IOC_APPEND,        MPOOL_IOC_READ,       MPOOL_IOC_REWIND,      MPOOL_IOC_SYNC,
    MPOOL_IOC_LENGTH,        MPOOL_IOC_ERASE,      MPOOL_IOC_CSTART,      MPOOL_IOC_CEND,
    MPOOL_IOC_MAP_CREATE,    MPOOL_IOC_MAP_SHOW,   MPOOL_IOC_MAP_MEMBERS, MPOOL_IOC_MAP_RANGE,
    MPOOL_IOC_MAP_RESIDENCY, MPOOL_IOC_POOL,       MPOOL_IOC_USAGE,       MPOOL_IOC_SETTINGS,
    MPOOL_IOC_USE,           MPOOL_IOC_PIN};

std::uint64_t fuzz_seed() {
  const char* given = std::getenv("MPOOLFS_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device{}();
  std::cerr << "MPOOLFS_TEST_SEED=" << seed << '\n';
  return seed;
}

class ObjectCallsFuzz : public testing::Test {
 protected:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

  // A number that means something somewhere: an object, a handle, a limit; or any.
  std::uint64_t number() {
    constexpr std::array<std::uint64_t, 12> kLimits = {
        0, 1, 2, 463, 464, 465, 480, 481, 4096, MPOOL_IOC_BUFFER, 1ull << 32, ~0ull};
    switch (below(4)) {
      case 0:
        return ids_.empty() ? 0 : ids_[below(ids_.size())].value;
      case 1:
        return below(8);
      case 2:
        return kLimits[below(kLimits.size())];
      default:
        return random_();
    }
  }

  // The structure of a call, of fields that are mostly zero.
  std::vector<std::byte> structure(std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::uint64_t changes = below(4); changes > 0; --changes) {
      const std::uint64_t value = number();
      const std::size_t width = below(2) == 0 ? 4 : 8;
      // The first fields are those that matter most.
      const std::size_t at = below(std::min<std::size_t>(below(2) == 0 ? 48 : size, size) / 4) * 4;
      std::memcpy(bytes.data() + at, &value, std::min(width, size - at));
    }
    return bytes;
  }
  std::vector<std::byte> likely_structure(unsigned command, std::size_t size) {
    std::vector<std::byte> bytes = structure(size);
    const auto put = [&](std::size_t at, std::uint64_t value, std::size_t width) {
      std::memcpy(bytes.data() + at, &value, width);
    };
    if (command == MPOOL_IOC_ALLOC) {
      bytes.assign(size, {});
      put(0, 1 + below(2), 4);
      put(4, 1, 4);
    } else if (command == MPOOL_IOC_PIN) {
      bytes.assign(size, {});
      const std::uint64_t count = 1 + below(MPOOL_IOC_PINS + 1);
      put(0, count, 4);
      for (std::uint64_t i = 0; i < std::min<std::uint64_t>(count, MPOOL_IOC_PINS); ++i)
        put(32 + 8 * i, number(), 8);
    } else if (command == MPOOL_IOC_SETTINGS) {
      bytes.assign(size, {});
      const std::uint64_t given = below(16) * MPOOL_IOC_SET_LABEL;
      put(0, given, 4);
      if ((given & MPOOL_IOC_SET_READAHEAD) != 0) put(16, number(), 4);
      if ((given & MPOOL_IOC_SET_LABEL) != 0) put(48, number(), 8);
    } else if (command == MPOOL_IOC_OPEN) {
      bytes.assign(size, {});
      put(0, number(), 8);
      if (below(3) == 0) put(8, number(), 8);
    } else if (size == sizeof(mpool_ioc_object)) {
      bytes.assign(size, {});
      put(0, number(), command == MPOOL_IOC_COMMIT || command == MPOOL_IOC_ABORT ? 8 : 4);
      if (command == MPOOL_IOC_DELETE) put(0, number(), 8);
    } else if (size == sizeof(mpool_ioc_append)) {
      put(0, below(8), 4);
    } else if (command == MPOOL_IOC_MAP_CREATE) {
      bytes.assign(size, {});
      put(0, 'a' + below(4), 1);
      put(64, below(4) * sizeof(mpool_ioc_member), 8);
      put(72, below(5), 4);
      put(76, below(2), 4);
      put(80, below(5), 4);
    } else if (command == MPOOL_IOC_MAP_RESIDENCY) {
      bytes.assign(size, {});
      put(0, 'a' + below(4), 1);
      put(72, 4096, 8);
      put(80, 1 + below(500), 4);
    } else if (_IOC_NR(command) > _IOC_NR(MPOOL_IOC_MAP_CREATE)) {
      if (below(2) == 0) bytes.assign(size, {});
      put(0, 'a' + below(4), 4);
    }
    return bytes;
  }

  void call(ControlTree& control, ControlTree::HandleNumber session) {
    const unsigned command = kCalls[below(kCalls.size())];
    const std::size_t size = _IOC_SIZE(command);
    const bool takes = (_IOC_DIR(command) & _IOC_WRITE) != 0;
    const bool gives = (_IOC_DIR(command) & _IOC_READ) != 0;
    const std::vector<std::byte> in =
        !takes ? std::vector<std::byte>()
               : (below(2) == 0 ? structure(size) : likely_structure(command, size));
    try {
      const auto out = control.ioctl(session, command, in, gives ? size : 0);
      ASSERT_EQ(out.size(), gives ? size : 0);
      ++succeeded_;
      if (command == MPOOL_IOC_ALLOC) {
        mpool_ioc_alloc alloc{};
        std::memcpy(&alloc, out.data(), sizeof alloc);
        ids_.push_back({alloc.objid});
      }
    } catch (const mpool::Error& error) {
      ASSERT_GT(error.code(), 0);
      ASSERT_NE(error.code(), EIO) << error.what();
    }
  }

  std::mt19937_64 random_{fuzz_seed()};
  std::vector<ObjectId> ids_;
  std::uint64_t succeeded_ = 0;
};

TEST_F(ObjectCallsFuzz, EveryCallIsAnsweredAndSessionsLeaveNothing) {
  constexpr int kSessions = 40;
  constexpr int kCallsOfASession = 500;
  TestTree tree;
  tree.put("file", "content");
  tree.append("log", "line");
  tree.names().sync();
  for (const mpool::ObjectRecord& object : tree.pool().objects())
    ids_.push_back(object.id);
  const std::size_t own = ids_.size();
  const auto before = tree.dump();
  const std::uint32_t used = tree.used_zones();
  {
    test::TestMaps maps(tree);
    ProgramObjects objects(tree.pool(), tree.names(), false);
    ControlTree control({});
    control.add("ctl", std::make_unique<ObjectControl>(objects, maps.maps));
    const auto map_files =
        control.add("map", std::make_unique<MapFiles>(maps.maps, MapFiles::Owner{}));
    control.add("mblock", std::make_unique<ObjectFiles>(objects, tree.names(), ObjectType::mblock));
    const std::uint64_t file = tree.stat("file").inode;
    const auto inode = control.lookup(ControlTree::kDirectory, "ctl").value().inode;
    for (int i = 0; i < kSessions; ++i) {
      const auto session = control.open(inode, {.read = true, .write = true});
      control.write(session, below(5000), std::vector<std::byte>(below(5000)));
      std::vector<mpool_ioc_member> members(8);
      for (mpool_ioc_member& member : members)
        member.id = below(4) == 0 ? number() : ids_[below(ids_.size())].value;
      members.front() = {.id = file, .kind = MPOOL_IOC_MEMBER_FILE, .reserved = 0};
      control.write(session, 0,
                    mpool::as_bytes(members.data(), members.size() * sizeof members.front()));
      for (int j = 0; j < kCallsOfASession; ++j)
        call(control, session);
      control.close(session);
    }
    EXPECT_GT(succeeded_, 1000u);
    std::vector<std::string> names;
    control.read_directory(map_files, 0, [&](const mpool::DirectoryEntry& entry) {
      names.emplace_back(entry.name);
      return true;
    });
    EXPECT_FALSE(names.empty());
    for (const std::string& name : names)
      control.remove(map_files, name);
    // All that is left is committed: it can be deleted.
    for (std::size_t i = own; i < ids_.size(); ++i) {
      const ObjectId id = ids_[i];
      if (!tree.pool().find(id)) continue;
      objects.client().remove(id);
    }
  }
  EXPECT_EQ(tree.used_zones(), used);
  EXPECT_EQ(tree.dump(), before);
  tree.remount();
  EXPECT_EQ(tree.dump(), before);
}

}  // namespace
}  // namespace mpoolfs
