// mpool object, mpool log and mpool mdc on pools that are not mounted.
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/names/namespace.h"
#include "engine/pool/discovery.h"
#include "tests/support/bytes_of.h"
#include "tests/tools/support.h"
#include "tools/commands.h"
#include "tools/pool_access.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;

class ObjectCommand : public ::testing::Test {
 protected:
  void SetUp() override { make_pool("objects", pool_); }

  std::string file(const std::string& name, const std::string& content) {
    const std::string path = directory_ / name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  // The output of a command that must succeed, without the newline at its end.
  static std::string line_of(const std::vector<std::string>& arguments) {
    const Result result = mpool_command(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_FALSE(result.out.empty());
    return result.out.substr(0, result.out.size() - 1);
  }
  static void expect_failure(const std::vector<std::string>& arguments, int status,
                             const std::string& message) {
    const Result result = mpool_command(arguments);
    EXPECT_EQ(result.status, status);
    EXPECT_THAT(result.err, HasSubstr(message));
  }
  // A named tree with a file and a log; the ids of their objects.
  std::pair<std::string, std::string> make_tree() {
    const auto pool = activate_for_change({pool_});
    const auto names = Namespace::mount(*pool, {.pack_max = 0});
    const auto make = [&](const char* name, bool append) {
      const OpenIntent intent{.write = true, .append = append};
      auto [attributes, opened] = names->create(kRootInode, name, 0644, {}, intent);
      opened->write(0, test::bytes_of("content"), append);
      opened->flush();
      opened->close();
      names->sync();
      return names->get_xattr(attributes.inode, "user.mpool.objects");
    };
    const std::string mblock = make("file", false);
    return {mblock, make("log", true)};
  }

  const test::TemporaryDirectory directory_;
  const std::string pool_ = directory_ / "pool.img";
};

TEST_F(ObjectCommand, StoresReadsAndDeletesAnMblock) {
  const std::string content(5000, 'x');
  const std::string id = line_of({"object", "write", pool_, file("in", content)});
  EXPECT_EQ(mpool_command({"object", "read", pool_, id}).out, content + std::string(3192, '\0'));
  const Json facts = mpool_json({"object", "show", "--json", pool_, id});
  EXPECT_EQ(facts["objid"], id);
  EXPECT_EQ(facts["type"], "mblock");
  EXPECT_EQ(facts["class"], "capacity");
  EXPECT_EQ(facts["length"], 8192);
  EXPECT_EQ(facts["owner"], "program");
  EXPECT_EQ(facts["committed"], true);
  EXPECT_THAT(mpool_command({"object", "list", pool_}).out, HasSubstr(id));
  EXPECT_EQ(mpool_command({"object", "delete", pool_, id}).status, 0);
  expect_failure({"object", "read", pool_, id}, kFailure, "no such committed object");
  expect_failure({"object", "delete", pool_, id}, kFailure, "");
}

TEST_F(ObjectCommand, StoresNothingThatDoesNotFit) {
  const Json before = mpool_json({"object", "list", "--json", pool_});
  const std::uint64_t zone = mpool_json({"info", "--json", pool_})["devices"][0]["zone_size"];
  expect_failure({"object", "write", pool_, file("in", std::string(zone + 1, 'x'))}, kFailure,
                 "more than the");
  expect_failure({"object", "write", pool_, directory_ / "absent"}, kFailure, "cannot be read");
  EXPECT_EQ(mpool_json({"object", "list", "--json", pool_}), before);
}

TEST_F(ObjectCommand, RunsSteps) {
  const std::string in = file("in", std::string(4096, 'a'));
  const std::string steps =
      file("steps", "# a comment\n\nalloc\nwrite - " + in + "\nwrite - " + in +
                        "\nshow -\ncommit -\nalloc capacity\nabort -\n"
                        "alloc\nwrite - " +
                        in + "\n");
  const Result result = mpool_command({"object", "run", "--json", pool_, steps});
  ASSERT_EQ(result.status, 0) << result.err;
  std::istringstream lines(result.out);
  std::string first, shown, second, third;
  lines >> first;
  std::getline(lines >> std::ws, shown);
  lines >> second >> third;
  EXPECT_EQ(Json::parse(shown)["committed"], false);
  EXPECT_EQ(Json::parse(shown)["length"], 8192);
  EXPECT_EQ(mpool_command({"object", "read", pool_, first}).out, std::string(8192, 'a'));
  for (const std::string& gone : {second, third})
    expect_failure({"object", "show", pool_, gone}, kFailure, "no such committed object");
  const std::map<std::string, std::string> bad = {
      {"fly 0x1", "fly"},           {"commit -", "nothing was allocated"},
      {"commit", "wanted"},         {"delete " + first + " " + first, "wanted"},
      {"write " + first, "wanted"}, {"alloc capacity now", "wanted"},
  };
  for (const auto& [step, message] : bad) {
    expect_failure({"object", "run", pool_, file("bad", step + "\n")}, kFailure, message);
  }
  EXPECT_EQ(mpool_command({"object", "read", pool_, first}).out, std::string(8192, 'a'));
  expect_failure({"object", "run", pool_, file("bad", "commit 0x40100\n")}, kFailure,
                 "no such uncommitted object");
}

TEST_F(ObjectCommand, LeavesTheTreeAlone) {
  const auto [mblock, mlog] = make_tree();
  const std::string own = line_of({"object", "write", pool_, file("in", "mine")});
  std::map<std::string, std::string> owners;
  for (const Json& facts : mpool_json({"object", "list", "--json", pool_}))
    owners[facts["objid"]] = facts["owner"];
  EXPECT_EQ(owners[mblock], "tree");
  EXPECT_EQ(owners[mlog], "tree");
  EXPECT_EQ(owners["0x201"], "tree");
  EXPECT_EQ(owners[own], "program");
  EXPECT_EQ(mpool_command({"log", "read", pool_, mlog}).out, "content");
  const std::string in = file("in", "x");
  expect_failure({"object", "delete", pool_, mblock}, kFailure, "belongs to the named tree");
  expect_failure({"log", "append", pool_, mlog, in}, kFailure, "belongs to the named tree");
  expect_failure({"log", "erase", pool_, mlog}, kFailure, "belongs to the named tree");
  expect_failure({"log", "delete", pool_, mlog}, kFailure, "belongs to the named tree");
  expect_failure({"mdc", "append", pool_, "root", in}, kFailure, "belongs to the named tree");
  expect_failure({"mdc", "read", pool_, "root"}, kFailure, "belongs to the named tree");
  EXPECT_EQ(mpool_command({"object", "delete", pool_, own}).status, 0);
  EXPECT_EQ(mpool_command({"check", pool_}).status, 0);
}

TEST_F(ObjectCommand, AppendsReadsAndErasesALog) {
  const std::string id = line_of({"log", "create", "--capacity", "3M", pool_});
  EXPECT_EQ(mpool_command({"log", "append", pool_, id, file("one", "one record")}).status, 0);
  EXPECT_EQ(
      mpool_command({"log", "append", "--lines", pool_, id, file("more", "a\n\nbc\n")}).status, 0);
  EXPECT_EQ(mpool_command({"log", "read", pool_, id}).out, "one recordabc");
  EXPECT_EQ(mpool_command({"log", "read", "--records", pool_, id}).out,
            "10\none record\n1\na\n0\n\n2\nbc\n");
  EXPECT_EQ(mpool_json({"log", "read", "--json", pool_, id})[3]["hex"], "6263");
  EXPECT_EQ(mpool_command({"log", "erase", "--generation", "7", pool_, id}).status, 0);
  EXPECT_EQ(mpool_command({"log", "read", pool_, id}).out, "");
  EXPECT_EQ(mpool_json({"log", "read", "--json", pool_, id}), Json::array());
  EXPECT_EQ(mpool_json({"object", "show", "--json", pool_, id})["generation"], 7);
  EXPECT_EQ(mpool_command({"log", "delete", pool_, id}).status, 0);
  expect_failure({"log", "read", pool_, id}, kFailure, "no such committed object");
}

TEST_F(ObjectCommand, KeepsRecordsOfAnMdc) {
  const std::string ids = line_of({"mdc", "create", pool_});
  EXPECT_EQ(mpool_command({"mdc", "append", "--lines", pool_, ids, file("in", "a\nb\n")}).status,
            0);
  EXPECT_EQ(mpool_command({"mdc", "read", "--records", pool_, ids}).out, "1\na\n1\nb\n");
  EXPECT_EQ(mpool_command({"mdc", "replace", pool_, ids, file("in", "new")}).status, 0);
  EXPECT_EQ(mpool_command({"mdc", "read", pool_, ids}).out, "new");
  EXPECT_EQ(mpool_json({"mdc", "read", "--json", pool_, ids}),
            (Json{{{"length", 3}, {"hex", "6e6577"}}}));
  EXPECT_EQ(mpool_command({"mdc", "delete", pool_, ids}).status, 0);
  expect_failure({"mdc", "read", pool_, ids}, kFailure, "no such committed object");
}

TEST_F(ObjectCommand, WorksOnTheRootContainerOfAMarkedPool) {
  EXPECT_EQ(mpool_command({"set", pool_, "user_type=01234567-89ab-cdef-0123-456789abcdef"}).status,
            0);
  EXPECT_EQ(mpool_command({"mdc", "append", pool_, "root", file("in", "mine")}).status, 0);
  EXPECT_EQ(mpool_command({"mdc", "read", pool_, "root"}).out, "mine");
}

TEST_F(ObjectCommand, RefusesWhatItDoesNotKnow) {
  expect_failure({"object", "fly", pool_}, kUsage, "fly");
  expect_failure({"object", "read", pool_}, kUsage, "POOL ID");
  expect_failure({"object", "read", pool_, "12"}, kUsage, "no object id");
  expect_failure({"object", "read", pool_, "0x12g"}, kUsage, "no object id");
  expect_failure({"object", "read", pool_, "0x201"}, kFailure, "another type");
  expect_failure({"object", "write", "--class", "fast", pool_}, kUsage, "--class");
  expect_failure({"object", "write", "--class", "staging", pool_, file("in", "")}, kFailure,
                 "media class");
  expect_failure({"log", "erase", "--generation", "x", pool_, "0x201"}, kUsage, "--generation");
  expect_failure({"mdc", "read", pool_, "0x201"}, kUsage, "no pair");
  expect_failure({"object", "list", "--class", "staging", pool_}, kUsage, "takes no --class");
  expect_failure({"object", "run", "--class", "staging", pool_, file("in", "")}, kUsage,
                 "takes no --class");
  expect_failure({"log", "create", "--generation", "7", pool_}, kUsage, "takes no --generation");
  expect_failure({"mdc", "read", "--lines", pool_, "root"}, kUsage, "takes no --lines");
}

}  // namespace
}  // namespace mpool::tools
