#include "engine/tree/mdc_ends.h"

#include <fmt/format.h>

namespace mpool::names {
namespace {

// A log only grows, until it is replaced by one of a greater generation.
bool is_behind(const MdcEnd& now, const MdcEnd& before) {
  if (now.generation != before.generation) return now.generation < before.generation;
  if (now.blocks != before.blocks) return now.blocks < before.blocks;
  return now.flush_set < before.flush_set;
}

std::string describe(const MdcEnd& end) {
  return fmt::format("{} log blocks, the last of flush set {}, in generation {}", end.blocks,
                     end.flush_set, end.generation);
}

}  // namespace

MdcEnd end_of(const Mdc::State& state) {
  return {.generation = state.generations[state.active],
          .blocks = state.end.blocks,
          .flush_set = state.end.flush_set};
}

std::vector<std::string> lost_since(const MdcEndsRecord& record, std::span<const MdcEnd> now) {
  std::vector<std::string> lost;
  for (std::size_t slot = 0; slot < record.mdcs.size(); ++slot) {
    const MdcEnd& before = record.mdcs[slot];
    if (slot >= now.size()) {
      lost.push_back(fmt::format("MDC{} had {}, and does not exist", slot, describe(before)));
    } else if (is_behind(now[slot], before)) {
      lost.push_back(fmt::format("MDC{} has {}, and had {}: its last log blocks are damaged", slot,
                                 describe(now[slot]), describe(before)));
    }
  }
  return lost;
}

}  // namespace mpool::names
