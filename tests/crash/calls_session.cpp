#include "tests/crash/calls_session.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"

namespace mpool::test {
namespace {

// A log or an MDC that is open. Destroyed without close(), its close may fail.
template <typename Handle, mpool_err_t (*Close)(Handle*)>
class OpenHandle {
 public:
  explicit OpenHandle(Handle* handle) : handle_(handle) {}
  ~OpenHandle() {
    if (handle_ != nullptr) (void)Close(handle_);
  }
  OpenHandle(const OpenHandle&) = delete;
  OpenHandle& operator=(const OpenHandle&) = delete;
  Handle* get() const { return handle_; }
  void close() { check_call(Close(std::exchange(handle_, nullptr)), "close"); }

 private:
  Handle* handle_;
};
using OpenMlog = OpenHandle<mpool_mlog, mpool_mlog_close>;
using OpenPair = OpenHandle<mpool_mdc, mpool_mdc_close>;

// All records that `read` gives.
template <typename Read>
RecordSum sum_of_records(const Read& read) {
  RecordSum sum;
  std::vector<std::byte> record(64u << 10);
  for (;;) {
    std::size_t length = 0;
    check_call(read(record.data(), record.size(), &length), "read");
    if (length == 0) return sum;
    sum.add(std::span(record).first(length));
  }
}

}  // namespace

class CallsSession::Work {
 public:
  Work(LibraryPool& pool, Model& model, std::uint64_t seed)
      : pool_(pool), model_(model), random_(seed) {}

  // Commits it, or aborts it.
  void add_mblock() {
    std::uint64_t id = 0;
    mblock_props props{};
    check_call(mpool_mblock_alloc(handle(), MP_MED_CAPACITY, true, &id, &props), "alloc");
    reserve(id);
    AlignedBuffer content((1 + random_() % (kZone / kPageSize)) * kPageSize);
    fill(content.span());
    try {
      for (std::uint64_t at = 0; at < content.size(); at += kPageSize) {
        const iovec part{.iov_base = content.data() + at, .iov_len = kPageSize};
        check_call(mpool_mblock_write(handle(), id, &part, 1), "write");
      }
      if (chance(4)) return check_call(mpool_mblock_abort(handle(), id), "abort");
      model_.begin(fact_of(ObjectId{id}), value_of_mblock(MediaClass::capacity, content.span()));
      check_call(mpool_mblock_commit(handle(), id), "commit");
    } catch (const Error&) {
      (void)mpool_mblock_abort(handle(), id);
      throw;
    }
    model_.durable(fact_of(ObjectId{id}));
  }
  void delete_mblock() {
    const auto mblocks = mblocks_of(pool_.pool());
    if (mblocks.size() < 3) return;
    const ObjectId id = mblocks[random_() % mblocks.size()];
    model_.begin(fact_of(id), std::nullopt);
    check_call(mpool_mblock_delete(handle(), id.value), "delete");
    model_.durable(fact_of(id));
  }

  void add_log() {
    mlog_capacity capacity{};
    capacity.lcp_captgt = kZone;
    std::uint64_t id = 0;
    mlog_props props{};
    check_call(mpool_mlog_alloc(handle(), MP_MED_CAPACITY, &capacity, &id, &props), "alloc");
    reserve(id);
    model_.begin(fact_of(ObjectId{id}), value_of_log(props.lpr_gen, {}));
    if (const mpool_err_t error = mpool_mlog_commit(handle(), id); error != 0) {
      (void)mpool_mlog_abort(handle(), id);
      check_call(error, "commit");
    }
    model_.durable(fact_of(ObjectId{id}));
  }
  void delete_log() {
    const auto logs = logs_of(pool_.pool());
    if (logs.size() < 2) return;
    model_.begin(fact_of(logs.back()), std::nullopt);
    check_call(mpool_mlog_delete(handle(), logs.back().value), "delete");
    model_.durable(fact_of(logs.back()));
  }
  // Appends, syncs and erases.
  void use_log() {
    const auto logs = logs_of(pool_.pool());
    if (logs.empty()) return;
    const ObjectId id = logs[random_() % logs.size()];
    const std::string fact = fact_of(id);
    mpool_mlog* opened = nullptr;
    std::uint64_t generation = 0;
    check_call(mpool_mlog_open(handle(), id.value, 0, &generation, &opened), "open");
    OpenMlog log(opened);
    RecordSum sum = sum_of_records([&](void* data, std::size_t size, std::size_t* length) {
      return mpool_mlog_read(log.get(), data, size, length);
    });
    for (unsigned i = 0; i < 4; ++i) {
      std::size_t used = 0;
      check_call(mpool_mlog_len(log.get(), &used), "len");
      if (used > kZone / 2 || chance(10)) {
        const std::uint64_t wanted = chance(2) ? generation + 10 : 0;
        generation = std::max(generation + 1, wanted);
        sum = {};
        model_.begin(fact, value_of_log(generation, sum));
        check_call(mpool_mlog_erase(log.get(), wanted), "erase");
        model_.durable(fact);
      }
      auto record = make_record();
      sum.add(record);
      model_.begin(fact, value_of_log(generation, sum));
      iovec part{.iov_base = record.data(), .iov_len = record.size()};
      const bool sync = chance(3);
      check_call(mpool_mlog_append(log.get(), &part, record.size(), sync ? 1 : 0), "append");
      if (sync) model_.durable(fact);
    }
    if (chance(2)) {
      check_call(mpool_mlog_sync(log.get()), "sync");
      model_.durable(fact);
    }
    log.close();
    model_.durable(fact);
  }

  // Appends, and compacts to a few records.
  void use_pair() {
    const auto ids = pair_of(pool_.pool());
    if (!ids) return;
    mpool_mdc* opened = nullptr;
    check_call(mpool_mdc_open(handle(), (*ids)[0].value, (*ids)[1].value, 0, &opened), "open");
    OpenPair mdc(opened);
    RecordSum sum = sum_of_records([&](void* data, std::size_t size, std::size_t* length) {
      return mpool_mdc_read(mdc.get(), data, size, length);
    });
    const auto append = [&](bool sync) {
      auto record = make_record();
      sum.add(record);
      const auto length = static_cast<ssize_t>(record.size());
      return mpool_mdc_append(mdc.get(), record.data(), length, sync);
    };
    for (unsigned i = 0; i < 3; ++i) {
      const Moment moment = model_.now();
      const bool sync = chance(3);
      const mpool_err_t error = append(sync);
      model_.begin_at(moment, kPairFact, sum.value());
      check_call(error, "append");
      if (sync) model_.durable(kPairFact);
    }
    check_call(mpool_mdc_cstart(mdc.get()), "cstart");
    model_.durable(kPairFact);
    sum = {};
    for (std::uint64_t kept = random_() % 3; kept > 0; --kept)
      check_call(append(false), "append");
    model_.begin(kPairFact, sum.value());
    check_call(mpool_mdc_cend(mdc.get()), "cend");
    model_.durable(kPairFact);
    mdc.close();
  }
  // The program is killed with an mblock that is not committed, a log with records that are not
  // synced, and an MDC that it compacts; another one goes on.
  void die() {
    const auto ids = pair_of(pool_.pool());
    const auto logs = logs_of(pool_.pool());
    if (!pool_.can_kill() || !ids || logs.empty()) return;
    {
      std::uint64_t id = 0;
      check_call(mpool_mblock_alloc(handle(), MP_MED_CAPACITY, true, &id, nullptr), "alloc");
      reserve(id);
      AlignedBuffer page(kPageSize);
      const iovec content{.iov_base = page.data(), .iov_len = page.size()};
      check_call(mpool_mblock_write(handle(), id, &content, 1), "write");

      mpool_mlog* opened_log = nullptr;
      std::uint64_t generation = 0;
      check_call(mpool_mlog_open(handle(), logs[0].value, 0, &generation, &opened_log), "open");
      const OpenMlog log(opened_log);
      RecordSum sum = sum_of_records([&](void* data, std::size_t size, std::size_t* length) {
        return mpool_mlog_read(log.get(), data, size, length);
      });
      auto record = make_record();
      iovec part{.iov_base = record.data(), .iov_len = record.size()};
      const Moment moment = model_.now();
      const mpool_err_t error = mpool_mlog_append(log.get(), &part, record.size(), 0);
      if (mpool_errno(error) != EFBIG) {
        sum.add(record);
        model_.begin_at(moment, fact_of(logs[0]), value_of_log(generation, sum));
        check_call(error, "append");
      }

      mpool_mdc* opened = nullptr;
      check_call(mpool_mdc_open(handle(), (*ids)[0].value, (*ids)[1].value, 0, &opened), "open");
      const OpenPair mdc(opened);
      check_call(mpool_mdc_cstart(mdc.get()), "cstart");
      auto lost = make_record();
      check_call(
          mpool_mdc_append(mdc.get(), lost.data(), static_cast<ssize_t>(lost.size()), chance(2)),
          "append");
      pool_.kill_program();
    }
    pool_.begin_again();
  }
  void settle() { pool_.pool().wait_for_discards(std::chrono::seconds(10)); }

 private:
  mpool_handle* handle() const { return pool_.handle(); }
  bool chance(unsigned of) { return random_() % of == 0; }
  void reserve(std::uint64_t id) {
    const std::string fact = fact_of(ObjectId{id});
    if (model_.used(fact, model_.now())) raise(EEXIST, fact, "was handed out before");
    model_.reserve(fact);
  }
  void fill(ByteSpan bytes) {
    const std::uint64_t salt = random_();
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<std::byte>((salt >> (i % 8 * 8)) + i / 13);
  }
  std::vector<std::byte> make_record() {
    std::vector<std::byte> record(1 + random_() % 700);
    fill(record);
    return record;
  }

  LibraryPool& pool_;
  Model& model_;
  std::mt19937_64 random_;
};

void CallsSession::prepare() {
  std::array<std::uint64_t, 2> ids{};
  const mdc_capacity pair{.mdt_captgt = kPairZones * kZone, .mdt_spare = false};
  check_call(mpool_mdc_alloc(pool_.handle(), ids.data(), &ids[1], MP_MED_CAPACITY, &pair, nullptr),
             "mpool_mdc_alloc");
  check_call(mpool_mdc_commit(pool_.handle(), ids[0], ids[1]), "mpool_mdc_commit");
  mlog_capacity log{};
  log.lcp_captgt = 2 * kZone;
  check_call(mpool_mlog_alloc(pool_.handle(), MP_MED_CAPACITY, &log, ids.data(), nullptr),
             "mpool_mlog_alloc");
  check_call(mpool_mlog_commit(pool_.handle(), ids[0]), "mpool_mlog_commit");
}

Facts CallsSession::facts(bool settled) {
  ClientPool client(pool_.pool());
  return facts_of(client, settled);
}

void CallsSession::change(Model& model, std::uint64_t seed, unsigned rounds) {
  Work work(pool_, model, seed);
  for (unsigned i = 0; i < rounds; ++i) {
    work.add_mblock();
    work.use_pair();
    work.use_log();
    work.delete_mblock();
    if (i % 3 == 0) work.die();
    if (i % 3 == 1) work.add_log();
    if (i % 3 == 2) work.delete_log();
    work.settle();
  }
}

std::string CallsSession::clean_up() {
  const Pool& pool = pool_.pool();
  for (const ObjectId id : mblocks_of(pool))
    check_call(mpool_mblock_delete(pool_.handle(), id.value), "delete");
  for (const ObjectId id : logs_of(pool))
    check_call(mpool_mlog_delete(pool_.handle(), id.value), "delete");
  if (const auto ids = pair_of(pool)) {
    check_call(mpool_mdc_delete(pool_.handle(), (*ids)[0].value, (*ids)[1].value), "delete");
  }
  if (pool.object_count() != 2) return "everything is deleted, but objects are left";
  return check_zones(pool_.pool());
}

}  // namespace mpool::test
