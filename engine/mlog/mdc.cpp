#include "engine/mlog/mdc.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "engine/base/error.h"

namespace mpool {

// The active log is the valid one with the smaller generation. Therefore recording a greater
// generation for the old log makes a compaction take effect: until then a crash leaves the old
// content valid.
struct Mdc::Impl {
  Impl(std::string mdc_name, const std::array<Half, 2>& mdc_halves, RecordGeneration record)
      : name(std::move(mdc_name)), halves(mdc_halves), record_generation(std::move(record)) {}

  void recover(const OpenOptions& options);
  void finish();
  FoundLog open_half(unsigned half, OnDamage on_damage);
  Ticket first_use();
  void erase(unsigned half);
  void forget(unsigned half, std::uint64_t generation);
  void compact(const std::function<void(const Append&)>& write_live);
  Mlog& empty_other();
  void start_compaction();
  void end_compaction();
  void switch_roles(Ticket end_of_new);
  void replace_inactive(MlogLocation location, const RecordLocation& record);
  std::uint64_t erased_generation() const;
  std::optional<Mlog::Written> write(Ticket ticket);
  void flushed(Ticket ticket, const Mlog::Written& written);

  std::uint64_t generation(unsigned half) const;
  const std::string& half_name(unsigned half) const { return halves[half].location.name; }
  const Logger& log() const { return halves[0].location.device->log(); }
  void check_decided() const;

  const std::string name;
  // For the inactive half both may change, under `roles`.
  std::array<Half, 2> halves;
  std::array<std::unique_ptr<Mlog>, 2> logs;
  const RecordGeneration record_generation;

  // Held shared while a log is in use, exclusively while the halves change roles or locations.
  mutable std::shared_mutex roles;
  unsigned active = 0;
  // Ticket of the MDC = ticket of the active log + base, modulo 2^64; tickets up to `settled` are
  // durable since a compaction.
  Ticket base = 0;
  Ticket settled = 0;
  Ticket last = 0;          // last ticket handed out; used by the owner
  std::string damage;       // constant after open()
  PairDecision unfinished;  // work for finish()
  // used by the owner: a switch or a move failed, only the next open() knows which half is valid
  bool undecided = false;
  bool compacting = false;  // used by the owner: between start_compaction() and end_compaction()
};

FoundLog Mdc::Impl::open_half(unsigned half, OnDamage on_damage) {
  try {
    logs[half] = Mlog::open(halves[half].location, CompactionSemantics::on, OnDamage::report);
    return describe(*logs[half]);
  } catch (const Error& error) {
    if (on_damage == OnDamage::refuse) throw;
    return {.name = half_name(half),
            .generation = halves[half].location.generation,
            .damage = error.detail()};
  }
}

void Mdc::Impl::recover(const OpenOptions& options) {
  std::array<FoundLog, 2> found;
  for (unsigned half : {0u, 1u})
    found[half] = open_half(half, options.on_damage);
  const PairDecision decision = decide_pair(found, options.use);
  active = decision.active;
  if (decision.doubt.empty()) {
    unfinished = decision;
    if (decision.erase_other && found[1 - active].written()) {
      log().info("{}: erasing {} after {} compaction", name, half_name(1 - active),
                 found[1 - active].has_end ? "a finished but not recorded" : "an unfinished");
    }
    return;
  }
  if (options.on_damage == OnDamage::refuse) {
    const bool blank = !found[0].written() && !found[1].written() && found[0].damage.empty() &&
                       found[1].damage.empty();
    raise(blank ? ENXIO : ENODATA, name, "{}", decision.doubt);
  }
  if (logs[active] == nullptr) active = 1 - active;
  if (logs[active] == nullptr) raise(ENODATA, name, "{}", decision.doubt);
  damage = decision.doubt;
}

void Mdc::Impl::finish() {
  const PairDecision todo = std::exchange(unfinished, {});
  // Before the other half is erased: generations other than 0 prove that the pair was used.
  if (todo.first_use) base = last - first_use();
  if (todo.erase_other) erase(1 - active);
}

// Two flushes: a log interrupted after its first marker then simply contains no records.
Mdc::Ticket Mdc::Impl::first_use() {
  Mlog& log = *logs[active];
  if (!log.stats().has_compaction_start) log.sync(log.append_compaction_start());
  const Ticket end = log.append_compaction_end();
  log.sync(end);
  return end;
}

std::optional<Mlog::Written> Mdc::Impl::write(Ticket ticket) {
  const std::shared_lock lock(roles);
  if (ticket <= settled) return std::nullopt;
  return logs[active]->write(ticket - base);
}

// Called after a flush of the device. If a compaction ran since write(), the ticket is durable
// already.
void Mdc::Impl::flushed(Ticket ticket, const Mlog::Written& written) {
  const std::shared_lock lock(roles);
  if (ticket > settled) logs[active]->flushed(written);
}

std::uint64_t Mdc::Impl::generation(unsigned half) const {
  return logs[half] ? logs[half]->generation() : halves[half].location.generation;
}

// The generation of a half after erasing: above those of both halves.
std::uint64_t Mdc::Impl::erased_generation() const {
  return std::max(generation(0), generation(1)) + 1;
}

void Mdc::Impl::erase(unsigned half) {
  const std::uint64_t erased = erased_generation();
  record_generation(halves[half].id, erased);
  forget(half, erased);
}

// Restarts `half` as an empty log of `new_generation`, which is durable.
void Mdc::Impl::forget(unsigned half, std::uint64_t new_generation) {
  const MlogLocation& location = halves[half].location;
  try {
    location.device->discard(location.offset, location.capacity);
    // A sparse file has freed the blocks; the next compaction needs them.
    location.device->reserve(location.offset, location.capacity);
  } catch (const Error& error) {
    log().warn("{}: emptying {}: {}", name, location.name, error.what());
  }
  logs[half]->reset(new_generation);
}

void Mdc::Impl::check_decided() const {
  if (!damage.empty()) raise(EIO, name, "opened for reading only, it is damaged: {}", damage);
  if (undecided) {
    raise(EIO, name, "unusable for writing: it failed when {} was to take over or to move",
          half_name(1 - active));
  }
}

// The inactive log for a compaction. Its content was left by an earlier, failed one.
Mlog& Mdc::Impl::empty_other() {
  check_decided();
  if (compacting) raise(EINVAL, name, "a compaction is under way");
  const unsigned other = 1 - active;
  if (!logs[other]->empty()) erase(other);
  return *logs[other];
}

void Mdc::Impl::start_compaction() {
  Mlog& log = empty_other();
  logs[active]->sync();
  const Ticket start = log.append_compaction_start();
  log.sync(start);
  const std::unique_lock lock(roles);
  active = 1 - active;
  settled = last;
  base = last - start;
  compacting = true;
}

void Mdc::Impl::end_compaction() {
  check_decided();
  if (!compacting) raise(EINVAL, name, "no compaction is under way");
  undecided = true;
  const Ticket end = logs[active]->append_compaction_end();
  logs[active]->sync(end);
  last = base + end;
  erase(1 - active);
  undecided = false;
  compacting = false;
}

void Mdc::Impl::compact(const std::function<void(const Append&)>& write_live) {
  Mlog& log = empty_other();
  log.append_compaction_start();
  write_live([&](ConstByteSpan record) { log.append(record); });
  const Ticket end = log.append_compaction_end();
  log.sync(end);
  switch_roles(end);
}

void Mdc::Impl::switch_roles(Ticket end_of_new) {
  const unsigned old = active;
  const std::uint64_t erased = erased_generation();
  undecided = true;
  record_generation(halves[old].id, erased);
  undecided = false;
  {
    // Waits for syncs in progress on the old log.
    const std::unique_lock lock(roles);
    active = 1 - old;
    settled = last;
    base = last - end_of_new;
  }
  forget(old, erased);
}

void Mdc::Impl::replace_inactive(MlogLocation location, const RecordLocation& record) {
  check_decided();
  location.generation = erased_generation();
  std::unique_ptr<Mlog> log = Mlog::open(location, CompactionSemantics::on);
  if (!log->empty()) raise(ENOTEMPTY, name, "{} is not empty", location.name);
  try {
    record(location.generation);
  } catch (const Error& error) {
    undecided = error.code() != ENOSPC;
    throw;
  }
  const unsigned other = 1 - active;
  const std::unique_lock lock(roles);
  logs[other] = std::move(log);
  halves[other].location = std::move(location);
}

Mdc::Mdc(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Mdc::~Mdc() = default;

std::unique_ptr<Mdc> Mdc::open(std::string name, const std::array<Half, 2>& halves,
                               RecordGeneration record_generation, OpenOptions options) {
  auto impl = std::make_unique<Impl>(std::move(name), halves, std::move(record_generation));
  impl->recover(options);
  if (options.finish == OpenOptions::Finish::at_once) impl->finish();
  return std::unique_ptr<Mdc>(new Mdc(std::move(impl)));
}

void Mdc::finish() {
  impl_->finish();
}

Mdc::Ticket Mdc::append(ConstByteSpan record) {
  impl_->check_decided();
  return impl_->last = impl_->base + impl_->logs[impl_->active]->append(record);
}

void Mdc::sync(Ticket ticket) {
  const std::shared_lock lock(impl_->roles);
  if (ticket > impl_->settled) impl_->logs[impl_->active]->sync(ticket - impl_->base);
}

void Mdc::sync(std::span<const Point> points) {
  // Appends that arrive meanwhile share the next write and flush of the log; on the path below,
  // their write would first have to flush the data written here.
  if (points.size() == 1) return points.front().mdc->sync(points.front().ticket);
  struct Pending {
    const Point& point;
    Mlog::Written written;
  };
  std::vector<Pending> pending;
  std::set<Device*> devices;
  for (const Point& point : points) {
    if (const auto written = point.mdc->impl_->write(point.ticket)) {
      pending.push_back({point, *written});
      devices.insert(written->device);
    }
  }
  for (Device* device : devices)
    device->flush();
  for (const auto& [point, written] : pending)
    point.mdc->impl_->flushed(point.ticket, written);
}

void Mdc::compact(const std::function<void(const Append&)>& write_live) {
  impl_->compact(write_live);
}

void Mdc::start_compaction() {
  impl_->start_compaction();
}

void Mdc::end_compaction() {
  impl_->end_compaction();
}

void Mdc::replace_inactive(MlogLocation location, const RecordLocation& record) {
  impl_->replace_inactive(std::move(location), record);
}

MlogReader Mdc::reader() const {
  const std::shared_lock lock(impl_->roles);
  return MlogReader(*impl_->logs[impl_->active]);
}

std::uint64_t Mdc::capacity() const {
  const std::shared_lock lock(impl_->roles);
  return impl_->logs[impl_->active]->capacity();
}

std::uint64_t Mdc::inactive_capacity() const {
  const std::shared_lock lock(impl_->roles);
  return impl_->halves[1 - impl_->active].location.capacity;
}

std::uint64_t Mdc::used() const {
  const std::shared_lock lock(impl_->roles);
  return impl_->logs[impl_->active]->used();
}

bool Mdc::fits(std::uint64_t record_length) const {
  const std::shared_lock lock(impl_->roles);
  return impl_->logs[impl_->active]->fits(record_length);
}

const std::string& Mdc::name() const {
  return impl_->name;
}

Mdc::Stats Mdc::stats() const {
  const std::shared_lock lock(impl_->roles);
  return {.active = impl_->active,
          .ids = {impl_->halves[0].id, impl_->halves[1].id},
          .generations = {impl_->generation(0), impl_->generation(1)},
          .log = impl_->logs[impl_->active]->stats()};
}

Mdc::State Mdc::state() const {
  const std::shared_lock lock(impl_->roles);
  return {.active = impl_->active,
          .generations = {impl_->generation(0), impl_->generation(1)},
          .end = impl_->logs[impl_->active]->end()};
}

const std::string& Mdc::damage() const {
  return impl_->damage;
}

}  // namespace mpool
