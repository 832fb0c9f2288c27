#include "engine/client/client_log.h"

#include <algorithm>
#include <cerrno>
#include <limits>

#include "engine/base/error.h"

namespace mpool {

SharedReader::Result SharedReader::read(ByteSpan into) {
  const std::lock_guard lock(mutex_);
  const MlogPosition before = reader_.position();
  try {
    return {.error = 0, .length = reader_.next(into).value_or(0)};
  } catch (const Error& error) {
    if (error.code() != EOVERFLOW) throw;
  }
  const std::size_t length = reader_.skip().value_or(0);
  reader_.seek(before);
  return {.error = EOVERFLOW, .length = length};
}

SharedReader::Result SharedReader::skip(std::size_t length) {
  const std::lock_guard lock(mutex_);
  const MlogPosition before = reader_.position();
  const std::size_t found = reader_.skip().value_or(0);
  if (found > length) {
    reader_.seek(before);
    return {.error = EOVERFLOW, .length = found};
  }
  return {.error = found < length ? ERANGE : 0, .length = found};
}

void SharedReader::rewind() {
  const std::lock_guard lock(mutex_);
  reader_.rewind();
}

ClientLog::ClientLog(Pool& pool, ObjectId id, Options options)
    : pool_(pool),
      id_(id),
      options_(options),
      pin_(pool, id),
      log_(Mlog::open(pool.mlog_location(*pool.find(id)), options.semantics)),
      reader_(MlogReader(*log_)) {}

void ClientLog::append(std::span<const ConstByteSpan> parts, bool durable) {
  const std::shared_lock lock(exclusive_);
  if (options_.semantics == CompactionSemantics::on && !log_->stats().has_compaction_start) {
    raise(EINVAL, log_->name(), "an append before the start of a compaction");
  }
  const Mlog::Ticket ticket = log_->append(parts);
  if (durable) log_->sync(ticket);
}

void ClientLog::sync() {
  const std::shared_lock lock(exclusive_);
  log_->sync();
}

std::uint64_t ClientLog::used() const {
  const std::shared_lock lock(exclusive_);
  return log_->used();
}

std::uint64_t ClientLog::generation() const {
  const std::shared_lock lock(exclusive_);
  return log_->generation();
}

void ClientLog::erase(std::uint64_t min_generation) {
  const std::unique_lock lock(exclusive_);
  const std::uint64_t present = log_->generation();
  if (present == std::numeric_limits<std::uint64_t>::max()) {
    raise(EOVERFLOW, log_->name(), "it was erased as often as is possible");
  }
  const std::uint64_t next = std::max(present + 1, min_generation);
  pool_.record_generation(id_, next);
  log_->reset(next);
  reader_.rewind();
}

SharedReader::Result ClientLog::read(ByteSpan into) {
  const std::shared_lock lock(exclusive_);
  return reader_.read(into);
}

SharedReader::Result ClientLog::skip_and_read(std::size_t length, ByteSpan into) {
  const std::shared_lock lock(exclusive_);
  const SharedReader::Result skipped = reader_.skip(length);
  if (skipped.error != 0 || into.empty()) return skipped;
  return reader_.read(into);
}

void ClientLog::rewind() {
  const std::shared_lock lock(exclusive_);
  reader_.rewind();
}

}  // namespace mpool
