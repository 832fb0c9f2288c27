// The picture of mpool map show, and what mpool map refuses. Maps of mounts: tests/mount/maps.py.
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "tests/tools/support.h"
#include "tools/commands.h"
#include "tools/map_picture.h"

namespace mpool::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

ObjectId picture_id(std::uint64_t number) {
  return ObjectId::make(number, ObjectType::mblock, 1);
}

MapFacts picture_map(std::uint64_t members, std::uint64_t stride) {
  return {.name = "m", .members = members, .stride = stride, .advice = Advice::hot, .native = true};
}

TEST(MapPicture, HasARowForEachMember) {
  const MapFacts map = picture_map(3, 16 * kPageSize);
  const PictureLayout layout = layout_picture(map, 50);
  ASSERT_EQ(layout.columns, 8u);
  ASSERT_EQ(layout.step, 2 * kPageSize);
  const std::vector<MapSession::Member> members = {{picture_id(1), 16 * kPageSize},
                                                   {picture_id(2), 5 * kPageSize},
                                                   {picture_id(3), 16 * kPageSize}};
  std::vector<std::uint32_t> cells(24, 0);
  for (std::size_t i = 0; i < 8; ++i)
    cells[i] = 2;
  cells[8] = 2;
  cells[10] = 2;  // one page of content and one of zeros
  cells[17] = 1;
  std::ostringstream out;
  draw_picture(out, map, members, cells, layout, PictureStyle::ascii);
  EXPECT_THAT(out.str(), StartsWith("MEMBER ID               CONTENT |        | IN MEMORY\n"));
  EXPECT_THAT(out.str(), HasSubstr("|########| 100%\n"));
  EXPECT_THAT(out.str(), HasSubstr("|#.#     |  60%\n"));
  EXPECT_THAT(out.str(), HasSubstr("|.+......|   6%\n"));
  EXPECT_THAT(out.str(), HasSubstr("Total:     20 of 37 pages"));
  EXPECT_THAT(out.str(), HasSubstr("hot; the kernel reads it by itself"));
  std::ostringstream unicode;
  draw_picture(unicode, map, members, cells, layout, PictureStyle::unicode);
  EXPECT_THAT(unicode.str(), HasSubstr("|█·█     |"));
}

TEST(MapPicture, TellsLittleFromNothing) {
  const MapFacts map = picture_map(2, 1024 * kPageSize);
  const PictureLayout layout = layout_picture(map, 50);
  const std::vector<MapSession::Member> members(2, {picture_id(1), 1024 * kPageSize});
  std::vector<std::uint32_t> cells(16, 0);
  cells[3] = 1;
  std::ostringstream out;
  draw_picture(out, map, members, cells, layout, PictureStyle::ascii);
  EXPECT_THAT(out.str(), HasSubstr("|...-....|  <1%\n"));
  EXPECT_THAT(out.str(), HasSubstr("|........|   0%\n"));
  EXPECT_THAT(out.str(), HasSubstr("4 KiB of 8 MiB (<1%)"));
}

TEST(MapPicture, JoinsTheRowsOfVeryManyMembers) {
  const MapFacts map = picture_map(1000, kPageSize);
  const PictureLayout layout = layout_picture(map, 120);
  EXPECT_EQ(layout.columns, 1u);
  EXPECT_EQ(layout.members_per_row, 16u);
  const std::vector<MapSession::Member> members(1000, {picture_id(1), kPageSize});
  std::vector<std::uint32_t> cells(1000, 0);
  for (std::size_t i = 0; i < 4; ++i)
    cells[i] = 1;
  std::ostringstream out;
  draw_picture(out, map, members, cells, layout, PictureStyle::ascii);
  EXPECT_THAT(out.str(), HasSubstr("     0 to 15"));
  EXPECT_THAT(out.str(), HasSubstr("|-|  25%\n"));
  EXPECT_THAT(out.str(), HasSubstr("   992 to 999"));
}

TEST(MapCommand, TellsWhatIsWrong) {
  const test::TemporaryDirectory directory;
  const std::string image = directory / "pool";
  make_pool("idle", image);
  const auto expect = [](const std::vector<std::string>& arguments, int status, const char* text) {
    const Result result = mpool_command(arguments);
    EXPECT_EQ(result.status, status);
    EXPECT_THAT(result.err, HasSubstr(text));
  };
  expect({"map", "list", image}, kFailure, "pool idle: is not mounted: maps");
  expect({"map", "list", directory / "."}, kFailure, "no pool is mounted there");
  expect({"map", "create", image, "name"}, kUsage, "MEMBER");
  expect({"map", "draw", image}, kUsage, "draw");
  expect({"map", "advise", image, "name", "lukewarm"}, kUsage, "not cold, warm, hot or pinned");
  expect({"map", "rm", "--advice", "hot", image, "name"}, kUsage, "rm takes no --advice");
  expect({"map", "show", "--advice", "hot", image, "name"}, kUsage, "show takes no --advice");
  expect({"map", "purge", "--json", image, "name"}, kUsage, "purge takes no --json");
  expect({"map", "create", "--advice=x", image, "name", "0x101"}, kUsage, "not cold, warm");
}

}  // namespace
}  // namespace mpool::tools
