// Workloads of programs that use the objects of a pool by id (engine/client).
#include <functional>

#include <fmt/format.h>

#include "tests/crash/client_session.h"

namespace mpool::test {
namespace {

class ClientWorkload : public Workload {
 public:
  explicit ClientWorkload(std::uint32_t sector_size) : sector_size_(sector_size) {}
  unsigned weight() const override { return 6; }
  // A pool with a pair and a log.
  MediaSet prepare(std::uint64_t seed) const override {
    Machine machine(make_pool(small_pool(kZone, 2), 1u << 20, sector_size_, seed, staging_size()));
    {
      ClientSession session(machine);
      Model unused(machine.history);
      ClientWork work(session, unused, seed);
      work.add_log(kPairZones);
      work.add_log(kPairZones);
      work.add_log(kLogZones);
      work.use_pair(5, 1, 300);
    }
    return machine.media;
  }
  std::unique_ptr<Session> open(Machine& machine) const override {
    return std::make_unique<ClientSession>(machine);
  }
  void run(Session& session, Model& model, std::uint64_t seed, bool brief) const override {
    auto& of_client = dynamic_cast<ClientSession&>(session);
    ClientWork work(of_client, model, seed);
    change(of_client, work, brief);
    if (brief) return;
    of_client.kill(model);
    change(of_client, work, true);
  }

 protected:
  static constexpr std::uint64_t kZone = 16u << 10;
  static constexpr std::uint64_t kLogZones = 2;

  virtual std::uint64_t staging_size() const { return 0; }
  virtual void change(ClientSession& session, ClientWork& work, bool brief) const = 0;

  const std::uint32_t sector_size_;
};

// Mblocks in all classes come and go, some of them never committed.
class ClientMblocks : public ClientWorkload {
 public:
  using ClientWorkload::ClientWorkload;
  std::string name() const override { return fmt::format("client_mblocks_{}", sector_size_); }

 protected:
  std::uint64_t staging_size() const override { return sector_size_ == 512 ? 0 : 512u << 10; }
  void change(ClientSession& session, ClientWork& work, bool brief) const override {
    const auto classes = session.pool().classes();
    for (unsigned i = 0; i < (brief ? 8 : 30); ++i) {
      const MediaClass media_class = classes[work.random()() % classes.size()];
      work.add_mblock(ClientWork::Fate::committed, media_class);
      if (work.chance(3)) work.add_mblock(ClientWork::Fate::aborted, media_class);
      if (work.chance(5)) work.add_mblock(ClientWork::Fate::abandoned, media_class);
      if (i > 4 || work.chance(3)) work.delete_mblock();
      work.settle();
    }
  }
};

// Logs are made, used, erased and deleted.
class ClientLogs : public ClientWorkload {
 public:
  using ClientWorkload::ClientWorkload;
  std::string name() const override { return fmt::format("client_logs_{}", sector_size_); }

 protected:
  void change(ClientSession& session, ClientWork& work, bool brief) const override {
    for (unsigned life = 0; life < (brief ? 2 : 6); ++life) {
      for (const ObjectId id : session.logs())
        work.use_log(id, brief ? 6 : 20, sector_size_ * 2);
      const ObjectId added = work.add_log(1 + work.random()() % 2);
      work.use_log(added, 4, 300);
      if (work.chance(2)) work.delete_log(session.logs().front());
      work.settle();
    }
  }
};

// A program compacts its metadata.
class ClientCompactions : public ClientWorkload {
 public:
  using ClientWorkload::ClientWorkload;
  std::string name() const override { return fmt::format("client_mdc_{}", sector_size_); }
  unsigned weight() const override { return 8; }

 protected:
  void change(ClientSession&, ClientWork& work, bool brief) const override {
    for (unsigned life = 0; life < (brief ? 2 : 5); ++life)
      work.use_pair(brief ? 8 : 30, brief ? 2 : 5, sector_size_ * 3);
  }
};

}  // namespace

std::vector<std::unique_ptr<Workload>> client_workloads() {
  std::vector<std::unique_ptr<Workload>> workloads;
  for (const std::uint32_t sector_size : {512u, 4096u}) {
    workloads.push_back(std::make_unique<ClientMblocks>(sector_size));
    workloads.push_back(std::make_unique<ClientLogs>(sector_size));
    workloads.push_back(std::make_unique<ClientCompactions>(sector_size));
  }
  return workloads;
}

}  // namespace mpool::test
