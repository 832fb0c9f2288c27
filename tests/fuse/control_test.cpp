#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include "fuse/control/control_ops.h"
#include "fuse/control/control_tree.h"
#include "fuse/control/jobs_file.h"
#include "fuse/ops/attributes.h"
#include "fuse/ops/operations.h"
#include "tests/support/bytes_of.h"
#include "tests/support/error_of.h"
#include "tests/support/stepped_clock.h"

namespace mpoolfs {
namespace {

using mpool::FileKind;
using mpool::kRootInode;
using mpool::test::bytes_of;
using mpool::test::error_of;
using testing::ElementsAre;

constexpr mpool::OpenIntent kReading{.read = true};
constexpr mpool::OpenIntent kWriting{.write = true};
constexpr mpool::InodeNumber kNoInode = ControlTree::kDirectory + 100;
constexpr unsigned kDouble = _IOWR('m', 1, std::uint32_t);
constexpr unsigned kCalls = _IOR('m', 2, std::uint64_t);
constexpr unsigned kClear = _IO('m', 3);

// A directory of files that keep what is written to them; "secret" cannot be opened for reading.
class Shelf : public ControlProvider {
 public:
  std::map<Node, std::pair<std::string, std::string>> files;  // name and content, by node

  Info describe(Node node) const override {
    if (node == kSelf) return {.kind = FileKind::directory, .mode = 0550, .uid = 12, .gid = 34};
    const auto found = files.find(node);
    if (found == files.end()) mpool::raise(ESTALE, "shelf", "no node {}", node);
    const auto& [name, content] = found->second;
    return {.mode = name == "secret" ? 0200u : 0640u, .uid = 5, .size = content.size()};
  }
  std::optional<Node> lookup(std::string_view name) const override {
    for (const auto& [node, file] : files) {
      if (file.first == name) return node;
    }
    return std::nullopt;
  }
  void list(Node after, const Take& take) const override {
    for (auto file = files.upper_bound(after); file != files.end(); ++file) {
      if (!take(file->first, file->second.first)) return;
    }
  }
  std::unique_ptr<ControlFile> open(Node node, const mpool::OpenIntent& intent) override {
    std::string& content = files.at(node).second;
    if (intent.truncate) content.clear();
    return std::make_unique<Book>(content);
  }

 private:
  struct Book : ControlFile {
    explicit Book(std::string& content) : content_(content) {}
    std::string read(std::uint64_t offset, std::size_t size) override {
      return offset < content_.size() ? content_.substr(offset, size) : "";
    }
    void write(std::uint64_t offset, mpool::ConstByteSpan data) override {
      if (offset + data.size() > 10) mpool::raise(EFBIG, "shelf", "too long");
      content_.resize(std::max(content_.size(), offset + data.size()));
      std::memcpy(content_.data() + offset, data.data(), data.size());
    }
    std::string& content_;
  };
};

// A file that serves ioctls alone.
class Counter : public ControlProvider {
 public:
  Info describe(Node) const override { return {.mode = 0666}; }
  std::unique_ptr<ControlFile> open(Node, const mpool::OpenIntent&) override {
    return std::make_unique<Handle>(*this);
  }

 private:
  struct Handle : ControlFile {
    explicit Handle(Counter& counter) : counter_(counter) {}
    std::vector<std::byte> ioctl(unsigned command, mpool::ConstByteSpan in) override {
      ++counter_.calls_;
      switch (command) {
        case kDouble: {
          std::uint32_t value = 0;
          std::memcpy(&value, in.data(), sizeof value);
          return as_vector(std::uint32_t{2 * value});
        }
        case kCalls:
          return as_vector(counter_.calls_);
        case kClear:
          counter_.calls_ = 0;
          return {};
        default:
          return ControlFile::ioctl(command, in);
      }
    }
    template <typename T>
    static std::vector<std::byte> as_vector(const T& value) {
      std::vector<std::byte> bytes(sizeof value);
      std::memcpy(bytes.data(), &value, sizeof value);
      return bytes;
    }
    Counter& counter_;
  };
  std::uint64_t calls_ = 0;
};

// A tree of two files, the first of which counts its opens, and one of each provider above.
class ControlTreeTest : public testing::Test {
 protected:
  ControlTreeTest() {
    tree_.add("first", std::make_unique<TextFile>([this] { return std::to_string(++opened_); }));
    tree_.add("second", std::make_unique<TextFile>(
                            []() -> std::string { throw std::runtime_error("no content"); }));
    auto shelf = std::make_unique<Shelf>();
    shelf->files = {{3, {"red", "1234"}}, {7, {"blue", ""}}, {9, {"secret", "key"}}};
    shelf_ = shelf.get();
    tree_.add("shelf", std::move(shelf));
    tree_.add("counter", std::make_unique<Counter>());
  }

  mpool::InodeNumber inode(std::string_view name) const {
    return tree_.lookup(ControlTree::kDirectory, name).value().inode;
  }
  mpool::InodeNumber book(std::string_view name) const {
    return tree_.lookup(inode("shelf"), name).value().inode;
  }
  std::string content(ControlTree::HandleNumber handle) const {
    return tree_.read(handle, 0, 1000);
  }
  std::vector<mpool::DirectoryEntry> entries_of(mpool::InodeNumber directory,
                                                std::uint64_t cookie = 0,
                                                std::size_t most = 100) const {
    std::vector<mpool::DirectoryEntry> entries;
    tree_.read_directory(directory, cookie, [&](const mpool::DirectoryEntry& entry) {
      if (entries.size() == most) return false;
      entries.push_back(entry);
      return true;
    });
    return entries;
  }
  std::vector<std::string> listed(mpool::InodeNumber directory, std::uint64_t cookie = 0,
                                  std::size_t most = 100) const {
    std::vector<std::string> names;
    for (const mpool::DirectoryEntry& entry : entries_of(directory, cookie, most))
      names.emplace_back(entry.name);
    return names;
  }

  int opened_ = 0;
  Shelf* shelf_ = nullptr;
  ControlTree tree_{std::timespec{123, 456}};
};

TEST_F(ControlTreeTest, KnowsItsNamesAndNumbers) {
  EXPECT_TRUE(ControlTree::is_control_name(kRootInode, ".mpool"));
  EXPECT_FALSE(ControlTree::is_control_name(kRootInode, ".mpoo"));
  EXPECT_FALSE(ControlTree::is_control_name(kRootInode, ".mpool2"));
  EXPECT_FALSE(ControlTree::is_control_name(2, ".mpool"));
  EXPECT_TRUE(ControlTree::is_control_name(ControlTree::kDirectory, "anything"));
  EXPECT_TRUE(ControlTree::is_control_name(inode("first"), "anything"));
  EXPECT_TRUE(ControlTree::is_control_name(inode("shelf"), "anything"));
  EXPECT_FALSE(ControlTree::is_control(kRootInode));
  EXPECT_FALSE(ControlTree::is_control(ControlTree::kDirectory - 1));
  EXPECT_TRUE(ControlTree::is_control(kNoInode));
  EXPECT_TRUE(ControlTree::is_control(book("red")));
}

TEST_F(ControlTreeTest, FindsNames) {
  EXPECT_EQ(tree_.lookup(kRootInode, ".mpool").value().inode, ControlTree::kDirectory);
  EXPECT_EQ(tree_.lookup(kRootInode, "other"), std::nullopt);
  EXPECT_EQ(tree_.lookup(ControlTree::kDirectory, ".").value().inode, ControlTree::kDirectory);
  EXPECT_EQ(tree_.lookup(ControlTree::kDirectory, ".mpool"), std::nullopt);
  EXPECT_EQ(tree_.lookup(ControlTree::kDirectory, "third"), std::nullopt);
  const std::set<mpool::InodeNumber> inodes{
      ControlTree::kDirectory, inode("first"), inode("second"), inode("shelf"),
      inode("counter"),        book("red"),    book("blue")};
  EXPECT_EQ(inodes.size(), 7u);
  EXPECT_EQ(error_of([&] { tree_.lookup(inode("first"), "x"); }), ENOTDIR);
  EXPECT_EQ(error_of([&] { tree_.lookup(book("red"), "x"); }), ENOTDIR);
  EXPECT_EQ(error_of([&] { tree_.lookup(kNoInode, "x"); }), ESTALE);
}

TEST_F(ControlTreeTest, FindsNamesOfADirectory) {
  EXPECT_EQ(tree_.lookup(inode("shelf"), ".").value().inode, inode("shelf"));
  EXPECT_EQ(tree_.lookup(inode("shelf"), "..").value().inode, ControlTree::kDirectory);
  EXPECT_EQ(tree_.lookup(inode("shelf"), "green"), std::nullopt);
  EXPECT_EQ(ControlTree::parent_of(book("red")), inode("shelf"));
  EXPECT_EQ(ControlTree::parent_of(inode("shelf")), ControlTree::kDirectory);
  EXPECT_EQ(ControlTree::parent_of(inode("first")), ControlTree::kDirectory);
  EXPECT_EQ(ControlTree::parent_of(ControlTree::kDirectory), kRootInode);
  const mpool::InodeNumber blue = book("blue");
  shelf_->files[8] = {"green", ""};
  shelf_->files.erase(7);
  EXPECT_EQ(tree_.attributes(book("green")).kind, FileKind::empty);
  EXPECT_EQ(tree_.lookup(inode("shelf"), "blue"), std::nullopt);
  EXPECT_EQ(error_of([&] { tree_.attributes(blue); }), ESTALE);
  EXPECT_EQ(error_of([&] { tree_.open(blue, kReading); }), ESTALE);
}

TEST_F(ControlTreeTest, ShowsAttributesThatNeverChange) {
  const Presentation presentation{.uid = std::nullopt, .gid = 7};
  const mpool::Attributes directory = tree_.attributes(ControlTree::kDirectory);
  const struct stat shown = to_stat(directory, presentation);
  EXPECT_EQ(shown.st_mode, mode_t{S_IFDIR | 0555});
  EXPECT_EQ(shown.st_nlink, 2u);
  EXPECT_EQ(shown.st_uid, 0u);
  EXPECT_EQ(shown.st_gid, 7u);
  EXPECT_EQ(shown.st_mtim.tv_sec, 123);
  EXPECT_EQ(shown.st_ctim.tv_nsec, 456);

  const mpool::Attributes file = tree_.attributes(inode("second"));
  EXPECT_EQ(to_stat(file, presentation).st_mode, mode_t{S_IFREG | 0444});
  EXPECT_EQ(file.inode, inode("second"));
  EXPECT_EQ(file.size, 0u);
  for (const mpool::Attributes& attributes : {directory, file}) {
    EXPECT_TRUE(ControlTree::is_permanent(attributes.inode));
    EXPECT_EQ(attribute_timeout(attributes), kForever);
    EXPECT_EQ(entry_timeout(attributes), kForever);
  }
  EXPECT_EQ(error_of([&] { tree_.attributes(kNoInode); }), ESTALE);
  EXPECT_EQ(error_of([&] { tree_.attributes(inode("first") + 1); }), ESTALE);
  EXPECT_EQ(error_of([&] { tree_.attributes(~mpool::InodeNumber{0}); }), ESTALE);
  EXPECT_EQ(error_of([&] { tree_.attributes(kRootInode); }), ESTALE);
}

TEST_F(ControlTreeTest, ShowsTheAttributesOfProviders) {
  const Presentation none{};
  const struct stat directory = to_stat(tree_.attributes(inode("shelf")), none);
  EXPECT_EQ(directory.st_mode, mode_t{S_IFDIR | 0550});
  EXPECT_EQ(directory.st_nlink, 2u);
  EXPECT_EQ(directory.st_uid, 12u);
  EXPECT_EQ(directory.st_gid, 34u);
  const struct stat file = to_stat(tree_.attributes(book("red")), none);
  EXPECT_EQ(file.st_mode, mode_t{S_IFREG | 0640});
  EXPECT_EQ(file.st_uid, 5u);
  EXPECT_EQ(file.st_size, 4);
  EXPECT_EQ(file.st_ino, book("red"));
  EXPECT_TRUE(ControlTree::is_permanent(inode("shelf")));
  EXPECT_FALSE(ControlTree::is_permanent(book("red"))) << "may come and go";
}

TEST_F(ControlTreeTest, ListsFromAnyPlace) {
  constexpr auto kTop = ControlTree::kDirectory;
  EXPECT_THAT(listed(kTop), ElementsAre("first", "second", "shelf", "counter"));
  EXPECT_THAT(listed(kTop, 0, 1), ElementsAre("first"));
  EXPECT_THAT(listed(inode("shelf")), ElementsAre("red", "blue", "secret"));
  EXPECT_THAT(listed(inode("shelf"), 0, 1), ElementsAre("red"));
  for (const mpool::InodeNumber directory : {kTop, inode("shelf")}) {
    const auto entries = entries_of(directory);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      EXPECT_GT(entries[i].cookie, 2u) << "1 and 2 are of the dots";
      EXPECT_EQ(entries[i].inode, tree_.lookup(directory, entries[i].name).value().inode);
      EXPECT_EQ(entries[i].kind, tree_.attributes(entries[i].inode).kind);
      EXPECT_EQ(listed(directory, entries[i].cookie).size(), entries.size() - i - 1);
    }
    EXPECT_TRUE(listed(directory, ~std::uint64_t{0}).empty());
  }
  shelf_->files.erase(3);
  EXPECT_THAT(listed(inode("shelf"), 5), ElementsAre("blue", "secret")) << "after one that is gone";
  EXPECT_EQ(error_of([&] { listed(inode("first")); }), ENOTDIR);
  EXPECT_EQ(error_of([&] { listed(book("blue")); }), ENOTDIR);
}

TEST_F(ControlTreeTest, KeepsTheContentOfEachOpening) {
  const auto one = tree_.open(inode("first"), kReading);
  const auto two = tree_.open(inode("first"), kReading);
  EXPECT_NE(one, two);
  EXPECT_EQ(content(one), "1");
  EXPECT_EQ(content(two), "2");
  EXPECT_EQ(tree_.open_count(), 2u);
  tree_.close(one);
  EXPECT_EQ(error_of([&] { content(one); }), EBADF);
  EXPECT_EQ(error_of([&] { tree_.write(one, 0, {}); }), EBADF);
  EXPECT_EQ(error_of([&] { tree_.ioctl(one, kClear, {}, 0); }), EBADF);
  EXPECT_EQ(content(two), "2");
  tree_.close(two);
  tree_.close(two);
  EXPECT_EQ(tree_.open_count(), 0u);
}

TEST_F(ControlTreeTest, OpensAsTheModeAllows) {
  EXPECT_EQ(error_of([&] { tree_.open(inode("first"), {.read = true, .write = true}); }), EACCES);
  EXPECT_EQ(error_of([&] { tree_.open(inode("first"), {.read = true, .truncate = true}); }),
            EACCES);
  EXPECT_EQ(error_of([&] { tree_.open(book("secret"), kReading); }), EACCES);
  EXPECT_EQ(error_of([&] { tree_.open(ControlTree::kDirectory, kReading); }), EISDIR);
  EXPECT_EQ(error_of([&] { tree_.open(inode("shelf"), kReading); }), EISDIR);
  EXPECT_EQ(error_of([&] { tree_.open(kNoInode, kReading); }), ESTALE);
  EXPECT_EQ(opened_, 0);
  EXPECT_THROW(tree_.open(inode("second"), kReading), std::runtime_error);
  EXPECT_EQ(tree_.open_count(), 0u);
}

TEST_F(ControlTreeTest, WritesWhatTheProviderTakes) {
  const auto handle = tree_.open(book("red"), {.read = true, .write = true});
  tree_.write(handle, 2, bytes_of("xyz"));
  EXPECT_EQ(content(handle), "12xyz");
  EXPECT_EQ(tree_.attributes(book("red")).size, 5u);
  EXPECT_EQ(error_of([&] { tree_.write(handle, 9, bytes_of("xy")); }), EFBIG);
  tree_.open(book("red"), {.write = true, .truncate = true});
  EXPECT_EQ(content(handle), "");
  const auto secret = tree_.open(book("secret"), kWriting);
  tree_.write(secret, 0, bytes_of("new"));
  EXPECT_EQ(shelf_->files[9].second, "new");
}

TEST_F(ControlTreeTest, ServesIoctlsOfTheRightSizes) {
  const auto handle = tree_.open(inode("counter"), kReading);
  const std::uint32_t four = 4;
  const mpool::ConstByteSpan in = mpool::as_bytes(&four, sizeof four);
  const auto out = tree_.ioctl(handle, kDouble, in, sizeof four);
  std::uint32_t eight = 0;
  ASSERT_EQ(out.size(), sizeof eight);
  std::memcpy(&eight, out.data(), sizeof eight);
  EXPECT_EQ(eight, 8u);
  EXPECT_EQ(tree_.ioctl(handle, kCalls, {}, 8).size(), 8u);
  EXPECT_TRUE(tree_.ioctl(handle, kClear, {}, 0).empty());
  EXPECT_EQ(error_of([&] { tree_.ioctl(handle, kDouble, in.first(3), 4); }), EINVAL);
  EXPECT_EQ(error_of([&] { tree_.ioctl(handle, kDouble, in, 0); }), EINVAL);
  EXPECT_EQ(error_of([&] { tree_.ioctl(handle, kDouble, {}, 4); }), EINVAL);
  EXPECT_EQ(error_of([&] { tree_.ioctl(handle, kCalls, in, 8); }), EINVAL);
  EXPECT_EQ(error_of([&] { tree_.ioctl(handle, kClear, {}, 4); }), EINVAL);
  EXPECT_EQ(error_of([&] { tree_.ioctl(handle, _IO('m', 9), {}, 0); }), ENOTTY);
}

TEST_F(ControlTreeTest, RefusesWhatAProviderDoesNotServe) {
  const auto counter = tree_.open(inode("counter"), {.read = true, .write = true});
  EXPECT_EQ(error_of([&] { content(counter); }), EPERM);
  EXPECT_EQ(error_of([&] { tree_.write(counter, 0, bytes_of("1")); }), EPERM);
  const auto text = tree_.open(inode("first"), kReading);
  EXPECT_EQ(error_of([&] { tree_.ioctl(text, kClear, {}, 0); }), ENOTTY);
}

// --- files of text ---

TEST(TextFile, IsReadInParts) {
  TextFile file([] { return "content"; });
  EXPECT_EQ(file.describe(TextFile::kSelf).mode, 0444u);
  const auto open = file.open(TextFile::kSelf, kReading);
  EXPECT_EQ(open->read(0, 100), "content");
  EXPECT_EQ(open->read(2, 3), "nte");
  EXPECT_EQ(open->read(6, 3), "t");
  EXPECT_EQ(open->read(7, 3), "");
  EXPECT_EQ(open->read(~std::uint64_t{0}, 3), "");
}

TEST(TextFile, TakesLinesAsCommands) {
  std::vector<std::string> lines;
  int generated = 0;
  TextFile file([&] { return std::to_string(++generated); },
                [&](std::string_view line) {
                  if (line == "bad") mpool::raise(EINVAL, "test", "bad");
                  lines.emplace_back(line);
                });
  EXPECT_EQ(file.describe(TextFile::kSelf).mode, 0644u);
  const auto open = file.open(TextFile::kSelf, kWriting);
  EXPECT_EQ(generated, 0);
  open->write(0, bytes_of("one\n"));
  open->write(7, bytes_of("two\n\nthree"));
  open->write(0, {});
  EXPECT_THAT(lines, ElementsAre("one", "two", "three"));
  EXPECT_EQ(error_of([&] { open->write(0, bytes_of("four\nbad\nfive\n")); }), EINVAL);
  EXPECT_EQ(lines.back(), "four");
}

TEST(JobsFile, ShowsAndCommandsJobs) {
  mpool::test::SteppedClock clock;
  mpool::JobScheduler jobs(clock);
  const mpool::Job job(jobs, {.name = "copy", .bytes_per_second = 5},
                       [](mpool::JobOrder) { return mpool::JobStep{}; });
  const auto file = make_jobs_file(jobs);
  const auto write = [&](std::string_view line) {
    file->open(ControlProvider::kSelf, kWriting)->write(0, bytes_of(line));
  };
  const auto text = [&] { return file->open(ControlProvider::kSelf, kReading)->read(0, 1000); };
  EXPECT_THAT(text(), testing::MatchesRegex("name +state +priority +done +total +bytes +bytes/s\n"
                                            "copy +idle +normal +0 +0 +0 +5\n"));
  write("pause copy\n");
  EXPECT_THAT(text(), testing::HasSubstr("paused"));
  write("resume copy\ncancel copy\n");
  EXPECT_THAT(text(), testing::HasSubstr("idle"));
  EXPECT_EQ(error_of([&] { write("pause other\n"); }), ENOENT);
  for (const char* wrong : {"stop copy\n", "pause\n", "copy\n", " pause copy\n"}) {
    const int expected = std::string_view(wrong) == "pause\n" ? ENOENT : EINVAL;
    EXPECT_EQ(error_of([&] { write(wrong); }), expected) << wrong;
  }
}

// --- the table ---

// For operations missing in the table the library answers ENOSYS for the whole mount: that must
// stay so. control_ioctl() answers it for all other inodes.
TEST(OperationsWithControl, HasWhatTheTableHas) {
  const fuse_lowlevel_ops& inner = operations();
  const fuse_lowlevel_ops& outer = operations_with_control();
  EXPECT_EQ(inner.copy_file_range == nullptr, outer.copy_file_range == nullptr);
  EXPECT_EQ(inner.lseek == nullptr, outer.lseek == nullptr);
  EXPECT_EQ(inner.ioctl, nullptr);
  EXPECT_NE(outer.ioctl, nullptr);
  EXPECT_EQ(inner.write_buf == nullptr, outer.write_buf == nullptr);
  EXPECT_EQ(inner.access, outer.access);
  EXPECT_EQ(inner.init, outer.init);
  EXPECT_EQ(inner.opendir, outer.opendir);
  EXPECT_NE(inner.read, outer.read);
  EXPECT_NE(inner.write, outer.write);
}

}  // namespace
}  // namespace mpoolfs
