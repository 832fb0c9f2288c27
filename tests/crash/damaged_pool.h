// Pools with content, and single damages of the blocks that they require.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/simulated_crash.h"
#include "engine/mlog/mlog.h"

namespace mpool::test {

// The user-visible state of a tree: a line for each path.
using TreeState = std::map<std::string, std::string>;

// A log of a pool on the media.
struct LogArea {
  enum class Owner : std::uint8_t { mdc, root_mdc, user };
  Owner owner = Owner::mdc;
  MlogLocation location;     // without a device
  std::uint32_t blocks = 0;  // that belong to it
  std::string path;          // of a user's log
};

struct SamplePool {
  std::string name;
  bool ended_cleanly = false;
  MediaSet media;  // one device
  TreeState state;
  std::vector<TreeState> earlier;  // after each sync
  std::vector<LogArea> logs;
  // The contents of the page at a byte offset, oldest first; the last one is the present content.
  std::map<std::uint64_t, std::vector<SimulatedMedia::SharedPage>> versions;
};

// Files, directories, logs, several mounts, compactions of the root MDC and of the other MDCs; then
// an unmount, or a power failure when everything was on the media.
SamplePool make_sample(bool ended_cleanly, std::uint64_t seed);

// One damage: pages of the media and their new content.
struct PageDamage {
  std::string what;              // "log block 7 of mlog 0x201: byte 5 ^ 0x10"
  const LogArea* log = nullptr;  // null: a superblock
  std::vector<std::pair<std::uint64_t, SimulatedMedia::SharedPage>> pages;
};

// At least `count` damages of every kind and every block: bits, sectors, pages that read as zeros,
// older versions of pages, exchanged pages.
std::vector<PageDamage> make_damages(const SamplePool& pool, std::size_t count, std::uint64_t seed);

// Whether what is left of a log shows that something of it is lost (engine/mlog/README.md, "Flush
// sets"): it breaks off although a block that begins a flush set follows, or what is broken is
// inside a block. False: it looks like a log that is shorter, or like one whose last flush was cut
// short.
bool shows_loss(const LogArea& log, const SimulatedMedia& media);

}  // namespace mpool::test
