#include "engine/pool/discovery.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "engine/pool/superblock_store.h"
#include "tests/engine/pool/pool_support.h"
#include "tests/support/temporary_directory.h"

namespace mpool::test {
namespace {

namespace fs = std::filesystem;

class Discovery : public testing::Test {
 protected:
  std::string make_pool(const std::string& name) {
    const std::string path = folder_ / name;
    create_image_file(path, 16 * kMiB);
    const auto devices = open_pool_devices({path}, OpenMode::activate);
    CreateOptions options = small_options();
    options.name = name;
    Pool::create(*devices[0], nullptr, options);
    return path;
  }

  TemporaryDirectory folder_;
};

TEST_F(Discovery, ScanFindsPools) {
  const std::string a = make_pool("a");
  const std::string empty = folder_ / "empty";
  create_image_file(empty, kMiB);
  const std::string tiny = folder_ / "tiny";
  std::ofstream(tiny) << "x";
  const std::string missing = folder_ / "missing";
  std::vector<std::string> unreadable;
  const std::vector<std::string> paths = {a, empty, tiny, missing};
  const auto note = [&](const std::string& path, const std::string& reason) {
    EXPECT_FALSE(reason.empty());
    unreadable.push_back(path);
  };
  auto found = scan_devices(paths, note);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].path, a);
  EXPECT_EQ(found[0].superblock.pool_name, "a");
  EXPECT_FALSE(found[0].active);
  EXPECT_NE(std::ranges::find(unreadable, missing), unreadable.end());
  {
    const auto pool = Pool::activate(open_pool_devices({a}, OpenMode::activate));
    found = scan_devices(paths);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_TRUE(found[0].active);
    EXPECT_EQ(error_of([&] { open_pool_devices({a}, OpenMode::activate); }), EBUSY);
  }
  EXPECT_FALSE(scan_devices(paths)[0].active);
}

TEST_F(Discovery, Destroy) {
  const std::string a = make_pool("a");
  destroy_pool(open_pool_devices({a}, OpenMode::activate));
  EXPECT_TRUE(scan_devices(std::vector{a}).empty());
  EXPECT_EQ(error_of([&] { Pool::activate(open_pool_devices({a}, OpenMode::activate)); }), EBADMSG);
}

TEST_F(Discovery, ResolvePaths) {
  const auto expect = [](const std::string& pool, const std::vector<std::string>& paths) {
    EXPECT_EQ(resolve_pool(pool), paths) << pool;
  };
  expect("/dev/x", {"/dev/x"});
  expect("/dev/x,/dev/y", {"/dev/x", "/dev/y"});
  expect("./x", {"./x"});
  const std::string a = make_pool("a");
  expect(a, {a});
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  expect("a", {"a"});
  fs::current_path(before);
  const std::string comma = folder_ / "b,c";
  fs::rename(make_pool("b"), comma);
  expect(comma, {comma});
  expect(a + "," + folder_ / "b" + "\\,c", {a, comma});
  EXPECT_EQ(error_of([] { resolve_pool(""); }), EINVAL);
  EXPECT_EQ(error_of([] { resolve_pool("UUID=zzz"); }), EINVAL);
  EXPECT_EQ(error_of([] { resolve_pool("UUID=01234567-89ab-cdef-0123-456789abcdef"); }), ENODEV);
  EXPECT_EQ(error_of([] { resolve_pool("no-such-pool-here"); }), ENODEV);
}

Superblock example() {
  Superblock superblock{
      .pool_name = "p", .pool_uuid = Uuid::random(), .device = {}, .mdc0 = Mdc0Location{}};
  superblock.device.uuid = Uuid::random();
  superblock.device.zone_pages = 16;
  superblock.device.zone_count = 16;
  superblock.device.device_size = kMiB;
  for (auto& half : superblock.mdc0->halves)
    half.uuid = Uuid::random();
  superblock.mdc0->device = superblock.device;
  return superblock;
}

enum class Checksum { ours, absent, bad };

SuperblockPair pair_of(const Superblock& first, Checksum first_checksum, const Superblock& second,
                       Checksum second_checksum) {
  const auto media = std::make_shared<Media>(kMiB, 512);
  const auto put = [&](std::size_t copy, const Superblock& superblock, Checksum checksum) {
    AlignedBuffer block(kSuperblockSize);
    encode_superblock(superblock, block.span());
    if (checksum != Checksum::ours) {
      store_le<std::uint32_t>(block.span(), 124, checksum == Checksum::bad ? 0xbadbad : 0);
    }
    media->write(kSuperblockOffsets[copy], block.span());
  };
  put(0, first, first_checksum);
  put(1, second, second_checksum);
  MemoryDevice device("d", media);
  return read_superblocks(device);
}

TEST(ReadSuperblocks, TheChecksumSettlesWhereMdc0Is) {
  const Superblock right = example();
  Superblock wrong = right;
  wrong.mdc0->halves[0].uuid = Uuid::random();
  struct Case {
    Checksum of_right, of_wrong;
    bool ambiguous;
  };
  for (const Case& c :
       {Case{Checksum::ours, Checksum::bad, false}, Case{Checksum::ours, Checksum::absent, false},
        Case{Checksum::absent, Checksum::absent, true}, Case{Checksum::ours, Checksum::ours, true},
        Case{Checksum::bad, Checksum::absent, true}}) {
    for (const bool right_first : {true, false}) {
      const SuperblockPair pair = right_first ? pair_of(right, c.of_right, wrong, c.of_wrong)
                                              : pair_of(wrong, c.of_wrong, right, c.of_right);
      EXPECT_EQ(pair.mdc0_ambiguous, c.ambiguous);
      EXPECT_TRUE(pair.needs_repair);
      if (!c.ambiguous) {
        EXPECT_EQ(*pair.chosen->mdc0, *right.mdc0);
      }
    }
  }
}

TEST(ReadSuperblocks, GreaterGenerationCounts) {
  Superblock older = example();
  Superblock newer = older;
  newer.mdc0->halves[1].generation = 9;
  for (const bool newer_first : {true, false}) {
    const SuperblockPair pair = newer_first
                                    ? pair_of(newer, Checksum::ours, older, Checksum::absent)
                                    : pair_of(older, Checksum::absent, newer, Checksum::ours);
    EXPECT_FALSE(pair.mdc0_ambiguous);
    EXPECT_TRUE(pair.needs_repair);
    EXPECT_EQ(*pair.chosen->mdc0, *newer.mdc0);
  }
  const SuperblockPair same = pair_of(older, Checksum::ours, older, Checksum::ours);
  EXPECT_FALSE(same.needs_repair);
  EXPECT_FALSE(same.mdc0_ambiguous);
  EXPECT_TRUE(pair_of(older, Checksum::bad, older, Checksum::bad).mdc0_ambiguous);
  EXPECT_FALSE(pair_of(older, Checksum::bad, newer, Checksum::ours).mdc0_ambiguous);
}

TEST(ReadSuperblocks, SecondCopyOfAnotherPoolDoesNotCount) {
  const Superblock mine = example();
  const SuperblockPair pair = pair_of(mine, Checksum::ours, example(), Checksum::ours);
  EXPECT_EQ(*pair.chosen, mine);
  EXPECT_FALSE(pair.mdc0_ambiguous);
  EXPECT_TRUE(pair.needs_repair);
}

TEST(ReadSuperblocks, SayWhatIsWrong) {
  MemoryDevice device("d", std::make_shared<Media>(kMiB, 512));
  const SuperblockPair pair = read_superblocks(device);
  EXPECT_FALSE(pair.chosen);
  EXPECT_FALSE(pair.faults[0].empty());
  EXPECT_FALSE(pair.faults[1].empty());
}

}  // namespace
}  // namespace mpool::test
