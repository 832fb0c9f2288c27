#include "tests/crash/damaged_pool.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <set>

#include <fmt/format.h>

#include "engine/format/log_block.h"
#include "engine/format/records.h"
#include "engine/pool/discovery.h"
#include "tests/crash/pool_session.h"
#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kZone = 16u << 10;
constexpr std::uint32_t kSector = 512;

// Changes a tree and records its state after each sync.
class Script {
 public:
  Script(Machine& machine, SamplePool& sample)
      : sample_(sample), tree_([&machine] { return machine.devices(); }, lazy()) {}

  TestTree& tree() { return tree_; }
  void sync() {
    tree_.names().sync();
    tree_.pool().wait_for_discards(std::chrono::seconds(10));
    sample_.earlier.push_back(tree_.dump());
  }
  void remount() {
    sync();
    tree_.remount();
  }

 private:
  SamplePool& sample_;
  TestTree tree_;
};

void fill(Script& script, std::uint64_t seed) {
  TestTree& tree = script.tree();
  tree.mkdir("d");
  tree.mkdir("d/e");
  tree.put("d/a", pattern(2 * kZone + 10, seed));
  script.sync();
  tree.put("b", pattern(100, seed + 1));
  tree.put("c", pattern(kZone, seed + 2));
  tree.append("log", "");
  tree.append("d/long log", "");
  script.sync();
  for (unsigned i = 0; i < 12; ++i) {
    tree.append("log", pattern(300 + i, i));
    tree.append("d/long log", pattern(3000 + 7 * i, i));
    script.sync();
  }
  tree.names().link(tree.stat("d/a").inode, kRootInode, "hard");
  tree.names().set_xattr(tree.stat("d").inode, "user.x", "1", 0);
  tree.names().make_symlink(kRootInode, "link", "d/a", {});
  script.remount();
}

// Until the MDCs and the root MDC were compacted.
void wear(Script& script) {
  TestTree& tree = script.tree();
  const auto compacted = [&] {
    return std::ranges::all_of(tree.pool().mdcs(), [](const Pool::MdcStats& stats) {
      return stats.slot == 0 || stats.mdc.generations[stats.mdc.active] > 0;
    });
  };
  for (unsigned round = 0; round < 100 && !compacted(); ++round) {
    for (unsigned i = 0; i < 8; ++i) {
      const std::string name = fmt::format("passing {}", i);
      tree.put(name, pattern(50, i));
    }
    script.sync();
    for (unsigned i = 0; i < 8; ++i)
      tree.unlink(fmt::format("passing {}", i));
    script.sync();
  }
  script.remount();
}

void finish(Script& script, std::uint64_t seed) {
  TestTree& tree = script.tree();
  for (unsigned i = 0; i < 6; ++i) {
    tree.put(fmt::format("d/e/late {}", i), pattern(700 * i + 1, seed + i));
    tree.append("log", pattern(200, i));
    tree.names().set_xattr(tree.stat("b").inode, fmt::format("user.{}", i), "value", 0);
    script.sync();
  }
  tree.rename("c", "d/c");
  tree.unlink("d/e/late 2");
  // Its mlog becomes durable automatically: no other change may be in between.
  script.sync();
  tree.append("second log", pattern(100, 5));
  script.sync();
}

// The locations of the pool's logs.
std::vector<LogArea> find_logs(const MediaSet& media, const TreeState& state) {
  Machine machine(copy_of(media));
  TestTree tree([&machine] { return machine.devices(); }, {.read_only = true});
  std::vector<LogArea> logs;
  const auto add = [&](LogArea::Owner owner, const ObjectRecord& mlog, std::string path) {
    MlogLocation location{.device = nullptr,
                          .offset = mlog.layout.first_zone * kZone,
                          .capacity = mlog.layout.zone_count * kZone,
                          .sector_size = kSector,
                          .uuid = mlog.uuid,
                          .generation = mlog.generation,
                          .name = "mlog " + mlog.id.to_string()};
    logs.push_back({.owner = owner, .location = std::move(location), .path = std::move(path)});
  };
  const auto superblock = read_superblocks(*machine.device(0)).chosen.value();
  for (unsigned i = 0; i < 2; ++i) {
    const auto& half = superblock.mdc0->halves[i];
    add(LogArea::Owner::mdc,
        {.layout = half.layout,
         .id = mdc_log_id(0, i),
         .generation = half.generation,
         .uuid = half.uuid},
        {});
  }
  std::map<ObjectId, ObjectRecord> of_mdcs;
  tree.pool().read_mdc(0, [&](ConstByteSpan bytes) {
    const MetadataRecord record = decode_record(bytes).value();
    if (const auto* object = std::get_if<ObjectRecord>(&record)) of_mdcs[object->id] = *object;
    if (const auto* erase = std::get_if<EraseRecord>(&record)) {
      of_mdcs.at(erase->id).generation = erase->generation;
    }
  });
  for (const auto& [id, mlog] : of_mdcs)
    add(LogArea::Owner::mdc, mlog, {});
  for (unsigned i = 0; i < 2; ++i)
    add(LogArea::Owner::root_mdc, tree.pool().find(root_log_id(i)).value(), {});
  for (const auto& [path, line] : state) {
    const Attributes attributes = tree.stat(path);
    if (attributes.kind != FileKind::log) continue;
    const std::string ids = tree.names().get_xattr(attributes.inode, "user.mpool.objects");
    for (std::size_t at = 0; at < ids.size();) {
      const std::size_t end = std::min(ids.find(' ', at), ids.size());
      const ObjectId id{std::stoull(ids.substr(at, end - at), nullptr, 16)};
      add(LogArea::Owner::user, tree.pool().find(id).value(), path);
      at = end + 1;
    }
  }
  return logs;
}

std::vector<std::byte> read_area(const LogArea& log, const SimulatedMedia& media) {
  AlignedBuffer buffer(log.location.capacity);
  media.read(log.location.offset, buffer.span());
  return {buffer.span().begin(), buffer.span().end()};
}

std::optional<LogBlockHeader> header_of(const LogArea& log, ConstByteSpan area,
                                        std::uint32_t block) {
  const auto header = LogBlockHeader::load(area.subspan(std::size_t{block} * kSector, kSector));
  if (!header || header->magic != log.location.uuid ||
      header->generation != log.location.generation) {
    return std::nullopt;
  }
  return header;
}

// Length of the unbroken chain of blocks from the first.
std::uint32_t chain_length(const LogArea& log, ConstByteSpan area) {
  std::uint32_t blocks = 0;
  for (std::uint32_t last = 0; blocks < area.size() / kSector; ++blocks) {
    const auto header = header_of(log, area, blocks);
    if (!header || header->previous_flush_set != last) break;
    last = header->flush_set;
  }
  return blocks;
}

}  // namespace

bool shows_loss(const LogArea& log, const SimulatedMedia& media) {
  const auto area = read_area(log, media);
  const std::uint32_t end = chain_length(log, area);
  for (std::uint32_t block = end; block < area.size() / kSector; ++block) {
    const auto header = header_of(log, area, block);
    if (header && header->previous_flush_set != header->flush_set) return true;
  }
  return false;
}

SamplePool make_sample(bool ended_cleanly, std::uint64_t seed) {
  SamplePool sample;
  sample.name = ended_cleanly ? "unmounted" : "cut off";
  sample.ended_cleanly = ended_cleanly;
  CreateOptions options = small_pool(kZone, 2);
  options.root_capacity = 4 * kZone;
  options.spare_percent = 0;
  const MediaSet start = make_pool(options, 256 * kZone, kSector, 0);
  Machine machine(copy_of(start));
  {
    Script script(machine, sample);
    fill(script, seed);
    wear(script);
    finish(script, seed);
    sample.state = sample.earlier.back();
    if (!ended_cleanly) sample.media = copy_of(machine.media);
  }
  if (ended_cleanly) sample.media = copy_of(machine.media);
  sample.logs = find_logs(sample.media, sample.state);
  std::set<std::uint64_t> pages;
  for (const std::uint64_t at : kSuperblockOffsets)
    pages.insert(at);
  for (LogArea& log : sample.logs) {
    log.blocks = chain_length(log, read_area(log, *sample.media[0]));
    for (std::uint64_t at = 0; at < log.location.capacity; at += kPageSize)
      pages.insert(log.location.offset + at);
  }
  for (const std::uint64_t at : pages)
    sample.versions[at].push_back(start[0]->page(at));
  for (const SimulatedOperation& operation : machine.history->operations()) {
    for (std::size_t i = 0; i < operation.pages.size(); ++i) {
      const auto found = sample.versions.find(operation.offset + i * kPageSize);
      if (found != sample.versions.end()) found->second.push_back(operation.pages[i]);
    }
  }
  return sample;
}

namespace {

SimulatedMedia::Page bytes_of_page(const SimulatedMedia::SharedPage& page) {
  return page == nullptr ? SimulatedMedia::Page{} : *page;
}

class DamageMaker {
 public:
  DamageMaker(const SamplePool& pool, std::uint64_t seed) : pool_(pool), random_(seed) {
    for (const std::uint64_t at : kSuperblockOffsets)
      areas_.push_back({nullptr, at, kPageSize});
    for (const LogArea& log : pool.logs) {
      // One page more than it has: that page belongs to no block.
      const std::uint64_t used = round_up(std::uint64_t{log.blocks} * kSector, kPageSize);
      areas_.push_back(
          {&log, log.location.offset, std::min(used + kPageSize, log.location.capacity)});
    }
  }

  // The damages that are not random.
  void add_all() {
    for (const Area& area : areas_) {
      for (std::uint64_t at = area.offset; at < area.offset + area.length; at += kPageSize) {
        add(area, fmt::format("page at {} reads as zeros", at), {{at, nullptr}});
        add_stale(area, at);
        for (std::uint64_t sector = 0; sector < kPageSize; sector += kSector)
          add_zeroed_sector(area, at + sector);
        for (std::uint64_t other = at + kPageSize; other < area.offset + area.length;
             other += kPageSize) {
          add(area, fmt::format("pages at {} and {} changed places", at, other),
              {{at, page(other)}, {other, page(at)}});
        }
      }
    }
  }

  // A bit in the first bytes of a sector, or anywhere in it.
  void add_random_bit() {
    const Area& area = areas_[random_() % areas_.size()];
    constexpr std::uint64_t kHeaders = LogBlockHeader::kSize + ChunkHeader::kSize;
    const std::uint64_t sector = random_() % (area.length / kSector);
    const std::uint64_t byte = random_() % (random_() % 2 == 0 ? kHeaders : kSector);
    const std::uint64_t offset = area.offset + sector * kSector + byte;
    const unsigned mask = 1u << random_() % 8;
    SimulatedMedia::Page changed = bytes_of_page(page(round_down(offset, kPageSize)));
    changed[offset % kPageSize] ^= static_cast<std::byte>(mask);
    add(area, fmt::format("byte at {} ^ {:#x}", offset, mask),
        {{round_down(offset, kPageSize), std::make_shared<const SimulatedMedia::Page>(changed)}});
  }

  std::vector<PageDamage> take() { return std::move(damages_); }
  std::size_t count() const { return damages_.size(); }

 private:
  using Pages = std::vector<std::pair<std::uint64_t, SimulatedMedia::SharedPage>>;
  struct Area {
    const LogArea* log;
    std::uint64_t offset, length;
  };

  SimulatedMedia::SharedPage page(std::uint64_t at) const { return pool_.media[0]->page(at); }

  void add(const Area& area, const std::string& what, Pages pages) {
    const bool changes = std::ranges::any_of(pages, [&](const auto& entry) {
      return bytes_of_page(entry.second) != bytes_of_page(page(entry.first));
    });
    if (!changes) return;
    const std::string owner = area.log == nullptr
                                  ? fmt::format("superblock at {}", area.offset)
                                  : fmt::format("{} at {}, {} blocks", area.log->location.name,
                                                area.offset, area.log->blocks);
    damages_.push_back({owner + ": " + what, area.log, std::move(pages)});
  }

  void add_stale(const Area& area, std::uint64_t at) {
    std::set<const void*> seen;
    for (const auto& version : pool_.versions.at(at)) {
      if (!seen.insert(version.get()).second) continue;
      add(area, fmt::format("page at {} is version {}", at, seen.size() - 1), {{at, version}});
    }
  }

  void add_zeroed_sector(const Area& area, std::uint64_t at) {
    SimulatedMedia::Page changed = bytes_of_page(page(round_down(at, kPageSize)));
    std::fill_n(changed.begin() + static_cast<std::ptrdiff_t>(at % kPageSize), kSector,
                std::byte{0});
    add(area, fmt::format("sector at {} reads as zeros", at),
        {{round_down(at, kPageSize), std::make_shared<const SimulatedMedia::Page>(changed)}});
  }

  const SamplePool& pool_;
  std::mt19937_64 random_;
  std::vector<Area> areas_;
  std::vector<PageDamage> damages_;
};

}  // namespace

std::vector<PageDamage> make_damages(const SamplePool& pool, std::size_t count,
                                     std::uint64_t seed) {
  DamageMaker maker(pool, seed);
  maker.add_all();
  while (maker.count() < count)
    maker.add_random_bit();
  return maker.take();
}

}  // namespace mpool::test
