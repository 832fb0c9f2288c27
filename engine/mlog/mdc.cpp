#include "engine/mlog/mdc.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <shared_mutex>
#include <utility>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"

namespace mpool {

// The active log is the valid one with the smaller generation, so recording a greater generation for the old
// log is what makes a compaction take effect: until then a crash leaves the old content in force.
struct Mdc::Impl {
  Impl(std::string mdc_name, const std::array<Half, 2>& mdc_halves, RecordGeneration record)
      : name(std::move(mdc_name)), halves(mdc_halves), record_generation(std::move(record)) {}

  void recover();
  void choose_active(const std::array<bool, 2>& unfinished);
  std::unique_ptr<Mlog> open_half(unsigned half, bool& unfinished);
  void first_use();
  void erase(unsigned half);
  void discard_and_reset(unsigned half, std::uint64_t generation);
  void compact(const std::function<void(const Append&)>& write_live);
  std::uint64_t erased_generation(unsigned half) const;

  const Mlog& active_log() const { return *logs[active]; }

  const std::string name;
  const std::array<Half, 2> halves;
  const RecordGeneration record_generation;
  std::array<std::unique_ptr<Mlog>, 2> logs;

  // Held shared while a log is in use, exclusively while the halves change roles.
  mutable std::shared_mutex roles;
  unsigned active = 0;
  // Ticket of the MDC = ticket of the active log + base; those up to `settled` are durable since compaction.
  // Modulo 2^64: a log's tickets may run ahead of the MDC's.
  Ticket base = 0;
  Ticket settled = 0;
  std::atomic<bool> undecided = false;  // a switch failed half-way: which half counts is known at the next open
};

std::unique_ptr<Mlog> Mdc::Impl::open_half(unsigned half, bool& unfinished) {
  try {
    return Mlog::open(halves[half].place, CompactionSemantics::on);
  } catch (const Error& error) {
    if (error.code() != EMSGSIZE) throw;
    unfinished = true;
    return nullptr;
  }
}

void Mdc::Impl::choose_active(const std::array<bool, 2>& unfinished) {
  const std::uint64_t first = halves[0].place.generation;
  const std::uint64_t second = halves[1].place.generation;
  if (unfinished[0] && unfinished[1]) {
    raise(ENODATA, name, "unusable: neither {} nor {} has a finished compaction", logs_name(0),
          logs_name(1));
  }
  if (first == second && first != 0) {
    raise(ENODATA, name, "unusable: {} and {} have the same generation {}", logs_name(0),
          logs_name(1), first);
  }
  active = unfinished[0] || (!unfinished[1] && second < first) ? 1 : 0;
}

void Mdc::Impl::recover() {
  std::array<bool, 2> unfinished{};
  for (unsigned half : {0u, 1u}) logs[half] = open_half(half, unfinished[half]);
  choose_active(unfinished);
  const unsigned other = 1 - active;
  const bool same = halves[0].place.generation == halves[1].place.generation;
  if (unfinished[other] || same || !logs[other]->empty()) {
    if (!same) {
      spdlog::info("{}: erasing {} after {} compaction", name, logs_name(other),
                   unfinished[other] ? "an unfinished" : "a finished but not recorded");
    }
    erase(other);
  }
  if (logs[active]->empty()) first_use();
}

}  // namespace mpool
