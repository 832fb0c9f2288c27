// Metadata container: a pair of mlogs, one of them active (engine/format/README.md, "MDC (pair of
// mlogs)").
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "engine/format/object_id.h"
#include "engine/mlog/mlog.h"
#include "engine/mlog/pair_state.h"

namespace mpool {

// An open metadata container.
//
// Threads: the caller serialises append() and compact() (the MDC has one owner); sync(), stats and
// readers may be used by any thread during append().
class Mdc {
 public:
  struct Half {
    ObjectId id;
    MlogLocation location;
  };
  // Makes a greater generation of one half durable in its owner (the superblocks, MDC0, an MDC).
  // Called before the half's zones are discarded and reused.
  using RecordGeneration = std::function<void(ObjectId half, std::uint64_t generation)>;

  struct OpenOptions {
    PairUse use = PairUse::unknown;
    // report: damage() describes the fault, only readable records are returned, append() and
    // compact() throw EIO, and nothing is written.
    OnDamage on_damage = OnDamage::refuse;
    // later: nothing is written before finish(); the caller must call it before any change.
    enum class Finish { at_once, later } finish = Finish::at_once;
  };
  // Opens the pair, finishing what a crash interrupted, as far as the media proves that it was
  // interrupted (engine/mlog/README.md, "Pairs"). `name` = "MDC3 of pool p". Errors: ENODATA when
  // the media does not prove what the MDC holds (the message says which block of which log), ENXIO
  // the same, and there is no block of it at all; nothing was written. Those of Mlog::open.
  static std::unique_ptr<Mdc> open(std::string name, const std::array<Half, 2>& halves,
                                   RecordGeneration record_generation, OpenOptions options);
  static std::unique_ptr<Mdc> open(std::string name, const std::array<Half, 2>& halves,
                                   RecordGeneration record_generation) {
    return open(std::move(name), halves, std::move(record_generation), OpenOptions{});
  }
  ~Mdc();
  // Finishes the work that open() deferred; not for a damaged MDC.
  void finish();

  using Ticket = std::uint64_t;
  // Appends one record to the active log. EFBIG when it is full: the caller compacts and retries.
  Ticket append(ConstByteSpan record);
  // Returns when everything up to `ticket` is durable, also if a compaction ran in between.
  // Concurrent callers share one flush (group commit).
  void sync(Ticket ticket);
  // Syncs several MDCs, each up to a ticket: writes all of them, then flushes each device once. On
  // an error some may be durable: sync() of each returns its state.
  struct Point {
    Mdc* mdc;
    Ticket ticket;
  };
  static void sync(std::span<const Point> points);

  // Replaces the content: `write_live` appends the remaining records with the function it is given;
  // then the halves change roles. Durable on return. When a step fails before the new log is
  // complete, the old content stays valid and the error is thrown. EFBIG when the live records do
  // not fit. When the last step fails (RecordGeneration of the old half), only the next open() can
  // determine which half is valid: the error is thrown and every later append() and compact()
  // throws EIO; reading and sync() continue.
  using Append = std::function<void(ConstByteSpan record)>;
  void compact(const std::function<void(const Append&)>& write_live);

  // compact() in two steps, for an owner whose appends in between are the remaining records. From
  // start_compaction() on, append(), sync(), reader() and used() are about the new log; what was
  // appended before is durable. Until end_compaction() is durable a crash leaves the old content.
  // After a failure of one of the two the Mdc must be opened again. EINVAL in the wrong order.
  // Serialised with append().
  void start_compaction();
  void end_compaction();

  // Replaces the inactive half by an empty log at another location, with another UUID: this is how
  // an MDC grows. `record` makes the location durable in the owner of the MDC. When it throws
  // ENOSPC nothing has changed; after any other error only the next open() can determine the state,
  // as with compact(). The generation of the location is chosen here, above those of both halves,
  // and given to `record`. Serialised with append() and compact(); EIO as for these.
  using RecordLocation = std::function<void(std::uint64_t generation)>;
  void replace_inactive(MlogLocation location, const RecordLocation& record);

  // Reads the data records from the first. The reader must not be used after a compact().
  MlogReader reader() const;

  std::uint64_t capacity() const;           // bytes of the active log
  std::uint64_t inactive_capacity() const;  // bytes of the other log: the limit of compact()
  std::uint64_t used() const;               // bytes in use in the active log
  bool fits(std::uint64_t record_length) const;
  const std::string& name() const;

  struct Stats {
    unsigned active = 0;  // index of the active half
    std::array<ObjectId, 2> ids;
    std::array<std::uint64_t, 2> generations{};
    Mlog::Stats log;  // of the active half
  };
  Stats stats() const;

  // The state that the next open() finds if nothing is appended any more; it covers everything that
  // sync() was called for.
  struct State {
    unsigned active = 0;  // index of the active half
    std::array<std::uint64_t, 2> generations{};
    Mlog::End end;  // of the active half
    bool operator==(const State&) const = default;
  };
  State state() const;
  // With OnDamage::report: the fault of the pair; empty: none.
  const std::string& damage() const;

 private:
  struct Impl;
  explicit Mdc(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpool
