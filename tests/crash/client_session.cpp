#include "tests/crash/client_session.h"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "engine/base/crc32c.h"
#include "engine/base/error.h"

namespace mpool::test {
namespace {

bool is_root(ObjectId id) {
  return id == root_log_id(0) || id == root_log_id(1);
}

// Calls a function at the end of the scope, and passes over its Error: that of a close after the
// failure under test.
template <typename Function>
class Finally {
 public:
  explicit Finally(Function function) : function_(std::move(function)) {}
  ~Finally() {
    try {
      function_();
    } catch (const Error&) {
    }
  }
  Finally(const Finally&) = delete;
  Finally& operator=(const Finally&) = delete;

 private:
  Function function_;
};

std::string found_mblock(const ClientPool& client, ObjectId id) {
  const ClientPool::Mblock mblock = client.mblock(id);
  AlignedBuffer content(mblock.written_length);
  const ByteSpan into = content.span();
  if (!content.empty()) client.read_mblock(id, 0, std::span(&into, 1));
  return value_of_mblock(mblock.media_class, content.span());
}

template <typename Log>
RecordSum sum_of(Log& log) {
  RecordSum sum;
  std::vector<std::byte> record(64u << 10);
  log.rewind();
  for (;;) {
    const SharedReader::Result read = log.read(record);
    if (read.error != 0) raise(read.error, "record", "{} bytes", read.length);
    if (read.length == 0) return sum;
    sum.add(std::span(record).first(read.length));
  }
}

// Without finishing what was interrupted: also on a device that is offline.
RecordSum sum_of_pair(const Pool& pool, const std::array<ObjectId, 2>& ids) {
  std::array<Mdc::Half, 2> halves;
  for (unsigned i = 0; i < 2; ++i)
    halves[i] = {.id = ids[i], .location = pool.mlog_location(pool.find(ids[i]).value())};
  const Mdc::OpenOptions options{.use = PairUse::unknown,
                                 .on_damage = OnDamage::refuse,
                                 .finish = Mdc::OpenOptions::Finish::later};
  const auto mdc = Mdc::open(
      kPairFact, halves, [](ObjectId, std::uint64_t) {}, options);
  RecordSum sum;
  MlogReader reader = mdc->reader();
  for (std::vector<std::byte> record; reader.next(record);)
    sum.add(record);
  return sum;
}

}  // namespace

void RecordSum::add(ConstByteSpan record) {
  ++records;
  digest = (digest * 31) ^ crc32c(record) ^ static_cast<std::uint32_t>(record.size());
}

std::string RecordSum::value() const {
  return fmt::format("{} records checksum {:08x}", records, digest);
}

std::string value_of_log(std::uint64_t generation, const RecordSum& sum) {
  return fmt::format("generation {}, {}", generation, sum.value());
}

std::string value_of_mblock(MediaClass media_class, ConstByteSpan content) {
  return fmt::format("{} bytes on {} checksum {:08x}", content.size(), to_string(media_class),
                     crc32c(content));
}

// --- the session ---

void ClientSession::start() {
  pool_ = std::make_unique<PoolSession>(activate(machine_));
  client_ = std::make_unique<ClientPool>(pool());
}

void ClientSession::stop() {
  client_.reset();
  pool_.reset();
}

void ClientSession::kill(Model& model) {
  stop();
  start();
  for (const auto& [fact, value] : facts(true)) {
    model.begin(fact, value);
    model.durable(fact);
  }
}

std::optional<std::array<ObjectId, 2>> pair_of(const Pool& pool) {
  std::vector<ObjectId> halves;
  for (const ObjectRecord& object : pool.objects()) {
    if (object.id.is_mlog() && !is_root(object.id) && object.layout.zone_count == kPairZones) {
      halves.push_back(object.id);
    }
  }
  if (halves.size() != 2) return std::nullopt;
  return std::array{halves[0], halves[1]};
}

std::vector<ObjectId> mblocks_of(const Pool& pool) {
  std::vector<ObjectId> ids;
  for (const ObjectRecord& object : pool.objects()) {
    if (object.id.is_mblock()) ids.push_back(object.id);
  }
  return ids;
}

std::vector<ObjectId> logs_of(const Pool& pool) {
  std::vector<ObjectId> ids;
  for (const ObjectRecord& object : pool.objects()) {
    if (object.id.is_mlog() && !is_root(object.id) && object.layout.zone_count != kPairZones) {
      ids.push_back(object.id);
    }
  }
  return ids;
}

Facts facts_of(ClientPool& client, bool settled) {
  Facts facts;
  for (const ObjectId id : mblocks_of(client.pool()))
    facts[fact_of(id)] = found_mblock(client, id);
  for (const ObjectId id : logs_of(client.pool())) {
    const auto log = client.open_log(id, {});
    const Finally close([&] { client.close_log(log); });
    if (log->generation() != client.log(id).generation) {
      raise(ENOTRECOVERABLE, fact_of(id), "two generations");
    }
    facts[fact_of(id)] = value_of_log(log->generation(), sum_of(*log));
  }
  if (const auto ids = pair_of(client.pool())) {
    facts[kPairFact] = sum_of_pair(client.pool(), *ids).value();
    if (settled) {
      const auto mdc = client.open_mdc((*ids)[1], (*ids)[0]);
      const Finally close([&] { client.close_mdc(mdc); });
      if (sum_of(*mdc).value() != facts[kPairFact]) {
        raise(ENOTRECOVERABLE, kPairFact, "opening it changed it");
      }
    }
  }
  if (settled) {
    if (const std::string wrong = check_zones(client.pool()); !wrong.empty()) {
      raise(ENOTRECOVERABLE, "pool", "{}", wrong);
    }
  }
  return facts;
}

void ClientSession::work(Model& model, std::uint64_t seed) {
  ClientWork work(*this, model, seed);
  for (const MediaClass media_class : pool().classes())
    work.add_mblock(ClientWork::Fate::committed, media_class);
  work.delete_mblock();
  work.add_mblock(ClientWork::Fate::aborted);
  work.settle();
  const std::vector<ObjectId> ids = logs();
  if (!ids.empty()) work.use_log(ids[seed % ids.size()], 3, 600);
  work.use_pair(2, 1, 600);
}

// --- the work ---

std::vector<std::byte> ClientWork::make_record(std::size_t max_length) {
  std::vector<std::byte> record(1 + random_() % max_length);
  const std::uint64_t salt = random_();
  for (std::size_t i = 0; i < record.size(); ++i)
    record[i] = static_cast<std::byte>((salt >> (i % 8 * 8)) + i * 7);
  return record;
}

void ClientWork::reserve(ObjectId id) {
  if (model_.used(fact_of(id), model_.now())) raise(EEXIST, fact_of(id), "was handed out before");
  model_.reserve(fact_of(id));
}

void ClientWork::add_mblock(Fate fate, MediaClass media_class) {
  ClientPool& client = session_.client();
  const ClientPool::Mblock made =
      client.allocate_mblock(media_class, SpacePolicy::usable_then_spare);
  reserve(made.id);
  const std::uint64_t pages = random_() % (made.capacity / kPageSize + 1);
  AlignedBuffer content(pages * kPageSize);
  const auto record = make_record(1000);
  for (std::size_t i = 0; i < content.size(); ++i)
    content.data()[i] = record[(i + i / kPageSize) % record.size()];
  try {
    for (std::uint64_t page = 0; page < pages; ++page) {
      const ConstByteSpan part = content.span(page * kPageSize, kPageSize);
      client.write_mblock(made.id, std::span(&part, 1));
    }
    if (fate == Fate::abandoned) return;
    if (fate == Fate::aborted) return client.abort(made.id);
    model_.begin(fact_of(made.id), value_of_mblock(media_class, content.span()));
    client.commit(made.id);
  } catch (const Error&) {
    const Finally give_up([&] { client.abort(made.id); });
    throw;
  }
  model_.durable(fact_of(made.id));
}

void ClientWork::delete_mblock() {
  const std::vector<ObjectId> mblocks = mblocks_of(session_.pool());
  if (mblocks.empty()) return;
  const ObjectId id = mblocks[random_() % mblocks.size()];
  model_.begin(fact_of(id), std::nullopt);
  session_.client().remove(id);
  model_.durable(fact_of(id));
}

ObjectId ClientWork::add_log(std::uint64_t zones, MediaClass media_class) {
  ClientPool& client = session_.client();
  const std::uint64_t capacity = zones * session_.pool().zone_size(media_class);
  const ObjectId id = client.allocate_log(media_class, capacity, SpacePolicy::usable_then_spare).id;
  if (zones == kPairZones) {
    client.commit(id);
    return id;
  }
  reserve(id);
  model_.begin(fact_of(id), value_of_log(client.log(id).generation, {}));
  try {
    client.commit(id);
  } catch (const Error&) {
    const Finally give_up([&] { client.abort(id); });
    throw;
  }
  model_.durable(fact_of(id));
  return id;
}

void ClientWork::delete_log(ObjectId id) {
  model_.begin(fact_of(id), std::nullopt);
  session_.client().remove(id);
  model_.durable(fact_of(id));
}

void ClientWork::use_log(ObjectId id, unsigned appends, std::size_t max_record) {
  ClientPool& client = session_.client();
  const std::string fact = fact_of(id);
  auto log = client.open_log(id, {});
  Finally close([&] {
    if (log != nullptr) client.close_log(log);
  });
  RecordSum sum = sum_of(*log);
  const auto begin = [&](Moment moment, std::uint64_t generation) {
    model_.begin_at(moment, fact, value_of_log(generation, sum));
  };
  for (unsigned i = 0; i < appends; ++i) {
    const auto record = make_record(max_record);
    const Moment moment = model_.now();
    const bool durable = chance(4);
    RecordSum more = sum;
    more.add(record);
    const std::size_t half = record.size() / 2;
    const std::array<ConstByteSpan, 2> parts = {std::span(record).first(half),
                                                std::span(record).subspan(half)};
    const bool full = log->used() + record.size() * 9 / 8 + 3 * kPageSize > client.log(id).capacity;
    if (full || chance(20)) {
      sum = {};
      const std::uint64_t next = log->generation() + 1 + (chance(2) ? 10 : 0);
      begin(moment, next);
      log->erase(next);
      model_.durable(fact);
      continue;
    }
    sum = more;
    begin(moment, log->generation());
    log->append(parts, durable);
    if (durable) model_.durable(fact);
    if (chance(5)) {
      log->sync();
      model_.durable(fact);
    }
  }
  client.close_log(std::exchange(log, nullptr));
  model_.durable(fact);
}

void ClientWork::compact(ClientMdc& mdc, RecordSum& sum, std::size_t max_record) {
  mdc.start_compaction();
  model_.durable(kPairFact);  // what was appended before
  sum = {};
  for (unsigned i = 0, kept = static_cast<unsigned>(random_() % 4); i < kept; ++i) {
    const auto record = make_record(max_record);
    mdc.append(record, chance(4));
    sum.add(record);
  }
  model_.begin(kPairFact, sum.value());
  mdc.end_compaction();
  model_.durable(kPairFact);
}

void ClientWork::use_pair(unsigned appends, unsigned compactions, std::size_t max_record) {
  const auto ids = session_.pair();
  if (!ids) return;
  ClientPool& client = session_.client();
  auto mdc = client.open_mdc((*ids)[0], (*ids)[1]);
  const Finally close([&] {
    if (mdc != nullptr) client.close_mdc(mdc);
  });
  RecordSum sum = sum_of(*mdc);
  model_.begin(kPairFact, sum.value());
  model_.durable(kPairFact);
  for (unsigned i = 0; i < appends; ++i) {
    if (compactions > 0 && i % (appends / compactions) == appends / compactions - 1) {
      compact(*mdc, sum, max_record);
    }
    const auto record = make_record(max_record);
    const Moment moment = model_.now();
    const bool durable = chance(4);
    RecordSum more = sum;
    more.add(record);
    model_.begin_at(moment, kPairFact, more.value());
    try {
      mdc->append(record, durable);
    } catch (const Error& error) {
      if (error.code() != EFBIG) throw;
      model_.begin(kPairFact, sum.value());  // nothing was appended
      compact(*mdc, sum, max_record);
      continue;
    }
    sum = more;
    if (durable) model_.durable(kPairFact);
    if (chance(5)) {
      mdc->sync();
      model_.durable(kPairFact);
    }
  }
  client.close_mdc(std::exchange(mdc, nullptr));
  model_.durable(kPairFact);
}

}  // namespace mpool::test
