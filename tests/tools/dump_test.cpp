// mpool dump, for pools of the format's first implementation (the reference pools) and of mpoolfs.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <ostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/io/open.h"
#include "tests/support/reference_pools.h"
#include "tests/tools/support.h"
#include "tools/commands.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// The expected state of a reference pool.
enum class State {
  sound,    // as its manifest says
  refused,  // it cannot be activated
  damaged,  // a superblock is bad: content as before the damage
  remade,   // its creation was interrupted: the activation makes the missing parts, somewhere
};

struct Reference {
  std::string name;
  State state = State::sound;
};

void PrintTo(const Reference& reference, std::ostream* out) {
  *out << reference.name;
}

class ReferencePool : public ::testing::TestWithParam<Reference> {
 protected:
  void SetUp() override {
    const auto base = test::reference_pools() / GetParam().name;
    std::ifstream file(base.string() + ".json");
    ASSERT_TRUE(file) << "reference pool missing: " << base.string() << ".json";
    manifest_ = Json::parse(file);
    shell("tar -xJSf '" + base.string() + ".tar.xz' -C '" + (directory_ / ".") + "'");
    for (const Json& image : manifest_["images"]) {
      if (!pool_.empty()) pool_ += ',';
      pool_ += directory_ / image["file"];
      images_[directory_ / image["file"]] = file_digest(directory_ / image["file"]);
    }
  }
  void TearDown() override {
    for (const auto& [path, before] : images_)
      EXPECT_EQ(file_digest(path), before) << path;
  }

  State state() const { return GetParam().state; }
  const Json& expected_pool() const {
    return state() == State::damaged ? manifest_["live_before_the_end"]
                                     : manifest_["expected"]["pool"];
  }
  // The metadata is in the state of the manifest.
  bool metadata_is_as_written() const {
    return state() == State::sound && manifest_["expected"]["activate"]["writes"] == 0;
  }

  const test::TemporaryDirectory directory_;
  Json manifest_;
  std::string pool_;
  std::map<std::string, std::string> images_;  // path, SHA-256 before
};

// The manifests have the objects in another order.
Json find_object(const Json& dump, const std::string& id) {
  for (const Json& object : dump["objects"]) {
    if (object["objid"] == id) return object;
  }
  return Json::object();
}

void expect_object(Json found, const Json& wanted, State state) {
  SCOPED_TRACE(wanted["objid"]);
  EXPECT_EQ(found["objid"], wanted["objid"]);
  EXPECT_EQ(found["type"], wanted["type"]);
  EXPECT_EQ(found["class"], lower(wanted["mclass"]));
  if (state != State::remade) {
    EXPECT_EQ(found["zone"], wanted["zaddr"]);
  }
  EXPECT_EQ(found["zones"], wanted["zcnt"]);
  EXPECT_EQ(found["generation"], wanted["gen"]);
  EXPECT_FALSE(found.contains("error"));
  if (!wanted.contains("sha256")) {
    // A client's MDC with an unfinished compaction.
    EXPECT_EQ(wanted["open_csem"], "EMSGSIZE");
    EXPECT_EQ(found.value("unfinished_compaction", false), true);
    EXPECT_FALSE(found.contains("sha256"));
    return;
  }
  EXPECT_EQ(found["sha256"], wanted["sha256"]);
  if (wanted["type"] == "mblock") {
    EXPECT_EQ(found["length"], wanted["mblen"]);
  } else {
    EXPECT_EQ(found["records"], wanted["nrec"]);
  }
}

void expect_mdc(const Json& found, const Json& wanted) {
  SCOPED_TRACE(wanted["slot"]);
  EXPECT_EQ(found["slot"], wanted["slot"]);
  for (const auto& [index, log] : {std::pair{0, "log1"}, std::pair{1, "log2"}}) {
    EXPECT_EQ(found["logs"][static_cast<std::size_t>(index)],
              (Json{{"objid", wanted[log]["objid"]}, {"generation", wanted[log]["gen"]}}));
  }
  EXPECT_EQ(found["active"], wanted["active"]);
  EXPECT_EQ(found["last_uniquifier"], wanted["luniq"]);
  EXPECT_EQ(found["last_checkpoint"], wanted["lckpt"]);
  EXPECT_EQ(found["blocks"], wanted["blocks"]);
  EXPECT_EQ(found["flush_set"], wanted["pfsetid"]);
  EXPECT_EQ(found["next_flush_set"], wanted["cfsetid"]);
  EXPECT_EQ(found["records"], wanted["nrec"]);
  EXPECT_EQ(found["sha256"], wanted["sha256"]);
}

void expect_device(const Json& found, const Json& wanted) {
  EXPECT_EQ(found["class"], lower(wanted["mclass"]));
  EXPECT_EQ(found["uuid"], wanted["uuid"]);
  EXPECT_EQ(found["sector_size"], wanted["sector_size"]);
  EXPECT_EQ(found["zone_size"], wanted["zone_bytes"]);
  EXPECT_EQ(found["zones"], wanted["zonetot"]);
  EXPECT_EQ(found["size"], wanted["devsz"]);
  EXPECT_EQ(found["features"], wanted["features"]);
}

void expect_config(const Json& found, const Json& wanted) {
  if (wanted["oid1"] == "0x0") {
    EXPECT_TRUE(found.is_null());
    return;
  }
  EXPECT_EQ(found["root_mlogs"], (Json{wanted["oid1"], wanted["oid2"]}));
  EXPECT_EQ(found["uid"], wanted["uid"]);
  EXPECT_EQ(found["gid"], wanted["gid"]);
  EXPECT_EQ(found["root_mdc_capacity"], wanted["captgt"]);
  EXPECT_EQ(found["max_readahead_pages"], wanted["ra_pages_max"]);
  EXPECT_EQ(found["max_map_size_log2"], wanted["vma_size_max"]);
  EXPECT_EQ(found["user_type"], wanted["utype"]);
  EXPECT_EQ(found["label"], wanted["label"]);
}

void expect_facts(const Json& dump, const Json& wanted) {
  EXPECT_EQ(dump["pool"], (Json{{"name", wanted["name"]},
                                {"uuid", wanted["uuid"]},
                                {"mdc_count", wanted["mdc_count"]}}));
  ASSERT_EQ(dump["devices"].size(), wanted["devices"].size());
  ASSERT_EQ(dump["spares"].size(), wanted["devices"].size());
  for (std::size_t i = 0; i < dump["devices"].size(); ++i) {
    expect_device(dump["devices"][i], wanted["devices"][i]);
    EXPECT_EQ(dump["spares"][i]["percent"], wanted["devices"][i]["spare_pct"]);
  }
  expect_config(dump["config"], wanted["config"]);
  EXPECT_EQ(dump["mdcs"].size(), wanted["mdcs"].size());
}

TEST_P(ReferencePool, IsDumpedAsItsManifestSaysAndNotChanged) {
  const Result result = mpool_command({"dump", "--json", pool_});
  if (state() == State::refused) {
    EXPECT_EQ(result.status, kFailure);
    EXPECT_THAT(result.err, StartsWith("mpool dump: "));
    // The readable part is shown, unless there is none.
    if (!result.out.empty()) {
      EXPECT_FALSE(Json::parse(result.out)["damage"].empty());
    }
    return;
  }
  ASSERT_EQ(result.status, kSuccess) << result.err;
  const Json dump = Json::parse(result.out);
  const Json& wanted = expected_pool();
  EXPECT_EQ(dump["pool"]["uuid"], wanted["uuid"]);
  if (state() != State::remade) expect_facts(dump, wanted);
  if (metadata_is_as_written()) {
    ASSERT_EQ(dump["mdcs"].size(), wanted["mdcs"].size());
    for (std::size_t i = 0; i < dump["mdcs"].size(); ++i) {
      expect_mdc(dump["mdcs"][i], wanted["mdcs"][i]);
    }
  }
  ASSERT_EQ(dump["objects"].size(), wanted["objects"].size());
  for (const Json& object : wanted["objects"]) {
    expect_object(find_object(dump, object["objid"]), object, state());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Dump, ReferencePool,
    ::testing::Values(
        Reference{"a1-fresh-core"}, Reference{"a2-fresh"}, Reference{"b-cap512"},
        Reference{"c-cap4096"}, Reference{"d-twoclass"}, Reference{"e1-compacted"},
        Reference{"f01-usermdc-cstart-nocend"}, Reference{"f02-usermdc-cstart-nocend-4k"},
        Reference{"f04-mdc0-compaction-torn"}, Reference{"f05-mdc0-cend-noerase"},
        Reference{"f08-torn-flush-prefix"}, Reference{"f09-torn-flush-suffix-only"},
        Reference{"f10-torn-flush-prefix-4k"}, Reference{"f12-failed-flush-retry"},
        Reference{"f14-create-half-mdc3", State::remade},
        Reference{"f15-create-mdc3-nopairerase", State::remade},
        Reference{"f16-create-no-mcconfig", State::refused},
        Reference{"f17-create-half-root", State::remade},
        Reference{"f19-driveadd-no-mcconfig", State::refused}, Reference{"f20-no-deactivate"},
        Reference{"f21-ckpt-uncommitted"}, Reference{"f22-sb0-badmagic", State::damaged},
        Reference{"f23-sb0-badcksum1", State::damaged},
        Reference{"f24-sb0-badcksum2", State::damaged},
        Reference{"f25-sb1-badmagic", State::damaged}, Reference{"f26-sb1-badcksum2"},
        Reference{"f27-sb0-mdc0uuid-flipped", State::refused},
        Reference{"f28-torn-prefix-then-append"}, Reference{"f29-torn-suffix-then-append"},
        Reference{"f31-torn-suffix-then-append-4k"}, Reference{"g-renamed"},
        Reference{"h-default32"}),
    [](const auto& test) {
      std::string name = test.param.name;
      std::ranges::replace(name, '-', '_');
      return name;
    });

class DumpTest : public ::testing::Test {
 protected:
  const test::TemporaryDirectory directory_;
  const std::string image_ = directory_ / "pool.img";
};

TEST_F(DumpTest, PrintsText) {
  make_pool("data", image_);
  const Result result = mpool_command({"dump", image_});
  EXPECT_EQ(result.status, kSuccess) << result.err;
  EXPECT_THAT(result.out, StartsWith("pool     {\"name\":\"data\""));
  EXPECT_THAT(result.out, HasSubstr("\nobject   objid=0x201 type=mlog class=capacity zone="));
}

TEST_F(DumpTest, ShowsProgressOnATerminalOnly) {
  make_pool("data", image_);
  EXPECT_EQ(mpool_command({"dump", image_}).err, "");
  EXPECT_THAT(mpool_on_terminal({"dump", image_}, "").err, HasSubstr("2 of 2 objects\n"));
}

TEST_F(DumpTest, RefusesAnActivePool) {
  make_pool("data", image_);
  const auto lock = open_device(image_, OpenMode::activate);
  const Result result = mpool_command({"dump", "--json", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("in use"));
}

TEST_F(DumpTest, RefusesATruncatedImage) {
  make_pool("data", image_);
  std::filesystem::resize_file(image_, 64 * kMiB);
  const Result result = mpool_command({"dump", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, StartsWith("mpool dump: "));
}

TEST_F(DumpTest, RefusesBothSuperblocksDamaged) {
  make_pool("data", image_);
  write_bytes(image_, 16, "damage");
  write_bytes(image_, 8192 + 16, "damage");
  EXPECT_EQ(mpool_command({"dump", image_}).status, kFailure);
}

TEST_F(DumpTest, RefusesAMissingStagingDevice) {
  make_pool("data", image_, {"--staging", directory_ / "staging.img", "--staging-size", "64M"});
  const Result result = mpool_command({"dump", image_});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr("staging device"));
}

// One log is corrupt: the other objects are shown nevertheless.
TEST_F(DumpTest, ShowsWhichObjectIsCorrupt) {
  const std::string archive = (test::reference_pools() / "b-cap512.tar.xz").string();
  shell("tar -xJSf '" + archive + "' -C '" + (directory_ / ".") + "'");
  const std::string image = directory_ / "b-cap512.img";
  const Json sound = mpool_json({"dump", "--json", image});
  const auto log = std::ranges::find_if(sound["objects"], [](const Json& object) {
    return object["type"] == "mlog" && object.value("records", 0) > 1 &&
           object["objid"] != "0x201" && object["objid"] != "0x1201";
  });
  ASSERT_NE(log, sound["objects"].end());
  const std::uint64_t zone_size = sound["devices"][0]["zone_size"].get<std::uint64_t>();
  // The type of the first chunk (after the block header of 40 bytes).
  write_bytes(image, (*log)["zone"].get<std::uint64_t>() * zone_size + 40 + 6, "\x77");

  const Result result = mpool_command({"dump", "--json", image});
  EXPECT_EQ(result.status, kFailure);
  EXPECT_THAT(result.err, HasSubstr("1 objects could not be read"));
  const Json dump = Json::parse(result.out);
  ASSERT_EQ(dump["objects"].size(), sound["objects"].size());
  for (std::size_t i = 0; i < dump["objects"].size(); ++i) {
    if (dump["objects"][i]["objid"] == (*log)["objid"]) {
      EXPECT_TRUE(dump["objects"][i].contains("error"));
      EXPECT_FALSE(dump["objects"][i].contains("sha256"));
    } else {
      EXPECT_EQ(dump["objects"][i], sound["objects"][i]);
    }
  }
}

}  // namespace
}  // namespace mpool::tools
