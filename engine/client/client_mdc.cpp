#include "engine/client/client_mdc.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/mlog/pair_state.h"

namespace mpool {

namespace {

// True when two sound logs do not say which of them is the active one: both have a compaction that
// did not finish, or they have the same generation.
bool is_ambiguous(const std::array<Mdc::Half, 2>& halves) {
  std::array<FoundLog, 2> found;
  for (unsigned i = 0; i < halves.size(); ++i) {
    const auto log = Mlog::open(halves[i].location, CompactionSemantics::on, OnDamage::report);
    found[i] = describe(*log);
    if (!found[i].damage.empty()) return false;
  }
  const auto unfinished = [](const FoundLog& log) { return log.has_start && !log.has_end; };
  return std::ranges::all_of(found, unfinished) ||
         (found[0].generation == found[1].generation && found[0].generation != 0);
}

// Not Pool::open_mdc(): what a program has in its logs is no damage of the pool.
std::unique_ptr<Mdc> open_pair(Pool& pool, const std::array<ObjectId, 2>& ids) {
  std::array<Mdc::Half, 2> halves;
  for (unsigned i = 0; i < halves.size(); ++i)
    halves[i] = {.id = ids[i], .location = pool.mlog_location(*pool.find(ids[i]))};
  const auto record = [&pool](ObjectId half, std::uint64_t generation) {
    pool.record_generation(half, generation);
  };
  const std::string name =
      fmt::format("MDC {}/{} of pool {}", ids[0].to_string(), ids[1].to_string(), pool.name());
  try {
    return Mdc::open(name, halves, record);
  } catch (const Error& error) {
    if (error.code() != ENODATA && error.code() != ENXIO) throw;
    throw Error(is_ambiguous(halves) ? EINVAL : ENODATA, error.subject(), error.detail());
  }
}

}  // namespace

ClientMdc::ClientMdc(Pool& pool, ObjectId first, ObjectId second)
    // The first open makes the first of two unused logs the active one. If it was interrupted, only
    // the order of the logs tells which it was: it must not depend on the caller.
    : ids_{first.value < second.value ? first : second,
           first.value < second.value ? second : first},
      pins_{ObjectPin(pool, first), ObjectPin(pool, second)},
      mdc_(open_pair(pool, ids_)) {
  reader_.emplace(mdc_->reader());
}

void ClientMdc::check_usable() const {
  if (mdc_ == nullptr) {
    raise(EINVAL, ids_[0].to_string() + "/" + ids_[1].to_string(),
          "a compaction of this MDC failed: it must be closed");
  }
}

void ClientMdc::append(ConstByteSpan record, bool durable) {
  const std::shared_lock lock(exclusive_);
  check_usable();
  Mdc::Ticket ticket = 0;
  {
    const std::lock_guard one(append_);
    ticket = appended_ = mdc_->append(record);
  }
  if (durable) mdc_->sync(ticket);
}

void ClientMdc::sync() {
  const std::shared_lock lock(exclusive_);
  check_usable();
  Mdc::Ticket ticket = 0;
  {
    const std::lock_guard one(append_);
    ticket = appended_;
  }
  mdc_->sync(ticket);
}

std::uint64_t ClientMdc::used() const {
  const std::shared_lock lock(exclusive_);
  check_usable();
  return mdc_->used();
}

void ClientMdc::close_for_good() noexcept {
  compacting_.reset();
  reader_.reset();
  mdc_.reset();
}

void ClientMdc::start_compaction(Opener opener) {
  const std::unique_lock lock(exclusive_);
  check_usable();
  try {
    mdc_->start_compaction();
    reader_.emplace(mdc_->reader());
  } catch (...) {
    close_for_good();
    throw;
  }
  compacting_ = opener;
}

void ClientMdc::end_compaction() {
  const std::unique_lock lock(exclusive_);
  check_usable();
  try {
    mdc_->end_compaction();
  } catch (...) {
    close_for_good();
    throw;
  }
  compacting_.reset();
}

void ClientMdc::check_opener(Opener opener) const {
  const std::shared_lock lock(exclusive_);
  if (!compacting_ || *compacting_ == opener) return;
  raise(EBUSY, ids_[0].to_string() + "/" + ids_[1].to_string(), "another open compacts it");
}

void ClientMdc::abandon_compaction(Opener opener) noexcept {
  const std::unique_lock lock(exclusive_);
  if (compacting_ == opener) close_for_good();
}

SharedReader::Result ClientMdc::read(ByteSpan into) {
  const std::shared_lock lock(exclusive_);
  check_usable();
  return reader_->read(into);
}

void ClientMdc::rewind() {
  const std::shared_lock lock(exclusive_);
  check_usable();
  reader_->rewind();
}

bool ClientMdc::failed() const {
  const std::shared_lock lock(exclusive_);
  return mdc_ == nullptr;
}

bool ClientMdc::first_record_is(bool (*condition)(ConstByteSpan record)) const {
  const std::shared_lock lock(exclusive_);
  check_usable();
  MlogReader reader = mdc_->reader();
  std::vector<std::byte> record;
  return reader.next(record) && condition(record);
}

}  // namespace mpool
