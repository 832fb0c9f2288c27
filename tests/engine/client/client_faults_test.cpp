// Each operation of the device fails, one after the other: what a call reported as durable is there
// afterwards, and nothing is there that was reported as gone.
#include <algorithm>

#include "tests/engine/client/client_support.h"

namespace mpool::test {
namespace {

using Target = SimulatedFaults::Target;

// What a workload knows of its objects. A call that failed may have taken effect or not.
struct KnownState {
  std::vector<std::pair<ObjectId, unsigned>> mblocks;  // committed, with their seed
  std::vector<ObjectId> gone;                          // deleted, or aborted
  std::optional<ObjectId> log;
  std::uint64_t generation = 0;  // at least
  std::string durable;           // of the log
  std::string appended;          // of the log: everything
  bool erasing = false;          // the log may be empty
  std::optional<std::array<ObjectId, 2>> pair;
  std::vector<std::string> contents;  // the pair has one of these
};

void use_mblocks(ClientPool& client, KnownState& known) {
  for (unsigned seed = 1; seed <= 3; ++seed)
    known.mblocks.emplace_back(committed_mblock(client, seed, seed), seed);
  const ObjectId aborted = new_mblock(client);
  client.abort(aborted);
  known.gone.push_back(aborted);
  const ObjectId deleted = known.mblocks.back().first;
  known.mblocks.pop_back();  // from here on it may be there
  client.remove(deleted);
  known.gone.push_back(deleted);
  EXPECT_TRUE(has_content(client, known.mblocks[0].first, 1, 1));
}

void use_log(ClientPool& client, KnownState& known) {
  known.log = committed_log(client);
  auto log = client.open_log(*known.log, {});
  const auto append = [&](const std::string& text, bool durable) {
    known.appended += (known.appended.empty() ? "" : " ") + text;
    append_text(*log, text, durable);
    if (durable) known.durable = known.appended;
  };
  append("a", false);
  append(std::string(3000, 'b'), true);
  known.erasing = true;
  log->erase(10);
  known.generation = 10;
  known.durable.clear();
  known.appended.clear();
  known.erasing = false;
  append("c", false);
  log->sync();
  known.durable = known.appended;
  append("d", false);
  client.close_log(log);
  known.durable = known.appended;
}

void use_mdc(ClientPool& client, KnownState& known) {
  known.pair = committed_pair(client);
  known.contents = {""};
  auto mdc = client.open_mdc((*known.pair)[0], (*known.pair)[1]);
  known.contents = {"", "old"};
  append_text(*mdc, "old", true);
  known.contents = {"old"};
  mdc->start_compaction();
  append_text(*mdc, "new");
  append_text(*mdc, std::string(2000, 'n'), true);
  known.contents.push_back("new " + std::string(2000, 'n'));
  mdc->end_compaction();
  known.contents.erase(known.contents.begin());
  known.contents.push_back(known.contents[0] + " more");
  append_text(*mdc, "more");
  client.close_mdc(mdc);
  known.contents.erase(known.contents.begin());
}

void check_state(TestClient& client, const KnownState& known) {
  for (const auto& [id, seed] : known.mblocks)
    EXPECT_TRUE(has_content(*client, id, seed, seed)) << id.to_string();
  for (const ObjectId id : known.gone)
    EXPECT_EQ(error_of([&] { client->mblock(id); }), ENOENT) << id.to_string();
  if (known.log) {
    const OpenLog log(*client, *known.log);
    const std::string text = all_text(*log);
    EXPECT_GE(log->generation(), known.generation);
    if (!known.erasing || !text.empty()) {
      EXPECT_TRUE(text.starts_with(known.durable)) << text.substr(0, 30);
      EXPECT_TRUE(known.appended.starts_with(text)) << text.substr(0, 30);
    }
    log->erase(0);
    append_text(*log, "usable", true);
  }
  if (known.pair) {
    const OpenMdc mdc(*client, *known.pair);
    const std::string text = all_text(*mdc);
    EXPECT_TRUE(std::ranges::find(known.contents, text) != known.contents.end())
        << text.substr(0, 30);
    mdc->start_compaction();
    append_text(*mdc, "usable");
    mdc->end_compaction();
  }
  committed_mblock(*client, 1, 9);
}

enum class After { restart, power_failure };

// False when nothing failed.
bool run_with_fault(const SimulatedFaults::Plan& plan, After after) {
  TestClient client;
  KnownState known;
  client.faults().arm(plan);
  try {
    use_mblocks(*client, known);
    use_log(*client, known);
    use_mdc(*client, known);
  } catch (const Error& error) {
    // A log whose write without room cut a record in two says EIO from then on.
    EXPECT_TRUE(error.code() == plan.code || (plan.code == ENOSPC && error.code() == EIO))
        << error.what();
    // Everything that was durable is readable as long as the pool is active.
    client.faults().disarm();
    for (const auto& [id, seed] : known.mblocks)
      EXPECT_TRUE(has_content(*client, id, seed, seed)) << id.to_string();
  }
  const bool fired = client.faults().fired();
  if (after == After::restart) {
    client.restart();
  } else {
    client.lose_power();
  }
  check_state(client, known);
  return fired;
}

class ClientFaults : public testing::TestWithParam<std::tuple<Target, int>> {};

TEST_P(ClientFaults, EachOperationFails) {
  const auto [target, code] = GetParam();
  std::uint64_t number = 1;
  for (bool fired = true; fired && !HasFailure(); ++number) {
    ASSERT_LT(number, 1000u);
    const SimulatedFaults::Plan plan{.target = target,
                                     .number = number,
                                     .code = code,
                                     .forever = number % 2 == 0,
                                     .percent_written = static_cast<unsigned>(number % 3) * 50};
    for (const After after : {After::restart, After::power_failure}) {
      SCOPED_TRACE("operation " + std::to_string(number));
      fired = run_with_fault(plan, after);
    }
  }
  EXPECT_GT(number, 3u);
}

INSTANTIATE_TEST_SUITE_P(Operations, ClientFaults,
                         testing::Values(std::tuple(Target::read, EIO),
                                         std::tuple(Target::write, EIO),
                                         std::tuple(Target::write, ENOSPC),
                                         std::tuple(Target::flush, EIO)));

TEST(ClientFault, AnMblockWhoseWriteFailedCanOnlyBeAborted) {
  TestClient client;
  const ObjectId id = new_mblock(*client);
  const AlignedBuffer data = client_pages(2, 1);
  write_pages(*client, id, data.span(0, kClientPage));
  client.faults().arm({.target = Target::write, .number = 1, .code = ENOSPC});
  EXPECT_EQ(error_of([&] { write_pages(*client, id, data.span()); }), ENOSPC);
  EXPECT_EQ(client->mblock(id).written_length, kClientPage);
  EXPECT_EQ(error_of([&] { write_pages(*client, id, data.span()); }), EIO);
  EXPECT_EQ(error_of([&] { client->commit(id); }), EIO);
  client->abort(id);
  committed_mblock(*client, 1, 1);  // there is room again
}

TEST(ClientFault, ADeviceThatFailedIsReadOnly) {
  TestClient client;
  const ObjectId kept = committed_mblock(*client, 2, 1);
  const ObjectId id = new_mblock(*client);
  client.faults().arm({.target = Target::write});
  EXPECT_EQ(error_of([&] { write_pages(*client, id, client_pages(1, 1).span()); }), EIO);
  EXPECT_TRUE(has_content(*client, kept, 2, 1));
  EXPECT_EQ(error_of([&] { client->remove(kept); }), EIO);
  EXPECT_TRUE(has_content(*client, kept, 2, 1));
  client->abort(id);
}

TEST(ClientFault, AnEraseThatFailedLeavesTheLogOrEmptiesIt) {
  for (std::uint64_t number = 1; number < 10; ++number) {
    TestClient client;
    const ObjectId id = committed_log(*client);
    auto log = client->open_log(id, {});
    append_text(*log, "a", true);
    client.faults().arm({.target = Target::write, .number = number});
    const int code = error_of([&] { log->erase(0); });
    if (code == 0) break;
    EXPECT_EQ(code, EIO);
    client.faults().disarm();
    EXPECT_EQ(all_text(*log), "a") << "until the erase is durable";
    log.reset();
    client.restart();
    const OpenLog again(*client, id);
    const std::string text = all_text(*again);
    EXPECT_TRUE(text.empty() || text == "a");
  }
}

// A sync without room, and a close that gives up: what is on the media counts as the log's content,
// although no flush covered it.
TEST(ClientFault, ALogClosedWithoutRoomIsWholeAfterMoreAppends) {
  for (std::uint64_t number = 1; number <= 4; ++number) {
    for (const unsigned percent : {0u, 50u, 100u}) {
      TestClient client(TestClient::Classes::capacity_only, 4096);
      const ObjectId id = committed_log(*client, 8u << 20);
      auto log = client->open_log(id, {});
      append_text(*log, "a", true);
      client.faults().arm({.target = Target::write,
                           .number = number,
                           .code = ENOSPC,
                           .forever = true,
                           .percent_written = percent});
      const std::string filler(300'000, 'f');
      for (int i = 0; i < 9 && error_of([&] { append_text(*log, filler); }) == 0; ++i) {
      }
      const Device& device = client.pool().device(MediaClass::capacity);
      const std::uint64_t flushes = device.counters().flushes;
      const int code = error_of([&] { client->close_log(std::exchange(log, nullptr)); });
      EXPECT_TRUE(code == 0 || code == ENOSPC || code == EIO) << code;
      EXPECT_GT(device.counters().flushes, flushes);
      client.faults().disarm();
      {
        const OpenLog again(*client, id);
        EXPECT_TRUE(all_text(*again).starts_with("a"));
        append_text(*again, "z", true);
        append_text(*again, filler, true);
        append_text(*again, "last", true);
      }
      client.lose_power();
      const OpenLog again(*client, id);
      EXPECT_TRUE(all_text(*again).ends_with("z " + filler + " last"));
    }
  }
}

}  // namespace
}  // namespace mpool::test
