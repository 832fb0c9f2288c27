// What the kernel and erofs-utils read in EROFS images.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/fuse/erofs_support.h"

namespace mpoolfs {
namespace {

using mpool::FileDescriptor;
using mpool::test::TemporaryDirectory;
using test::build;
using test::Bytes;
using test::expect_mounted_as_model;
using test::expect_same;
using test::Files;
using test::kBlock;
using test::kGiB;
using test::kMiB;
using test::kTiB;
using test::model;
using test::Mounted;
using test::name_of;
using test::random_content;
using test::random_devices;
using test::read_from;
using test::sizes_of;
using test::write_file;

// Files of every kind, for the kernel and the programs of erofs-utils.
Files some_files() {
  return {
      {"contiguous", {4 * kMiB, {{0, kMiB, 0, kMiB}, {kMiB, 3 * kMiB, 0, 2 * kMiB}}}},
      {"hole", {4 * kMiB, {{0, kMiB, 0, 0}, {3 * kMiB, kMiB, 0, kMiB}}}},
      {"hole_first", {2 * kMiB, {{kMiB, kMiB, 0, 5 * kMiB}}}},
      {"hole_last", {3 * kMiB - 5, {{0, kBlock, 1, 0}}}},
      {"scattered",
       {3 * kMiB, {{0, kMiB, 0, 3 * kMiB}, {kMiB, kMiB, 0, kMiB}, {2 * kMiB, kMiB, 0, 0}}}},
      {"small_chunks", {kMiB + 5, {{0, 3 * kBlock, 0, 0}, {3 * kBlock, kMiB, 1, 7 * kBlock}}}},
      {"tiny", {1, {{0, 1, 0, 7 * kMiB}}}},
      {"two_devices",
       {2 * kMiB + 9, {{0, kMiB, 1, kMiB}, {kMiB, kMiB, 0, 0}, {2 * kMiB, 9, 1, 0}}}},
      {"unaligned_end", {kMiB - 1, {{0, kMiB - 1, 0, 2 * kMiB}}}},
  };
}

// A file of one block for each of `count` names.
Files many_files(std::size_t count, std::size_t device_blocks) {
  Files files;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = name_of(i * 0x9E3779B97F4A7C15);
    files[name] = {kBlock - i % 7, {{0, kBlock, 0, i * 31 % device_blocks * kBlock}}};
  }
  return files;
}

TEST(ErofsKernel, FilesTheKernelReads) {
  expect_mounted_as_model(some_files(), random_devices({8 * kMiB, 2 * kMiB}));
}

TEST(ErofsKernel, OneFileTheKernelReads) {
  expect_mounted_as_model({{"x", {kBlock + 1, {{0, kBlock + 1, 0, kBlock}}}}},
                          random_devices({kMiB}));
}

TEST(ErofsKernel, ManyFilesTheKernelReads) {
  expect_mounted_as_model(many_files(3000, 256), random_devices({kMiB}));
}

TEST(ErofsKernel, NamesOfAnyLengthTheKernelReads) {
  // Every number of names a block may end with, the block exactly full among them.
  Files files;
  std::mt19937_64 random(3);
  for (int i = 0; i < 600; ++i) {
    std::string name(1 + random() % 64, '0');
    for (char& c : name)
      c = static_cast<char>('0' + random() % ('~' - '0' + 1));
    files[name] = {kBlock, {{0, kBlock, 0, random() % 256 * kBlock}}};
  }
  expect_mounted_as_model(files, random_devices({kMiB}));
}

TEST(ErofsKernel, ADirectoryBlockThatIsExactlyFull) {
  // "." and ".." take 27 bytes, 53 names of 64 characters 76 each; 41 are left for one of 29.
  Files files;
  const auto add = [&files](int number, std::size_t length) {
    std::string name = fmt::format("{:03}", number);
    name.resize(length, 'x');
    files[name] = {kBlock, {{0, kBlock, 0, 0}}};
  };
  for (int i = 0; i < 53; ++i)
    add(i, 64);
  add(53, 29);
  for (int i = 54; i < 60; ++i)
    add(i, 64);
  const ErofsImage image = build(files, {kMiB});
  EXPECT_EQ(image.bytes[image.bytes.size() - kBlock - 1], std::byte{'x'});
  expect_mounted_as_model(files, random_devices({kMiB}));
}

TEST(ErofsKernel, RandomFilesTheKernelReads) {
  const std::vector<Bytes> devices = random_devices({2 * kMiB, kMiB});
  std::mt19937_64 random(11);
  for (int round = 0; round < 2; ++round) {
    Files files;
    for (std::uint64_t i = 0; i < 60; ++i)
      files[name_of(i)] = random_content(random, devices);
    expect_mounted_as_model(files, devices);
  }
}

TEST(ErofsKernel, FilesThatCannotBeShownAreLeftOut) {
  Files files = many_files(400, 256);
  std::size_t number = 0;
  for (auto& [name, content] : files) {
    if (number++ % 3 == 0) content.pieces[0].device_offset += 512;
  }
  const ErofsImage image = build(files, {kMiB});
  const mpool::test::LoopDevice data(kMiB);
  const Mounted mounted(image, {data.path()});
  std::vector<std::string> shown;
  number = 0;
  for (const auto& [name, content] : files) {
    EXPECT_EQ(image.places[number].shown(), number % 3 != 0);
    if (number++ % 3 != 0) shown.push_back(name);
  }
  EXPECT_EQ(mounted.names(), shown);
  EXPECT_EQ(build({}, {kMiB}).places.size(), 0);
  EXPECT_TRUE(Mounted(build({}, {kMiB}), {data.path()}).names().empty());
}

TEST(ErofsKernel, FarBlocksAndLargeFilesTheKernelReads) {
  // Block numbers of more than 31 bits, chunks of the greatest size: a device that is mostly a
  // hole.
  const mpool::test::LoopDevice data(12 * kTiB);
  const FileDescriptor device(::open(data.path().c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  ASSERT_TRUE(device);
  const std::uint64_t begin = 12 * kTiB - 3 * kGiB;
  const auto offsets = {std::uint64_t{0}, kGiB - kBlock, kGiB, 2 * kGiB, 3 * kGiB - kBlock};
  for (const std::uint64_t offset : offsets) {
    const mpool::AlignedBuffer block =
        mpool::test::page_pattern(1, static_cast<unsigned>(offset >> 12));
    ASSERT_EQ(::pwrite(device.get(), block.data(), kBlock, static_cast<off_t>(begin + offset)),
              kBlock);
  }
  const Mounted mounted(build({{"large", {3 * kGiB, {{0, 3 * kGiB, 0, begin}}}}}, {12 * kTiB}),
                        {data.path()});
  for (const std::uint64_t offset : offsets) {
    const mpool::AlignedBuffer block =
        mpool::test::page_pattern(1, static_cast<unsigned>(offset >> 12));
    const Bytes direct = read_from(mounted.open_direct("large"), offset, kBlock);
    EXPECT_TRUE(mpool::test::same(direct, block.span())) << offset;
    const Bytes buffered = read_from(mounted.open("large"), offset, kBlock);
    EXPECT_TRUE(mpool::test::same(buffered, block.span())) << offset;
  }
}

// An image and its data devices as files, and the output of the programs of erofs-utils.
class Programs {
 public:
  Programs(const Files& files, const std::vector<Bytes>& devices) {
    write_file(directory_ / "image", build(files, sizes_of(devices)).bytes);
    for (const Bytes& device : devices) {
      const std::string path = directory_ / fmt::format("device{}", devices_++);
      write_file(path, device);
      options_ += " --device=" + path;
    }
  }

  // Runs it with the image; fails unless it succeeds without a message. Returns its output.
  std::string run(const std::string& command) const {
    const std::string output = directory_ / "output";
    mpool::test::run(
        fmt::format("{}{} {} > {} 2>&1", command, options_, directory_ / "image", output));
    std::ifstream stream(output);
    std::string text{std::istreambuf_iterator<char>(stream), {}};
    EXPECT_EQ(text.find("<E>"), std::string::npos) << command << ": " << text;
    return text;
  }

  std::string extract() const {
    const std::string target = directory_ / "extracted";
    run("fsck.erofs --extract=" + target);
    return target;
  }

 private:
  TemporaryDirectory directory_;
  std::string options_;
  unsigned devices_ = 0;
};

TEST(ErofsKernel, ErofsUtilsAgree) {
  const std::vector<Bytes> devices = random_devices({8 * kMiB, 2 * kMiB});
  Files files = some_files();
  // fsck.erofs 1.5 omits holes in extracted files.
  std::erase_if(files, [](const auto& file) { return file.first.starts_with("hole"); });
  const Programs programs(files, devices);
  const std::string super = programs.run("dump.erofs -s");
  EXPECT_NE(super.find("inode count:                       7\n"), std::string::npos) << super;
  const std::string root = programs.run("dump.erofs --ls --nid=0");
  const std::string extracted = programs.extract();
  for (const auto& [name, content] : files) {
    EXPECT_NE(root.find(" " + name + "\n"), std::string::npos) << root;
    const FileDescriptor file(::open((extracted + "/" + name).c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(file) << name;
    expect_same(read_from(file, 0, content.size), model(content, devices), name);
  }
}

TEST(ErofsKernel, ErofsUtilsAgreeOnManyFiles) {
  const Programs programs(many_files(3000, 256), random_devices({kMiB}));
  programs.run("fsck.erofs");
  EXPECT_NE(programs.run("dump.erofs -S").find("3000"), std::string::npos);
}

}  // namespace
}  // namespace mpoolfs
