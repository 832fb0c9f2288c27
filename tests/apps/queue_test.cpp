// The queue in one process, and among several of which some are killed.
#include "tests/apps/queue.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/apps/test_pool.h"

namespace apps {
namespace {

QueueOptions small_queue() {
  QueueOptions options;
  options.segment_bytes = 6000;
  options.state_bytes = 6000;
  options.max_segments = 3;
  return options;
}

class QueueTest : public testing::Test {
 protected:
  Queue open() const { return {pool_.name(), id_, pool_.file("lock"), small_queue()}; }

  const TestPool pool_;
  const QueueId id_ = Queue::create(pool_.name());
};

TEST_F(QueueTest, KeepsTheOrder) {
  unsigned pushed = 0;
  unsigned popped = 0;
  const auto record_of = [](unsigned number) {
    return std::to_string(number) + std::string(number * 37 % 500, '.');
  };
  for (unsigned round = 0; round < 3; ++round) {
    Queue queue = open();
    EXPECT_EQ(queue.stats().pushed, pushed);
    EXPECT_EQ(queue.stats().popped, popped);
    while (queue.push(record_of(pushed)))
      ++pushed;
    EXPECT_EQ(queue.stats().segments, 3u);
    const auto pop = [&] {
      return queue.pop([&](const std::string& record) { EXPECT_EQ(record, record_of(popped)); });
    };
    for (unsigned i = 0; i < 12; ++i) {
      ASSERT_TRUE(pop());
      ++popped;
    }
    if (round != 1) continue;
    while (pop())
      ++popped;
    EXPECT_EQ(popped, pushed);
    EXPECT_FALSE(pop());
  }
  EXPECT_GT(pushed, 40u);
  EXPECT_LE(pool_.count_objects(), 2 + 2 + 4u) << "segments are used again";
}

TEST_F(QueueTest, GivesARecordAgainThatWasNotTaken) {
  Queue queue = open();
  ASSERT_TRUE(queue.push("a"));
  EXPECT_THROW(queue.pop([](const std::string&) { throw CallError(EINTR, "a test"); }), CallError);
  std::string taken;
  ASSERT_TRUE(queue.pop([&](const std::string& record) { taken = record; }));
  EXPECT_EQ(taken, "a");
  EXPECT_FALSE(queue.pop([](const std::string&) {}));
}

constexpr unsigned kProducers = 3;
constexpr unsigned kConsumers = 3;
constexpr unsigned kMaxRecords = 4000;  // of each producer

// What the processes tell, in shared memory.
struct Traffic {
  struct Producer {
    std::atomic<unsigned> begun;                   // the number of its last record, from 1
    std::atomic<bool> pushed[kMaxRecords + 1];     // by number: it is durable
    std::atomic<unsigned> taken[kMaxRecords + 1];  // how often
    std::atomic<unsigned> last_taken;
  };
  Producer producers[kProducers];
  std::atomic<unsigned> pushed;    // records
  std::atomic<unsigned> disorder;  // records that were taken after a later one
  std::atomic<bool> produced;      // nothing more comes
};

class QueueProcesses : public QueueTest {
 protected:
  // Pushes records until there are as many as `count`.
  void produce(unsigned which, unsigned count) const {
    Traffic::Producer& own = traffic_->producers[which];
    Queue queue = open();
    while (own.begun < count) {
      const unsigned number = ++own.begun;
      const std::string record = std::to_string(which) + ":" + std::to_string(number) + ":" +
                                 std::string(number % 90, 'x');
      while (!queue.push(record))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      own.pushed[number] = true;
      ++traffic_->pushed;
    }
  }
  void consume() const {
    Queue queue = open();
    for (;;) {
      const bool last = traffic_->produced;
      const bool taken = queue.pop([&](const std::string& record) { take(record); });
      if (!taken && last) return;
      if (!taken) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  void take(const std::string& record) const {
    const std::size_t colon = record.find(':');
    Traffic::Producer& producer = traffic_->producers[std::stoul(record.substr(0, colon))];
    const auto number = static_cast<unsigned>(std::stoul(record.substr(colon + 1)));
    ++producer.taken[number];
    if (number < producer.last_taken) ++traffic_->disorder;
    producer.last_taken = number;
  }
  std::unique_ptr<Process> start_producer(unsigned which, unsigned count) const {
    return std::make_unique<Process>([=, this] { produce(which, count); });
  }
  std::unique_ptr<Process> start_consumer() const {
    return std::make_unique<Process>([this] { consume(); });
  }
  // Each record that was pushed was taken, and once, but for `again` of them.
  void check_traffic(unsigned again) const {
    unsigned more = 0;
    for (const auto& producer : traffic_->producers) {
      for (unsigned number = 1; number <= producer.begun; ++number) {
        const unsigned taken = producer.taken[number];
        if (taken > 1) more += taken - 1;
        ASSERT_TRUE(taken > 0 || !producer.pushed[number]) << "record " << number << " is lost";
      }
    }
    EXPECT_LE(more, again);
    EXPECT_EQ(traffic_->disorder, 0u);
    const Queue::Stats stats = open().stats();
    EXPECT_EQ(stats.pushed, stats.popped);
    EXPECT_LE(pool_.count_objects(), 2 + 2 + 4u) << "segments are used again";
  }

  const Shared<Traffic> traffic_;
};

TEST_F(QueueProcesses, LoseNothingAndTakeNothingTwice) {
  const unsigned count = rounds(20);
  std::vector<std::unique_ptr<Process>> consumers;
  for (unsigned i = 0; i < kConsumers; ++i)
    consumers.push_back(start_consumer());
  std::vector<std::unique_ptr<Process>> producers;
  for (unsigned i = 0; i < kProducers; ++i)
    producers.push_back(start_producer(i, count));
  for (const auto& producer : producers)
    producer->join();
  traffic_->produced = true;
  for (const auto& consumer : consumers)
    consumer->join();
  check_traffic(0);
}

TEST_F(QueueProcesses, MayBeKilled) {
  Random random(test_seed());
  const unsigned count = rounds(30);
  std::vector<std::unique_ptr<Process>> consumers(kConsumers);
  std::vector<std::unique_ptr<Process>> producers(kProducers);
  unsigned killed_consumers = 0;
  for (;;) {
    for (auto& consumer : consumers) {
      if (consumer == nullptr) consumer = start_consumer();
    }
    for (unsigned i = 0; i < kProducers; ++i) {
      if (producers[i] == nullptr) producers[i] = start_producer(i, count);
    }
    const unsigned target = traffic_->pushed + 1 + random.below(20);
    const auto all_ended = [&] {
      bool ended = true;
      for (const auto& producer : producers)
        ended = !producer->running() && ended;
      return ended;
    };
    bool ended = false;
    while (!(ended = all_ended()) && traffic_->pushed < target)
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (ended) break;
    auto& victims = random.below(2) == 0 ? consumers : producers;
    auto& victim = victims[random.below(static_cast<unsigned>(victims.size()))];
    if (!victim->running()) continue;
    victim->kill();
    victim.reset();
    if (&victims == &consumers) ++killed_consumers;
  }
  for (const auto& producer : producers)
    producer->join();
  traffic_->produced = true;
  for (const auto& consumer : consumers)
    consumer->join();
  check_traffic(killed_consumers);
}

}  // namespace
}  // namespace apps
