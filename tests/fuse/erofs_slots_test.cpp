// Files that are added to a mounted image, as the kernel reads them.
#include "fuse/native/erofs_slots.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fuse/erofs_support.h"

namespace mpoolfs {
namespace {

using test::Bytes;
using test::Content;
using test::expect_same;
using test::kBlock;
using test::kGiB;
using test::kMiB;
using test::random_content;
using test::random_devices;
using test::read_from;
using test::sizes_of;

TEST(ErofsSlots, FilesAddedToAMountedImageTheKernelReads) {
  const std::vector<Bytes> devices = random_devices({2 * kMiB, kMiB});
  const test::DataLoops loops(devices);
  const View view(build_erofs_slots(sizes_of(devices)), loops.paths,
                  View::Room{.size = kErofsSlotsSize, .read_ahead = 128 << 10});
  std::mt19937_64 random(5);
  std::vector<Content> files;
  for (unsigned slot = 0; slot < kErofsSlots; slot += slot == 20 ? 490 : 1) {
    const Content& file = files.emplace_back(random_content(random, devices));
    const auto bytes = build_erofs_slot(slot, {"any", file.size, file.pieces}, sizes_of(devices));
    ASSERT_FALSE(bytes.empty());
    view.write(erofs_slot_offset(slot), bytes);
    const auto opened = view.open(erofs_slot_name(slot));
    expect_same(read_from(opened, 0, file.size), test::model(file, devices), erofs_slot_name(slot));
  }
  view.discard(erofs_slot_offset(0), kErofsSlotSize);
  for (unsigned slot = 1; slot <= 20; ++slot) {
    const auto opened = view.open(erofs_slot_name(slot));
    expect_same(read_from(opened, 0, files[slot].size), test::model(files[slot], devices),
                erofs_slot_name(slot));
  }
}

TEST(ErofsSlots, HaveRoomForAGibibyteInBlocks) {
  const std::vector<std::uint64_t> devices{2 * kGiB};
  const std::vector<ErofsPiece> pieces{{0, kBlock, 0, 0}, {2 * kBlock, kGiB - 2 * kBlock, 0, kMiB}};
  EXPECT_EQ(build_erofs_slot(0, {"a", kGiB, pieces}, devices).size(),
            64 + kGiB / kBlock * sizeof(std::uint64_t));
  EXPECT_TRUE(build_erofs_slot(0, {"a", 2 * kGiB, pieces}, devices).empty());
  const std::vector<ErofsPiece> unaligned{{0, kBlock, 0, 512}};
  EXPECT_TRUE(build_erofs_slot(0, {"a", kBlock, unaligned}, devices).empty());
}

}  // namespace
}  // namespace mpoolfs
