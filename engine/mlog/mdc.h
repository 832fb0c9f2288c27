// Metadata container: a pair of mlogs, one of them active (engine/format/README.md, "MDC (pair of
// mlogs)").
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "engine/format/object_id.h"
#include "engine/mlog/mlog.h"
#include "engine/mlog/pair_state.h"

namespace mpool {

// An open metadata container.
//
// Threads: append() and compact() are serialised by the caller (the MDC has one owner); sync(),
// facts and readers may be used beside append() by any thread.
class Mdc {
 public:
  struct Half {
    ObjectId id;
    MlogPlace place;
  };
  // Makes a greater generation of one half durable in whatever owns it (the superblocks, MDC0, an
  // MDC): called before the half's zones are discarded and used again.
  using RecordGeneration = std::function<void(ObjectId half, std::uint64_t generation)>;

  struct OpenOptions {
    PairUse use = PairUse::unknown;
    // report: damage() says what is wrong, the records are those that can be read, append() and
    // compact() throw EIO, and nothing was written.
    OnDamage on_damage = OnDamage::refuse;
    // later: nothing is written before finish(), which the caller owes before any change.
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
  // Does what open() left to be done; not of a damaged one.
  void finish();

  using Ticket = std::uint64_t;
  // Appends one record to the active log. EFBIG when it is full: the caller compacts and tries
  // again.
  Ticket append(ConstByteSpan record);
  // Durable up to `ticket`, also over a compaction in between. Shared by concurrent callers (group
  // commit).
  void sync(Ticket ticket);
  // Several MDCs, each up to a ticket: all are written first, then each device is flushed once. On
  // an error some may be durable: sync() of each tells.
  struct Point {
    Mdc* mdc;
    Ticket ticket;
  };
  static void sync(std::span<const Point> points);

  // Replaces the content: `write_live` appends, by the function it is given, the records that are
  // to remain; then the halves change roles. Durable on return. When anything fails before the new
  // log is complete the old content stays in force and the error is thrown. EFBIG when the live
  // records do not fit. When it fails at the last step, RecordGeneration of the old half, only the
  // next open() can tell which half counts: the error is thrown and every later append() and
  // compact() throws EIO; reading and sync() go on.
  using Append = std::function<void(ConstByteSpan record)>;
  void compact(const std::function<void(const Append&)>& write_live);

  // Puts an empty log at another place, with another UUID, into the half that is not active: so an
  // MDC grows. `record` makes the place durable in whatever owns the MDC. When it throws ENOSPC
  // nothing has changed; after any other error only the next open() can tell, as with compact().
  // The place's generation is chosen here, above those of both halves, and given to `record`.
  // Serialised with append() and compact(); EIO as there.
  using RecordPlace = std::function<void(std::uint64_t generation)>;
  void replace_inactive(MlogPlace place, const RecordPlace& record);

  // The data records, from the first. The reader must not be used over a compact().
  MlogReader reader() const;

  std::uint64_t capacity() const;           // bytes of the active log
  std::uint64_t inactive_capacity() const;  // bytes of the other one: what compact() can fill
  std::uint64_t used() const;               // bytes in use in the active log
  bool fits(std::uint64_t record_length) const;
  const std::string& name() const;

  struct Facts {
    unsigned active = 0;  // index of the active half
    std::array<ObjectId, 2> ids;
    std::array<std::uint64_t, 2> generations{};
    Mlog::Facts log;  // of the active half
  };
  Facts facts() const;

  // What the next open() finds if nothing is appended any more; it covers what sync() was called
  // for.
  struct State {
    unsigned active = 0;  // index of the active half
    std::array<std::uint64_t, 2> generations{};
    Mlog::End end;  // of the active half
    bool operator==(const State&) const = default;
  };
  State state() const;
  // With OnDamage::report: what is wrong with the pair; empty: nothing.
  const std::string& damage() const;

 private:
  struct Impl;
  explicit Mdc(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpool
