// Logs and MDCs of the reference pools, found by the manifests' addresses: logs of another
// implementation are read with the expected content.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <openssl/evp.h>

#include "engine/io/open.h"
#include "engine/io/overlay_device.h"
#include "engine/mlog/mdc.h"
#include "tests/engine/mlog/log_support.h"
#include "tests/support/reference_pools.h"
#include "tests/support/temporary_directory.h"

namespace mpool::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string result_name(int code) {
  switch (code) {
    case 0:
      return "OK";
    case ENODATA:
      return "ENODATA";
    case EMSGSIZE:
      return "EMSGSIZE";
    default:
      return "errno " + std::to_string(code);
  }
}

// Number and hash, over (LE32 length + bytes), of the records.
struct Digest {
  std::size_t records = 0;
  std::size_t bytes = 0;
  std::string sha256;
};

Digest digest(MlogReader& reader) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  Digest result;
  for (Record record; reader.next(record);) {
    std::array<std::byte, 4> length;
    store_le<std::uint32_t>(length, 0, static_cast<std::uint32_t>(record.size()));
    EVP_DigestUpdate(context.get(), length.data(), length.size());
    EVP_DigestUpdate(context.get(), record.data(), record.size());
    ++result.records;
    result.bytes += record.size();
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash;
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), hash.data(), &size);
  for (unsigned i = 0; i < size; ++i)
    result.sha256 += fmt::format("{:02x}", hash[i]);
  return result;
}

class RefpoolLogs : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const fs::path manifest_path = reference_pools() / (GetParam() + ".json");
    ASSERT_TRUE(fs::exists(manifest_path)) << manifest_path << " is missing";
    manifest_ = Json::parse(std::ifstream(manifest_path));
    const std::string command = fmt::format("tar -xJSf '{}' -C '{}'",
                                            (reference_pools() / (GetParam() + ".tar.xz")).string(),
                                            folder_.path().string());
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    for (const Json& image : manifest_["images"]) {
      open_image(folder_.path() / image["file"].get<std::string>(),
                 image["superblocks"][0]["parm"]);
    }
  }

  void TearDown() override { devices_.clear(); }

  void open_image(const fs::path& path, const Json& parameters) {
    for (const Json& device : pool()["devices"]) {
      if (device["uuid"] != parameters["devid"]) continue;
      devices_[device["mclass"]] = {
          .device = std::make_unique<OverlayDevice>(open_device(path, OpenMode::inspect)),
          .sector_size = device["sector_size"],
          .zone_size = device["zone_bytes"]};
      return;
    }
    FAIL() << path << " is no device of the pool";
  }

  const Json& pool() const { return manifest_["expected"]["pool"]; }

  MlogLocation location(const Json& log) {
    const auto& on = devices_.at(log["mclass"]);
    return {.device = on.device.get(),
            .offset = log["zaddr"].get<std::uint64_t>() * on.zone_size,
            .capacity = log["zcnt"].get<std::uint64_t>() * on.zone_size,
            .sector_size = on.sector_size,
            .uuid = Uuid::parse(log["uuid"].get<std::string>()).value(),
            .generation = log["gen"],
            .name = log["objid"]};
  }

  static void expect_content(MlogReader& reader, const Json& expected) {
    const Digest found = digest(reader);
    EXPECT_EQ(found.records, expected["nrec"]);
    EXPECT_EQ(found.bytes, expected["bytes"]);
    EXPECT_EQ(expected["sha256"], found.sha256);
  }

  static void expect_stats(const Mlog::Stats& stats, const Json& expected) {
    EXPECT_EQ(stats.blocks, expected["blocks"]);
    EXPECT_EQ(stats.last_flush_set, expected["pfsetid"]);
    EXPECT_EQ(stats.next_flush_set, expected["cfsetid"]);
    EXPECT_EQ(stats.has_compaction_start, expected["cstart"] == 1);
    EXPECT_EQ(stats.has_compaction_end, expected["cend"] == 1);
  }

  void check_log(const Json& expected, CompactionSemantics semantics, const std::string& result) {
    std::unique_ptr<Mlog> log;
    const int code = error_of([&] { log = Mlog::open(location(expected), semantics); });
    EXPECT_EQ(result_name(code), result);
    if (!log) return;
    expect_stats(log->stats(), expected);
    EXPECT_EQ(log->record_count(), expected["nrec"]);
    EXPECT_EQ(log->payload_bytes(), expected["bytes"]);
    MlogReader reader(*log);
    expect_content(reader, expected);
  }

  struct OnDevice {
    std::unique_ptr<Device> device;
    std::uint32_t sector_size = 0;
    std::uint64_t zone_size = 0;
  };
  Json manifest_;
  TemporaryDirectory folder_;
  std::map<std::string, OnDevice> devices_;  // by media class
};

TEST_P(RefpoolLogs, UserLogs) {
  std::size_t logs = 0;
  for (const Json& object : pool()["objects"]) {
    if (object["type"] != "mlog") continue;
    SCOPED_TRACE(object["objid"].get<std::string>());
    check_log(object, CompactionSemantics::off, object["open_plain"]);
    check_log(object, CompactionSemantics::on, object["open_csem"]);
    ++logs;
  }
  EXPECT_EQ(logs, pool()["n_mlogs"]);
}

TEST_P(RefpoolLogs, PoolMdcs) {
  ASSERT_FALSE(pool()["mdcs"].empty());
  for (const Json& mdc : pool()["mdcs"]) {
    const unsigned slot = mdc["slot"];
    SCOPED_TRACE(fmt::format("MDC{}", slot));
    const unsigned active = mdc["active"] == mdc["log1"]["objid"] ? 0 : 1;
    Json expected = mdc;
    expected.update(mdc[active == 0 ? "log1" : "log2"]);
    check_log(expected, CompactionSemantics::on, mdc["read_rc"]);

    const auto opened =
        Mdc::open("mdc",
                  {{{mdc_log_id(slot, 0), location(mdc["log1"])},
                    {mdc_log_id(slot, 1), location(mdc["log2"])}}},
                  [](ObjectId id, std::uint64_t) { ADD_FAILURE() << "erased " << id.to_string(); });
    EXPECT_EQ(opened->stats().active, active);
    expect_stats(opened->stats().log, mdc);
    MlogReader reader = opened->reader();
    expect_content(reader, mdc);
  }
}

TEST_P(RefpoolLogs, UserMdcs) {
  std::map<std::string, Json> objects;
  for (const Json& object : pool()["objects"])
    objects[object["objid"]] = object;
  for (const Json& mdc : pool()["user_mdcs"]) {
    SCOPED_TRACE(mdc["oid1"].get<std::string>());
    const Json& first = objects.at(mdc["oid1"]);
    const Json& second = objects.at(mdc["oid2"]);
    std::map<ObjectId, std::uint64_t> recorded;
    const auto id = [](const Json& log) {
      return ObjectId{std::stoull(log["objid"].get<std::string>(), nullptr, 16)};
    };
    std::uint64_t writes = 0;
    for (const auto& [name, on] : devices_)
      writes -= on.device->counters().writes;
    const auto opened =
        Mdc::open("mdc", {{{id(first), location(first)}, {id(second), location(second)}}},
                  [&](ObjectId half, std::uint64_t generation) { recorded[half] = generation; });
    for (const auto& [name, on] : devices_)
      writes += on.device->counters().writes;
    // Recording a generation counts as a write in the reference implementation.
    EXPECT_EQ(writes + recorded.size(), mdc["writes_during_open"]);
    const Mdc::Stats stats = opened->stats();
    EXPECT_EQ(mdc["active"], stats.ids[stats.active].to_string());
    EXPECT_EQ(stats.generations[0], mdc["gen1"]);
    EXPECT_EQ(stats.generations[1], mdc["gen2"]);
    expect_stats(stats.log, mdc);
    for (const auto& [half, generation] : recorded) {
      EXPECT_EQ(generation, half == id(first) ? stats.generations[0] : stats.generations[1]);
    }
    MlogReader reader = opened->reader();
    expect_content(reader, mdc);
  }
}

INSTANTIATE_TEST_SUITE_P(Pools, RefpoolLogs,
                         testing::Values("a1-fresh-core", "a2-fresh", "b-cap512", "c-cap4096",
                                         "d-twoclass", "e1-compacted", "f01-usermdc-cstart-nocend",
                                         "f02-usermdc-cstart-nocend-4k", "f08-torn-flush-prefix",
                                         "f09-torn-flush-suffix-only", "f10-torn-flush-prefix-4k",
                                         "f12-failed-flush-retry", "f20-no-deactivate",
                                         "f21-ckpt-uncommitted", "f28-torn-prefix-then-append",
                                         "f29-torn-suffix-then-append",
                                         "f31-torn-suffix-then-append-4k", "g-renamed",
                                         "h-default32"),
                         [](const auto& pool) {
                           std::string name = pool.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace mpool::test
