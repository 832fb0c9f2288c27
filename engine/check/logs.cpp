#include "engine/check/logs.h"

#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/format/log_block.h"

namespace mpool::check {
namespace {

constexpr std::uint64_t kLogReadSize = 1u << 20;
constexpr const char* kRestore =
    "what it held is not to be had from this device; restore it from a backup";

void report_lost_blocks(Report& report, Area area, const MlogPlace& place, const Mlog& log) {
  const auto lost = find_lost_blocks(place, log.facts());
  if (!lost) return;
  report.error(area, place.name,
               fmt::format("it ends before log block {}, but log block {} goes on with it: the "
                           "blocks between are damaged, and the records from there on are lost",
                           lost->end, lost->found),
               kRestore);
}

Half open_half(Report& report, Area area, const MlogPlace& place) {
  Half half;
  try {
    half.log = Mlog::open(place, CompactionSemantics::on);
    report_lost_blocks(report, area, place, *half.log);
  } catch (const Error& error) {
    half.log.reset();
    half.unfinished = error.code() == EMSGSIZE;
    half.fault = error.what();
  }
  return half;
}

// The half whose records count, as far as that can be told.
std::optional<unsigned> choose_active(const Pair& pair, const std::array<Mdc::Half, 2>& places) {
  const auto& [first, second] = pair.halves;
  if (first.log && second.log) {
    return places[1].place.generation < places[0].place.generation ? 1 : 0;
  }
  if (!first.log && !second.log) return std::nullopt;
  const unsigned valid = first.log ? 0 : 1;
  // Beside a damaged one, an empty one is only waiting for the next compaction.
  if (!pair.halves[1 - valid].unfinished && pair.halves[valid].log->empty()) return std::nullopt;
  return valid;
}

// Reports what an activation would do to a pair whose logs are sound.
void report_steps(Report& report, Area area, const std::string& name, const Pair& pair,
                  const std::array<Mdc::Half, 2>& places, bool fresh) {
  const unsigned other = 1 - *pair.active;
  const Half& spare = pair.halves[other];
  const std::string& spare_name = places[other].place.name;
  const bool same = places[0].place.generation == places[1].place.generation;
  const bool empty = pair.log()->empty();
  if (spare.unfinished) {
    report.unfinished(area, name, fmt::format("a compaction into {} did not finish", spare_name),
                      "erasing what it wrote");
  } else if (!spare.log->empty()) {
    report.unfinished(
        area, name, fmt::format("a compaction from {} finished, but was not recorded", spare_name),
        "erasing the copy that does not count");
  } else if ((same || empty) && !fresh) {
    report.unfinished(area, name, "it was made, but not used yet", "beginning its log");
  }
}

}  // namespace

std::optional<LostBlocks> find_lost_blocks(const MlogPlace& place, const Mlog::Facts& facts) {
  const std::uint64_t start =
      round_down(std::uint64_t{facts.blocks} * place.sector_size, kPageSize);
  // Where nothing of the log is found in so much, nothing follows.
  std::uint64_t limit = std::min(place.capacity, start + Mlog::kFlushSetSize);
  AlignedBuffer buffer(std::min(kLogReadSize, place.capacity));
  for (std::uint64_t from = start; from < limit; from += buffer.size()) {
    const auto length =
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), limit - from));
    place.device->read(place.offset + from, buffer.span(0, length));
    for (std::size_t at = 0; at < length; at += place.sector_size) {
      const auto index = static_cast<std::uint32_t>((from + at) / place.sector_size);
      if (index < facts.blocks) continue;
      const auto header = LogBlockHeader::load(buffer.span(at, place.sector_size));
      if (!header || header->magic != place.uuid || header->generation != place.generation) {
        continue;
      }
      if (header->previous_flush_set != header->flush_set) return LostBlocks{facts.blocks, index};
      limit = std::min(place.capacity, round_up(from + at + Mlog::kFlushSetSize, kPageSize));
    }
  }
  return std::nullopt;
}

Pair examine_pair(Report& report, Area area, const std::string& name,
                  const std::array<Mdc::Half, 2>& halves, bool fresh) {
  Pair pair;
  for (unsigned i = 0; i < 2; ++i)
    pair.halves[i] = open_half(report, area, halves[i].place);
  pair.active = choose_active(pair, halves);
  const std::uint64_t generation = halves[0].place.generation;
  const bool same = generation == halves[1].place.generation && generation != 0;
  bool sound = true;
  for (const Half& half : pair.halves) {
    if (half.log || (half.unfinished && pair.active)) continue;
    report.error(area, name, half.fault, kRestore);
    sound = false;
  }
  if (same) {
    report.error(area, name,
                 fmt::format("both its logs have the generation {}: which counts cannot be told",
                             generation),
                 kRestore);
    pair.active.reset();
    sound = false;
  }
  if (sound) report_steps(report, area, name, pair, halves, fresh);
  return pair;
}

void examine_log(Report& report, const MlogPlace& place) {
  try {
    std::unique_ptr<Mlog> log;
    try {
      log = Mlog::open(place, CompactionSemantics::off);
    } catch (const Error& error) {
      if (error.code() != ENODATA) throw;
      // Whether it is one of a pair only its owner knows.
      try {
        log = Mlog::open(place, CompactionSemantics::on);
      } catch (const Error& second) {
        if (second.code() != EMSGSIZE) throw error;
        report.note(Area::content, place.name, "a compaction by its owner did not finish",
                    "its owner finishes it when it opens the pair");
        return;
      }
    }
    report_lost_blocks(report, Area::content, place, *log);
  } catch (const Error& error) {
    report.error(Area::content, place.name, error.detail(), kRestore);
  }
}

}  // namespace mpool::check
