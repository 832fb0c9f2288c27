#include "tests/apps/kv_manifest.h"

#include <cerrno>

namespace apps {
namespace {

std::string encode(const Edit& edit) {
  Encoder record;
  record.number(static_cast<std::uint32_t>(edit.added.size()));
  for (const TableInfo& table : edit.added) {
    record.number(table.id);
    record.number(table.level);
    record.number(table.last_sequence);
    record.text(table.first_key);
    record.text(table.last_key);
  }
  record.number(static_cast<std::uint32_t>(edit.unowned.size()));
  for (const auto& [id, kind] : edit.unowned) {
    record.number(id);
    record.number(static_cast<std::uint8_t>(kind));
  }
  record.number(static_cast<std::uint32_t>(edit.forgotten.size()));
  for (const std::uint64_t id : edit.forgotten)
    record.number(id);
  for (const auto& number : {edit.wal, edit.flushed}) {
    record.number(static_cast<std::uint8_t>(number.has_value()));
    record.number(number.value_or(0));
  }
  return std::move(record.bytes());
}

Edit decode(std::string_view bytes) {
  Decoder record(bytes);
  Edit edit;
  for (auto left = record.number<std::uint32_t>(); left > 0; --left) {
    TableInfo table;
    table.id = record.number<std::uint64_t>();
    table.level = record.number<std::uint32_t>();
    table.last_sequence = record.number<std::uint64_t>();
    table.first_key = record.text();
    table.last_key = record.text();
    edit.added.push_back(std::move(table));
  }
  for (auto left = record.number<std::uint32_t>(); left > 0; --left) {
    const auto id = record.number<std::uint64_t>();
    edit.unowned[id] = static_cast<ObjectKind>(record.number<std::uint8_t>());
  }
  for (auto left = record.number<std::uint32_t>(); left > 0; --left)
    edit.forgotten.push_back(record.number<std::uint64_t>());
  for (auto* number : {&edit.wal, &edit.flushed}) {
    const bool given = record.number<std::uint8_t>() != 0;
    const auto value = record.number<std::uint64_t>();
    if (given) *number = value;
  }
  if (!record.at_end()) throw CallError(ENODATA, "a record of the manifest is too long");
  return edit;
}

}  // namespace

void Manifest::State::apply(const Edit& edit) {
  for (const auto& [id, kind] : edit.unowned) {
    tables.erase(id);
    unowned[id] = kind;
  }
  for (const TableInfo& table : edit.added) {
    unowned.erase(table.id);
    tables[table.id] = table;
  }
  for (const std::uint64_t id : edit.forgotten)
    unowned.erase(id);
  if (edit.wal) {
    wal = *edit.wal;
    unowned.erase(wal);
  }
  if (edit.flushed) flushed = *edit.flushed;
}

Manifest::Ids Manifest::create(const Pool& pool, std::size_t capacity) {
  const mdc_capacity wanted{.mdt_captgt = capacity, .mdt_spare = false};
  Ids ids{};
  check(mpool_mdc_alloc(pool.get(), &ids[0], &ids[1], MP_MED_CAPACITY, &wanted, nullptr),
        "mpool_mdc_alloc");
  check(mpool_mdc_commit(pool.get(), ids[0], ids[1]), "mpool_mdc_commit");
  return ids;
}

void Manifest::destroy(const Pool& pool, const Ids& ids) {
  check(mpool_mdc_delete(pool.get(), ids[0], ids[1]), "mpool_mdc_delete");
}

Manifest::Manifest(const Pool& pool, const Ids& ids, std::size_t limit) : limit_(limit) {
  check(mpool_mdc_open(pool.get(), ids[0], ids[1], 0, &mdc_), "mpool_mdc_open");
  try {
    check(mpool_mdc_rewind(mdc_), "mpool_mdc_rewind");
    const auto read = [this](void* data, std::size_t size, std::size_t* length) {
      return mpool_mdc_read(mdc_, data, size, length);
    };
    RecordReader reader;
    for (std::string record; reader.next(read, record);)
      state_.apply(decode(record));
  } catch (...) {
    (void)mpool_mdc_close(mdc_);
    throw;
  }
}

Manifest::~Manifest() {
  (void)mpool_mdc_close(mdc_);
}

Manifest::State Manifest::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

std::uint64_t Manifest::compactions() const {
  const std::lock_guard lock(mutex_);
  return compactions_;
}

bool Manifest::append(const Edit& edit, Sync sync) {
  std::string record = encode(edit);
  const mpool_err_t error =
      mpool_mdc_append(mdc_, record.data(), static_cast<ssize_t>(record.size()), sync == Sync::now);
  if (mpool_errno(error) == EFBIG) return false;
  check(error, "mpool_mdc_append");
  return true;
}

void Manifest::compact() {
  Edit all;
  for (const auto& [id, table] : state_.tables)
    all.added.push_back(table);
  all.unowned = state_.unowned;
  all.wal = state_.wal;
  all.flushed = state_.flushed;
  check(mpool_mdc_cstart(mdc_), "mpool_mdc_cstart");
  if (!append(all, Sync::later)) throw CallError(EFBIG, "the manifest is too small");
  check(mpool_mdc_cend(mdc_), "mpool_mdc_cend");
  ++compactions_;
}

void Manifest::apply(const Edit& edit, Sync sync) {
  const std::lock_guard lock(mutex_);
  std::size_t used = 0;
  check(mpool_mdc_usage(mdc_, &used), "mpool_mdc_usage");
  if (used > limit_) compact();
  if (!append(edit, sync)) {
    compact();
    if (!append(edit, sync)) throw CallError(EFBIG, "the manifest is too small");
  }
  state_.apply(edit);
}

}  // namespace apps
