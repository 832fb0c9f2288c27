// Workloads that change the pool itself: its name, devices, settings and metadata containers.
#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/pool/discovery.h"
#include "tests/crash/pool_session.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kPoolZone = 4096;
constexpr std::uint64_t kStagingSize = 64 * kPoolZone;

// Activates with the second device if that has a superblock of the pool, as `mpool activate NAME`
// does; otherwise the second device may be added.
class ChangingSession : public PoolSession {
 public:
  ChangingSession(Machine& machine, std::size_t devices)
      : PoolSession(activate(machine, devices)), machine_(machine) {}

  static std::unique_ptr<ChangingSession> open(Machine& machine) {
    const auto capacity = read_superblocks(*machine.device(0)).chosen;
    const auto staging = read_superblocks(*machine.device(1)).chosen;
    const bool added = capacity && staging && capacity->pool_uuid == staging->pool_uuid;
    return std::make_unique<ChangingSession>(machine, added ? 2 : 1);
  }

  void work(Model& model, std::uint64_t seed) override {
    if (!pool().has_class(MediaClass::staging)) add_staging(model);
    rename(model, fmt::format("renamed{}", seed % 100));
    PoolSession::work(model, seed);
  }

  // A device that could not be added is offline, too.
  bool online() const override {
    return pool().has_class(MediaClass::staging) && PoolSession::online();
  }

  void add_staging(Model& model) {
    model.begin(fact_of(MediaClass::staging),
                value_of(kStagingSize / kPoolZone, SpaceMap::kDefaultSparePercent));
    pool().add_staging(machine_.device(1), kPoolZone);
    model.durable(fact_of(MediaClass::staging));
  }
  void rename(Model& model, const std::string& name) {
    model.begin(kNameFact, name);
    pool().rename(name);
    model.durable(kNameFact);
  }
  void set_spare_percent(Model& model, MediaClass media_class, unsigned percent) {
    const std::uint32_t zones = pool().class_info(media_class).params.zone_count;
    model.begin(fact_of(media_class), value_of(zones, percent));
    pool().set_spare_percent(media_class, percent);
    model.durable(fact_of(media_class));
  }
  void configure(Model& model, std::uint32_t uid, const std::string& label) {
    ConfigRecord expected = pool().config();
    expected.uid = uid;
    expected.label = label;
    model.begin(kConfigFact, value_of(expected));
    Pool::Settings settings;
    settings.uid = uid;
    settings.label = label;
    pool().configure(settings);
    model.durable(kConfigFact);
  }
  void grow(Model& model, MediaClass media_class) {
    const auto info = pool().class_info(media_class);
    const auto zones =
        static_cast<std::uint32_t>(machine_.media.at(device_of(media_class))->size() / kPoolZone);
    model.begin(fact_of(media_class), value_of(zones, info.spare_percent));
    pool().grow(media_class);
    model.durable(fact_of(media_class));
  }

 private:
  static unsigned device_of(MediaClass media_class) {
    return media_class == MediaClass::capacity ? 0 : 1;
  }

  Machine& machine_;
};

// All changes of the pool, with objects made in between.
class Changes : public Workload {
 public:
  std::string name() const override { return "changes"; }
  unsigned weight() const override { return 3; }
  MediaSet prepare(std::uint64_t seed) const override {
    MediaSet media = make_pool(small_pool(kPoolZone, 2), 96 * kPoolZone, 512, seed);
    // The capacity device grew meanwhile.
    media[0]->resize(120 * kPoolZone + 512);
    media.push_back(std::make_shared<SimulatedMedia>(kStagingSize, 512, std::byte{0x5a}));
    return media;
  }
  std::unique_ptr<Session> open(Machine& machine) const override {
    return ChangingSession::open(machine);
  }
  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    auto& changing = dynamic_cast<ChangingSession&>(session);
    PoolWork work(changing.pool(), model, seed);
    work.add_mblocks(3);
    changing.rename(model, "second");
    changing.add_staging(model);
    work.add_mblocks(2, MediaClass::staging);
    changing.grow(model, MediaClass::capacity);
    changing.rename(model, "third");
    // Enough records for a compaction of MDC0.
    for (unsigned i = 0; i < (brief ? 3 : 24); ++i) {
      changing.configure(model, i, fmt::format("label {}", i));
      changing.set_spare_percent(model, i % 2 == 0 ? MediaClass::capacity : MediaClass::staging,
                                 i + 1);
      if (i % 4 == 0) work.remove(work.add_mblocks(1, MediaClass::staging));
      work.settle();
    }
    changing.rename(model, "fourth");
  }
};

// MDCs fill and MDCs are added; then garbage is produced, and they are compacted: the work of the
// background thread.
class BackgroundWork : public Workload {
 public:
  std::string name() const override { return "background"; }
  unsigned weight() const override { return 2; }
  MediaSet prepare(std::uint64_t seed) const override {
    return make_pool(small_pool(kPoolZone, 1), 512 * kPoolZone, 512, seed);
  }
  std::unique_ptr<Session> open(Machine& machine) const override {
    return std::make_unique<PoolSession>(activate(machine, 1, {.grow_by = 2}));
  }
  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    Pool& pool = dynamic_cast<PoolSession&>(session).pool();
    PoolWork work(pool, model, seed);
    std::vector<ObjectId> objects;
    constexpr unsigned kMaxRounds = 100;
    for (unsigned i = 0; i < kMaxRounds && pool.mdcs().size() < (brief ? 4u : 6u); ++i) {
      for (const ObjectId id : work.add_mblocks(20))
        objects.push_back(id);
      pool.maintain();
    }
    const auto generations = [&pool] { return pool.mdcs()[1].mdc.generations; };
    const auto before = generations();
    while (objects.size() > 4 && generations() == before) {
      const std::size_t count = std::min<std::size_t>(objects.size() - 4, 12);
      work.remove({objects.end() - static_cast<std::ptrdiff_t>(count), objects.end()});
      objects.resize(objects.size() - count);
      work.settle();
      pool.maintain();
    }
    if (pool.mdcs().size() < 4 || generations() == before) {
      raise(EINVAL, name(), "the background found nothing to do");
    }
  }
};

}  // namespace

std::vector<std::unique_ptr<Workload>> change_workloads() {
  std::vector<std::unique_ptr<Workload>> workloads;
  workloads.push_back(std::make_unique<Changes>());
  workloads.push_back(std::make_unique<BackgroundWork>());
  return workloads;
}

}  // namespace mpool::test
