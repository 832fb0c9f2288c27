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

using SharedLock = std::shared_lock<std::shared_mutex>;
using ExclusiveLock = std::unique_lock<std::shared_mutex>;

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

ClientPair::ClientPair(Pool& pool, ObjectId first, ObjectId second)
    // The first open makes the first of two unused logs the active one. If it was interrupted, only
    // the order of the logs tells which it was: it must not depend on the caller.
    : ids_{first.value < second.value ? first : second,
           first.value < second.value ? second : first},
      pins_{ObjectPin(pool, first), ObjectPin(pool, second)},
      mdc_(open_pair(pool, ids_)) {
  reader_.emplace(mdc_->reader());
}

bool ClientPair::failed() const {
  const std::shared_lock lock(exclusive_);
  return mdc_ == nullptr;
}

bool ClientPair::first_record_is(bool (*condition)(ConstByteSpan record)) const {
  const std::shared_lock lock(exclusive_);
  check_usable();
  MlogReader reader = mdc_->reader();
  std::vector<std::byte> record;
  return reader.next(record) && condition(record);
}

void ClientPair::check_usable() const {
  if (mdc_ == nullptr) {
    raise(EINVAL, ids_[0].to_string() + "/" + ids_[1].to_string(),
          "a compaction of this MDC failed: it must be closed");
  }
}

void ClientPair::sync() {
  Mdc::Ticket ticket = 0;
  {
    const std::lock_guard one(append_);
    ticket = appended_;
  }
  mdc_->sync(ticket);
}

void ClientPair::close_for_good() noexcept {
  compacting_ = nullptr;
  reader_.reset();
  mdc_.reset();
}

// --- an open ---

template <typename Lock>
Lock ClientMdc::use() const {
  Lock lock(pair_->exclusive_);
  pair_->check_usable();
  if (pair_->compacting_ != nullptr && pair_->compacting_ != this) {
    raise(EBUSY, pair_->ids_[0].to_string() + "/" + pair_->ids_[1].to_string(),
          "another open compacts it");
  }
  return lock;
}

void ClientMdc::append(ConstByteSpan record, bool durable) {
  const auto lock = use<SharedLock>();
  Mdc::Ticket ticket = 0;
  {
    const std::lock_guard one(pair_->append_);
    ticket = pair_->appended_ = pair_->mdc_->append(record);
  }
  if (durable) pair_->mdc_->sync(ticket);
}

void ClientMdc::sync() {
  const auto lock = use<SharedLock>();
  pair_->sync();
}

std::uint64_t ClientMdc::used() const {
  const auto lock = use<SharedLock>();
  return pair_->mdc_->used();
}

void ClientMdc::start_compaction() {
  const auto lock = use<ExclusiveLock>();
  try {
    pair_->mdc_->start_compaction();
    pair_->reader_.emplace(pair_->mdc_->reader());
  } catch (...) {
    pair_->close_for_good();
    throw;
  }
  pair_->compacting_ = this;
}

void ClientMdc::end_compaction() {
  const auto lock = use<ExclusiveLock>();
  try {
    pair_->mdc_->end_compaction();
  } catch (...) {
    pair_->close_for_good();
    throw;
  }
  pair_->compacting_ = nullptr;
}

SharedReader::Result ClientMdc::read(ByteSpan into) {
  const auto lock = use<SharedLock>();
  return pair_->reader_->read(into);
}

void ClientMdc::rewind() {
  const auto lock = use<SharedLock>();
  pair_->reader_->rewind();
}

bool ClientMdc::end() {
  {
    const ExclusiveLock lock(pair_->exclusive_);
    if (pair_->compacting_ == this) pair_->close_for_good();
  }
  const SharedLock lock(pair_->exclusive_);
  if (pair_->mdc_ == nullptr) return false;
  pair_->sync();
  return true;
}

}  // namespace mpool
