#include "engine/io/probe.h"

#include <algorithm>
#include <cerrno>
#include <fstream>

#include <gtest/gtest.h>

#include "engine/format/superblock.h"
#include "engine/io/open.h"
#include "tests/engine/io/support.h"

namespace mpool::test {
namespace {

constexpr std::uint64_t kProbedSize = 16 << 20;

class ProbeTest : public testing::Test {
 protected:
  ProbeTest() : path_(directory_ / "image") { create_image_file(path_, kProbedSize); }

  void write_at(std::uint64_t offset, ConstByteSpan bytes) const {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.flush());
  }

  // A superblock of mpoolfs, without the area after its 288 bytes.
  void write_superblock(const Uuid& uuid) const {
    Superblock superblock;
    superblock.pool_name = "tank";
    superblock.pool_uuid = uuid;
    superblock.device.uuid = Uuid::random();
    AlignedBuffer bytes(kSuperblockSize);
    encode_superblock(superblock, bytes.span());
    write_at(0, bytes.span(0, 288));
  }

  TemporaryDirectory directory_;
  std::string path_;
};

TEST_F(ProbeTest, FindsNothingOnAnEmptyDevice) {
  EXPECT_FALSE(probe_signature(path_));
  const std::string tiny = directory_ / "tiny";
  create_image_file(tiny, 1);
  EXPECT_FALSE(probe_signature(tiny));
  const std::string empty = directory_ / "empty";
  std::ofstream(empty).flush();
  EXPECT_FALSE(probe_signature(empty));
}

TEST_F(ProbeTest, FindsAFileSystem) {
  run("/sbin/mke2fs -q -t ext4 -L data -U 4711c0de-0000-4000-8000-00000000abcd " + path_);
  const auto signature = probe_signature(path_);
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->type, "ext4");
  EXPECT_EQ(signature->usage, "filesystem");
  EXPECT_EQ(signature->label, "data");
  EXPECT_EQ(signature->uuid, "4711c0de-0000-4000-8000-00000000abcd");
  EXPECT_EQ(signature->describe(), "ext4 file system labelled \"data\"");
}

TEST_F(ProbeTest, FindsAPartitionTable) {
  // One Linux partition of 8192 sectors from sector 2048 on.
  AlignedBuffer sector = AlignedBuffer::zeroed(512);
  store_le<std::uint32_t>(sector.span(), 440, 0x4711c0de);
  store_le<std::uint8_t>(sector.span(), 446 + 4, 0x83);
  store_le<std::uint32_t>(sector.span(), 446 + 8, 2048);
  store_le<std::uint32_t>(sector.span(), 446 + 12, 8192);
  store_le<std::uint16_t>(sector.span(), 510, 0xaa55);
  write_at(0, sector.span());
  const auto signature = probe_signature(path_);
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->type, "dos");
  EXPECT_EQ(signature->usage, "partition table");
  EXPECT_EQ(signature->uuid, "4711c0de");
  EXPECT_EQ(signature->describe(), "dos partition table");
}

TEST_F(ProbeTest, FindsSwapSpaceWithoutALabel) {
  run("/sbin/mkswap -q " + path_ + " 2>/dev/null");
  const auto signature = probe_signature(path_);
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->type, "swap");
  EXPECT_EQ(signature->usage, "other");
  EXPECT_EQ(signature->describe(), "swap");
}

TEST_F(ProbeTest, FindsAnMpool) {
  const Uuid uuid = Uuid::random();
  write_superblock(uuid);
  const auto signature = probe_signature(path_);
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->type, "mpool");
  EXPECT_EQ(signature->label, "tank");
  EXPECT_EQ(signature->uuid, uuid.to_string());
  EXPECT_EQ(signature->describe(), "mpool labelled \"tank\"");
}

TEST_F(ProbeTest, NamesContradictingSignatures) {
  run("/sbin/mke2fs -q -t ext4 " + path_);
  write_superblock(Uuid::random());
  EXPECT_EQ(error_of([&] { probe_signature(path_); }, "mpool"), EEXIST);
  EXPECT_EQ(error_of([&] { probe_signature(path_); }, "ext4"), EEXIST);
}

TEST_F(ProbeTest, RefusesWhatItCannotRead) {
  EXPECT_EQ(error_of([&] { probe_signature(directory_ / "none"); }, "none"), ENOENT);
  EXPECT_EQ(error_of([&] { probe_signature(directory_ / ""); }), ENOTBLK);
  EXPECT_EQ(error_of([&] { probe_signature("/dev/null"); }, "/dev/null"), ENOTBLK);
}

TEST(Signature, DescribesEveryUsage) {
  EXPECT_EQ((Signature{"LVM2_member", "raid", "", ""}).describe(),
            "LVM2_member (RAID or LVM member)");
  EXPECT_EQ((Signature{"crypto_LUKS", "crypto", "x", ""}).describe(),
            "crypto_LUKS (encrypted) labelled \"x\"");
}

TEST(ListBlockDevices, ListsThoseWithAMedium) {
  if (::geteuid() != 0) FAIL() << "loop devices need root: run tools/test.sh as root";
  const LoopDevice loop(kProbedSize);
  const auto devices = list_block_devices();
  EXPECT_TRUE(std::ranges::is_sorted(devices));
  EXPECT_EQ(std::ranges::count(devices, loop.path()), 1);
  EXPECT_FALSE(probe_signature(loop.path()));
}

TEST(ListBlockDevices, LeavesOutThoseWithoutAMedium) {
  for (const std::string& path : list_block_devices()) {
    // A loop device of another process may be detached meanwhile.
    const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd || path.starts_with("/dev/loop")) continue;
    EXPECT_GT(::lseek(fd.get(), 0, SEEK_END), 0) << path;
  }
}

}  // namespace
}  // namespace mpool::test
