// Workloads on the pool and its objects.
#include <functional>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "tests/crash/pool_session.h"

namespace mpool::test {
namespace {

class PoolWorkload : public Workload {
 public:
  std::unique_ptr<Session> open(Machine& machine) const override {
    return std::make_unique<PoolSession>(activate(machine));
  }
  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    PoolWork work(dynamic_cast<PoolSession&>(session).pool(), model, seed);
    change(work, brief);
  }

 protected:
  virtual void change(PoolWork& work, bool brief) const = 0;
};

// Objects are created and deleted in several MDCs, which are compacted from time to time.
class ObjectLife : public PoolWorkload {
 public:
  explicit ObjectLife(std::uint32_t sector_size) : sector_size_(sector_size) {}
  std::string name() const override { return fmt::format("objects_{}", sector_size_); }
  unsigned weight() const override { return 3; }
  MediaSet prepare(std::uint64_t seed) const override {
    return make_pool(small_pool(8192, 3), 1u << 20, sector_size_, seed);
  }

 protected:
  void change(PoolWork& work, bool brief) const override {
    std::vector<ObjectId> kept;
    for (unsigned i = 0; i < (brief ? 12 : 40); ++i) {
      const auto added = work.add_mblocks(1 + work.random()() % 4);
      for (const ObjectId id : added)
        kept.push_back(id);
      work.allocate_in_vain(i % 3 != 0);
      std::vector<ObjectId> marked;
      while (kept.size() > 6 || (kept.size() > 2 && work.random()() % 2 == 0)) {
        const auto at = kept.begin() + static_cast<std::ptrdiff_t>(work.random()() % kept.size());
        marked.push_back(*at);
        kept.erase(at);
      }
      work.remove(marked);
      work.settle();
    }
  }

 private:
  const std::uint32_t sector_size_;
};

// The MDCs and MDC0, all nearly full, are compacted.
class Compactions : public PoolWorkload {
 public:
  std::string name() const override { return "compactions"; }
  unsigned weight() const override { return 3; }
  MediaSet prepare(std::uint64_t seed) const override {
    Machine machine(make_pool(small_pool(4096, 2), 512u << 10, 512, seed), seed % 2 == 0);
    const auto pool = activate(machine);
    Model unused(machine.history);
    PoolWork work(*pool, unused, seed);
    work.add_mblocks(5);
    const auto nearly_full = [&pool](std::size_t mdc) {
      const auto stats = pool->mdcs().at(mdc);
      return stats.used + 512 > stats.capacity;
    };
    constexpr unsigned kMaxRounds = 5000;
    for (unsigned i = 0; i < kMaxRounds && !(nearly_full(0) && nearly_full(1)); ++i) {
      work.remove(work.add_mblocks(i % 3 + 1));
      work.settle();
    }
    if (!nearly_full(0)) raise(EIO, name(), "MDC0 does not fill");
    return machine.media;
  }

 protected:
  void change(PoolWork& work, bool brief) const override {
    const auto generation = [&work] { return work.pool().mdcs()[0].mdc.generations[0]; };
    const auto before = generation();
    unsigned rounds = 0;
    for (; generation() == before || rounds < (brief ? 1 : 60); ++rounds) {
      const auto added = work.add_mblocks(3);
      work.remove({added[0], added[2]});
      work.remove({added[1]});
      work.settle();
    }
  }
};

// Logs with appends, some of them synced, erased from time to time.
class Logs : public PoolWorkload {
 public:
  Logs(std::uint32_t sector_size, std::size_t record_size, std::uint64_t capacity)
      : sector_size_(sector_size), record_size_(record_size), capacity_(capacity) {}
  std::string name() const override {
    return fmt::format("logs_{}_records_to_{}", sector_size_, record_size_);
  }
  unsigned weight() const override { return 2; }
  MediaSet prepare(std::uint64_t seed) const override {
    return make_pool(small_pool(16u << 10, 2), (2u << 20) + 2 * capacity_, sector_size_, seed);
  }

 protected:
  void change(PoolWork& work, bool brief) const override {
    auto& random = work.random();
    std::vector<ObjectId> ids = {work.add_mlog(capacity_), work.add_mlog(capacity_)};
    for (unsigned life = 0; life < (brief ? 1 : 3); ++life) {
      std::vector<std::unique_ptr<LogWork>> logs;
      for (const ObjectId id : ids)
        logs.push_back(std::make_unique<LogWork>(work, id));
      for (unsigned i = 0; i < (brief ? 25 : 60); ++i) {
        LogWork& log = *logs[random() % logs.size()];
        const std::size_t length = random() % record_size_;
        if (log.room() < length + length / 8 + 2 * sector_size_ + kPageSize) log.erase();
        log.append(length);
        if (random() % 3 == 0) log.sync();
      }
    }
    work.remove({ids[0]});
    work.settle();
  }

 private:
  const std::uint32_t sector_size_;
  const std::size_t record_size_;
  const std::uint64_t capacity_;
};

// A session that finds no pool, or one whose creation just finished.
class CreationSession : public Session {
 public:
  explicit CreationSession(Machine& machine) : machine_(machine) { look(); }

  Facts facts(bool settled) override { return pool_ == nullptr ? Facts() : pool_->facts(settled); }
  void work(Model& model, std::uint64_t seed) override {
    if (pool_ == nullptr) create(model);
    look();
    pool_->work(model, seed);
  }
  bool online() const override { return pool_ != nullptr && pool_->online(); }
  std::string clean_up() override { return pool_ == nullptr ? std::string() : pool_->clean_up(); }
  void create(Model& model) {
    for (const auto& [fact, value] : expected())
      model.begin(fact, value);
    create_pool(machine_, small_pool(4096, 2));
    for (const auto& [fact, value] : expected())
      model.durable(fact);
  }

 private:
  Facts expected() const {
    // Creation on media of the same size, without failures.
    Machine other({});
    for (const auto& media : machine_.media) {
      other.media.push_back(std::make_shared<SimulatedMedia>(media->size(), media->sector_size()));
    }
    create_pool(other, small_pool(4096, 2));
    return facts_of(*activate(other), true);
  }
  void look() {
    pool_.reset();
    try {
      pool_ = std::make_unique<PoolSession>(activate(machine_));
    } catch (const Error& error) {
      // An interrupted Pool::create leaves no pool, never a part of one.
      if (error.code() != EBADMSG) throw;
    }
  }

  Machine& machine_;
  std::unique_ptr<PoolSession> pool_;
};

// A pool is made, on devices that are new or had another one.
class Creation : public Workload {
 public:
  explicit Creation(unsigned devices) : devices_(devices) {}
  std::string name() const override { return fmt::format("creation_on_{}", devices_); }
  MediaSet prepare(std::uint64_t seed) const override {
    MediaSet media;
    if (seed % 2 != 0) {
      media = make_pool(small_pool(4096, 2), kSize, 512, seed);
      // The result of mpool destroy.
      const AlignedBuffer zeros = AlignedBuffer::zeroed(4 * kPageSize);
      media[0]->write(0, zeros.span());
    }
    while (media.size() < devices_)
      media.push_back(std::make_shared<SimulatedMedia>(kSize));
    return media;
  }
  std::unique_ptr<Session> open(Machine& machine) const override {
    return std::make_unique<CreationSession>(machine);
  }
  void run(Session& session, Model& model, std::uint64_t, bool) const override {
    dynamic_cast<CreationSession&>(session).create(model);
  }

 private:
  static constexpr std::uint64_t kSize = 256u << 10;
  const unsigned devices_;
};

}  // namespace

std::vector<std::unique_ptr<Workload>> pool_workloads() {
  std::vector<std::unique_ptr<Workload>> workloads;
  workloads.push_back(std::make_unique<ObjectLife>(512));
  workloads.push_back(std::make_unique<ObjectLife>(4096));
  workloads.push_back(std::make_unique<Compactions>());
  workloads.push_back(std::make_unique<Logs>(512, 900, 32u << 10));
  workloads.push_back(std::make_unique<Logs>(4096, 9000, 128u << 10));
  workloads.push_back(std::make_unique<Creation>(1));
  workloads.push_back(std::make_unique<Creation>(2));
  return workloads;
}

}  // namespace mpool::test
