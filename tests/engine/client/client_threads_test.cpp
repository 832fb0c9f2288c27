// Many threads use the objects of one pool.
#include <atomic>
#include <random>
#include <thread>

#include "tests/engine/client/client_support.h"

namespace mpool::test {
namespace {

void run_threads(unsigned count, const std::function<void(unsigned)>& work) {
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < count; ++i)
    threads.emplace_back([&work, i] { work(i); });
}

TEST(ClientThreads, EachHasMblocksOfItsOwn) {
  TestClient client(TestClient::Classes::both);
  const std::uint32_t used = client.used_zones();
  run_threads(8, [&](unsigned thread) {
    std::mt19937 random(thread);
    for (unsigned i = 0; i < 40; ++i) {
      const unsigned seed = thread * 1000 + i;
      const ObjectId id = new_mblock(*client, MediaClass::capacity);
      write_pages(*client, id, client_pages(2, seed).span());
      if (random() % 4 == 0) {
        client->abort(id);
        continue;
      }
      client->commit(id);
      EXPECT_TRUE(has_content(*client, id, 2, seed));
      client->remove(id);
    }
  });
  EXPECT_EQ(client.used_zones(), used);
}

TEST(ClientThreads, OneOfThemEndsAnMblock) {
  TestClient client;
  for (unsigned round = 0; round < 30; ++round) {
    const ObjectId id = new_mblock(*client);
    write_pages(*client, id, client_pages(1, round).span());
    std::atomic<unsigned> commits = 0;
    std::atomic<unsigned> aborts = 0;
    run_threads(4, [&](unsigned thread) {
      const int code = error_of([&] {
        if (thread % 2 == 0) {
          client->commit(id);
          ++commits;
        } else {
          client->abort(id);
          ++aborts;
        }
      });
      EXPECT_TRUE(code == 0 || code == ENOENT);
    });
    EXPECT_EQ(commits + aborts, 1u);
    if (commits != 0) client->remove(id);
    EXPECT_EQ(error_of([&] { client->mblock(id); }), ENOENT);
  }
}

TEST(ClientThreads, WritesOfOneMblockGoInSomeOrder) {
  TestClient client;
  const ObjectId id = new_mblock(*client);
  run_threads(4, [&](unsigned thread) {
    for (int i = 0; i < 4; ++i)
      write_pages(*client, id, client_pages(1, thread).span());
  });
  client->commit(id);
  EXPECT_EQ(client->mblock(id).written_length, 16 * kClientPage);
  AlignedBuffer found(kClientPage);
  std::array<unsigned, 4> seen{};
  for (std::uint64_t page = 0; page < 16; ++page) {
    read_pages(*client, id, page * kClientPage, found.span());
    for (unsigned seed = 0; seed < 4; ++seed) {
      if (std::memcmp(found.data(), client_pages(1, seed).data(), kClientPage) == 0) ++seen[seed];
    }
  }
  EXPECT_EQ(seen, (std::array<unsigned, 4>{4, 4, 4, 4}));
}

TEST(ClientThreads, AReadKeepsADeletionAway) {
  TestClient client;
  for (unsigned round = 0; round < 20; ++round) {
    const ObjectId id = committed_mblock(*client, 4, round);
    run_threads(4, [&](unsigned thread) {
      if (thread != 0) {
        int code = 0;
        while (code == 0)
          code = error_of([&] { EXPECT_TRUE(has_content(*client, id, 4, round)); });
        EXPECT_EQ(code, ENOENT);
        return;
      }
      int code = EBUSY;
      while (code == EBUSY)
        code = error_of([&] { client->remove(id); });
      EXPECT_EQ(code, 0);
    });
  }
}

// Records of several threads in one log, opened and closed all the time.
TEST(ClientThreads, AppendToOneLogThroughOpensOfTheirOwn) {
  TestClient client;
  const ObjectId id = committed_log(*client, 4 * kClientZone);
  constexpr unsigned kThreads = 6;
  constexpr unsigned kRecords = 60;
  run_threads(kThreads, [&](unsigned thread) {
    for (unsigned i = 0; i < kRecords; ++i) {
      const OpenLog log(*client, id);
      append_text(*log, std::to_string(thread * 1000 + i), i % 8 == 0);
      if (i % 16 == 0) log->sync();
      EXPECT_GT(log->used(), 0u);
    }
  });
  client.lose_power();
  const OpenLog log(*client, id);
  std::array<unsigned, kThreads> next{};
  for (std::string record = read_text(*log); !record.empty(); record = read_text(*log)) {
    const unsigned number = static_cast<unsigned>(std::stoul(record));
    EXPECT_EQ(number % 1000, next.at(number / 1000)++);
  }
  for (const unsigned count : next)
    EXPECT_EQ(count, kRecords);
}

TEST(ClientThreads, ReadAppendAndEraseOneLog) {
  TestClient client;
  const ObjectId id = committed_log(*client, 4 * kClientZone);
  const OpenLog log(*client, id);
  std::atomic<bool> done = false;
  std::jthread eraser([&] {
    for (unsigned i = 0; i < 20; ++i) {
      log->erase(0);
      log->rewind();
    }
    done = true;
  });
  run_threads(4, [&](unsigned thread) {
    const std::string text(thread * 100 + 1, static_cast<char>('a' + thread));
    std::vector<std::byte> into(1000);
    while (!done) {
      const int code = error_of([&] { append_text(*log, text, thread == 0); });
      EXPECT_TRUE(code == 0 || code == EFBIG) << code;
      if (code == EFBIG) std::this_thread::yield();
      const SharedReader::Result result = log->read(into);
      EXPECT_EQ(result.error, 0);
      EXPECT_EQ(result.length % 100, result.length == 0 ? 0u : 1u);
    }
  });
  EXPECT_EQ(log->generation(), client->log(id).generation);
}

TEST(ClientThreads, OneOpenIsMadeOfAllAtATime) {
  TestClient client;
  const auto ids = committed_pair(*client);
  const ObjectId id = committed_log(*client);
  run_threads(8, [&](unsigned thread) {
    for (unsigned i = 0; i < 50; ++i) {
      if (thread % 2 == 0) {
        const OpenLog log(*client, id);
        EXPECT_EQ(log->id(), id);
      } else {
        const OpenMdc mdc(*client, ids);
        EXPECT_FALSE(mdc->failed());
      }
    }
  });
  client->remove(id);
  client->remove(ids[0]);
  client->remove(ids[1]);
}

TEST(ClientThreads, AppendToAnMdcBetweenCompactions) {
  TestClient client;
  const auto ids = committed_pair(*client);
  const OpenMdc mdc(*client, ids);
  for (unsigned round = 0; round < 4; ++round) {
    run_threads(4, [&](unsigned thread) {
      std::vector<std::byte> into(1000);
      for (unsigned i = 0; i < 20; ++i) {
        append_text(*mdc, std::string(thread + 1, 'x'), i % 4 == 0);
        mdc->sync();
        EXPECT_GT(mdc->used(), 0u);
        EXPECT_EQ(mdc->read(into).error, 0);
        mdc->rewind();
      }
    });
    // Other threads may read and sync meanwhile.
    std::atomic<bool> done = false;
    std::jthread reader([&] {
      std::vector<std::byte> into(1000);
      while (!done) {
        mdc->sync();
        mdc->read(into);
        mdc->rewind();
      }
    });
    mdc->start_compaction();
    append_text(*mdc, "kept");
    mdc->end_compaction();
    done = true;
    reader.join();
    EXPECT_EQ(all_text(*mdc), "kept");
  }
}

}  // namespace
}  // namespace mpool::test
