// Append-only files with a damaged or missing part.
#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

constexpr int kLines = 100;
constexpr std::uint64_t kBlock = 512;
constexpr std::uint64_t kBlocksOfAnMlog = kZoneSize / kBlock;

std::string line(int number) {
  return fmt::format("{:0999}\n", number);
}

// A tree with a file and a log, unmounted; and the location of the log on the device.
class DamagedLog : public testing::Test {
 protected:
  DamagedLog() {
    tree.put("file", "precious");
    for (int i = 0; i < kLines; ++i) {
      tree.append("log", line(i));
      content += line(i);
      tree.names().sync();
    }
    for (const ObjectRecord& object : tree.pool().objects()) {
      if (object.id.is_mlog() && object.id != root_log_id(0) && object.id != root_log_id(1)) {
        start.push_back(tree.pool().offset_of(object));
      }
    }
    std::ranges::sort(start);
    tree.unmount();
  }
  // Changes a bit of a block of the log on the media.
  void flip(std::uint64_t block, std::uint64_t byte) {
    const std::uint64_t at =
        start.at(block / kBlocksOfAnMlog) + block % kBlocksOfAnMlog * kBlock + byte;
    std::vector<std::byte> page(kPageSize);
    const std::uint64_t page_at = round_down(at, kPageSize);
    tree.media()->read(page_at, page);
    page[at - page_at] ^= std::byte{1};
    tree.media()->write(page_at, page);
  }
  std::uint64_t last_block() const {
    std::vector<std::byte> mlog(kZoneSize);
    tree.media()->read(start.back(), mlog);
    std::uint64_t last = kBlocksOfAnMlog;
    while (mlog[--last * kBlock] == std::byte{0}) {
    }
    return (start.size() - 1) * kBlocksOfAnMlog + last;
  }
  // The readable content of the log, up to the error that must follow.
  std::string readable() {
    const ScopedFile file(tree.open("log", {.read = true}));
    std::string text;
    std::string part(1000, '\0');
    const int code = errno_of([&] {
      for (std::size_t got = 1; got != 0; text.append(part, 0, got)) {
        got = file->read(text.size(), {reinterpret_cast<std::byte*>(part.data()), part.size()});
      }
    });
    EXPECT_EQ(code, EIO);
    return text;
  }
  void expect_damaged() {
    EXPECT_EQ(tree.list(""), (std::vector<std::string>{"file", "log"}));
    EXPECT_EQ(tree.stat("log").size, content.size());
    EXPECT_EQ(tree.get("file"), "precious");
    EXPECT_TRUE(content.starts_with(readable()));
    EXPECT_EQ(errno_of([&] { tree.append("log", "more"); }), EIO);
    EXPECT_EQ(tree.stat("log").size, content.size());
  }

  TestTree tree;
  std::string content;
  std::vector<std::uint64_t> start;
};

TEST_F(DamagedLog, IsReadUpToTheDamageAndIsWholeWhenTheBlockIsBack) {
  for (const std::uint64_t block :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{30}, kBlocksOfAnMlog, last_block()}) {
    for (const std::uint64_t byte : {5, 25, 33}) {  // magic, previous flush set, generation
      SCOPED_TRACE(testing::Message() << "block " << block << " byte " << byte);
      flip(block, byte);
      tree.mount();
      expect_damaged();
      tree.remount();
      expect_damaged();
      tree.unmount();
      flip(block, byte);
    }
  }
  tree.mount();
  EXPECT_TRUE(tree.get("log") == content);
  tree.append("log", "more");
  EXPECT_TRUE(tree.get("log") == content + "more");
}

// Also after a crash, and on every later examination.
TEST_F(DamagedLog, ALostEndIsNoTornFlush) {
  flip(last_block(), 5);
  tree.mount();
  tree.mkdir("directory");
  tree.names().sync();
  TestTree crashed(std::make_shared<Media>(*tree.media()), {});
  EXPECT_EQ(crashed.stat("log").size, content.size());
  EXPECT_EQ(errno_of([&] { crashed.append("log", "more"); }), EIO);
  crashed.remount();
  EXPECT_EQ(errno_of([&] { crashed.append("log", "more"); }), EIO);
}

TEST_F(DamagedLog, NamesAndAttributesChange) {
  flip(30, 46);  // the type of the block's first chunk
  tree.mount();
  expect_damaged();
  AttributeChange change;
  change.mode = 0600;
  EXPECT_EQ(tree.names().set_attributes(tree.stat("log").inode, change).mode, 0600u);
  tree.names().set_xattr(tree.stat("log").inode, "user.x", "1", 0);
  tree.names().link(tree.stat("log").inode, kRootInode, "hard");
  tree.rename("log", "other");
  tree.rename("other", "log");
  tree.unlink("hard");
  tree.append("sound", "text");
  tree.names().sync();
  EXPECT_EQ(tree.get("sound"), "text");
  EXPECT_EQ(errno_of([&] { tree.append("log", "more"); }), EIO);
}

TEST_F(DamagedLog, CanBeEmptied) {
  flip(30, 46);
  tree.mount();
  tree.names().truncate(tree.stat("log").inode, 0);
  tree.append("log", "new");
  EXPECT_EQ(tree.get("log"), "new");
  tree.remount();
  EXPECT_EQ(tree.get("log"), "new");
}

TEST_F(DamagedLog, CanBeRemovedAndReplaced) {
  flip(30, 46);
  tree.mount();
  tree.put("next", "text");
  tree.rename("next", "log");
  EXPECT_EQ(tree.get("log"), "text");
  tree.remove_all();
  tree.names().sync();
  EXPECT_EQ(tree.pool().object_count(), 2u);  // the root MDC's
}

}  // namespace
}  // namespace mpool::test
