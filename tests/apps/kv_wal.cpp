#include "tests/apps/kv_wal.h"

#include <cerrno>

namespace apps {

std::uint64_t Wal::allocate(const Pool& pool, std::size_t capacity) {
  mlog_capacity wanted{};
  wanted.lcp_captgt = capacity;
  std::uint64_t id = 0;
  check(mpool_mlog_alloc(pool.get(), MP_MED_CAPACITY, &wanted, &id, nullptr), "mpool_mlog_alloc");
  return id;
}

void Wal::commit(const Pool& pool, std::uint64_t id) {
  check(mpool_mlog_commit(pool.get(), id), "mpool_mlog_commit");
}

Wal::Wal(const Pool& pool, std::uint64_t id) {
  std::uint64_t generation = 0;
  check(mpool_mlog_open(pool.get(), id, 0, &generation, &log_), "mpool_mlog_open");
}

Wal::~Wal() {
  (void)mpool_mlog_close(log_);
}

void Wal::replay(const std::function<void(Change)>& apply) {
  check(mpool_mlog_rewind(log_), "mpool_mlog_rewind");
  const auto read = [this](void* data, std::size_t size, std::size_t* length) {
    return mpool_mlog_read(log_, data, size, length);
  };
  RecordReader reader;
  for (std::string record; reader.next(read, record);) {
    Decoder decoder(record);
    Change change;
    change.sequence = decoder.number<std::uint64_t>();
    const bool has_value = decoder.number<std::uint8_t>() != 0;
    change.key = decoder.text();
    if (has_value) change.value = decoder.text();
    apply(std::move(change));
  }
}

bool Wal::append(const Change& change) {
  Encoder record;
  record.number(change.sequence);
  record.number(static_cast<std::uint8_t>(change.value.has_value()));
  record.text(change.key);
  if (change.value) record.text(*change.value);
  iovec part{.iov_base = record.bytes().data(), .iov_len = record.size()};
  const mpool_err_t error = mpool_mlog_append(log_, &part, record.size(), 0);
  if (mpool_errno(error) == EFBIG) return false;
  check(error, "mpool_mlog_append");
  return true;
}

void Wal::sync() {
  check(mpool_mlog_sync(log_), "mpool_mlog_sync");
}

void Wal::erase() {
  check(mpool_mlog_erase(log_, 0), "mpool_mlog_erase");
}

}  // namespace apps
