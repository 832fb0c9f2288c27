// Images are checked by rules, by the programs of erofs-utils and by the kernel, which mounts them.
#include "fuse/native/erofs_image.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "engine/io/file_descriptor.h"
#include "fuse/native/view.h"
#include "tests/engine/io/support.h"

namespace mpoolfs {
namespace {

using mpool::FileDescriptor;
using mpool::raise_system;
using mpool::test::LoopDevice;
using mpool::test::TemporaryDirectory;

constexpr std::uint64_t kBlock = 4096;
constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kGiB = 1 << 30;
constexpr std::uint64_t kTiB = kGiB << 10;

using Bytes = std::vector<std::byte>;

// Files that own the memory that ErofsFile refers to, by name.
struct Content {
  std::uint64_t size = 0;
  std::vector<ErofsPiece> pieces;
};
using Files = std::map<std::string, Content>;

std::vector<ErofsFile> views_of(const Files& files) {
  std::vector<ErofsFile> views;
  for (const auto& [name, content] : files)
    views.push_back({name, content.size, content.pieces});
  return views;
}

ErofsImage build(const Files& files, const std::vector<std::uint64_t>& device_sizes) {
  return build_erofs_image(views_of(files), device_sizes);
}

// 0: the file cannot be shown.
unsigned chunk_bits(const Content& content, const std::vector<std::uint64_t>& device_sizes) {
  return erofs_chunk_bits({"file", content.size, content.pieces}, device_sizes).value_or(0);
}

// As the namespace names files: sorted by number.
std::string name_of(std::uint64_t number) {
  return fmt::format("{:016x}", number);
}

// Data devices of random bytes, the same each time.
std::vector<Bytes> random_devices(std::initializer_list<std::uint64_t> sizes) {
  std::mt19937_64 random(42);
  std::vector<Bytes> devices;
  for (const std::uint64_t size : sizes) {
    Bytes& bytes = devices.emplace_back(size);
    for (std::uint64_t at = 0; at < size; at += 8)
      mpool::store_le<std::uint64_t>(bytes, at, random());
  }
  return devices;
}

std::vector<std::uint64_t> sizes_of(const std::vector<Bytes>& devices) {
  std::vector<std::uint64_t> sizes;
  for (const Bytes& device : devices)
    sizes.push_back(device.size());
  return sizes;
}

// The expected content of a file.
Bytes model(const Content& content, const std::vector<Bytes>& devices) {
  Bytes bytes(content.size);
  for (const ErofsPiece& piece : content.pieces) {
    if (piece.file_offset >= content.size) break;
    std::copy_n(devices[piece.device].data() + piece.device_offset,
                std::min(piece.length, content.size - piece.file_offset),
                bytes.data() + piece.file_offset);
  }
  return bytes;
}

void write_file(const std::string& path, const Bytes& bytes) {
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!file) raise_system(errno, path, "open");
  for (std::size_t done = 0; done < bytes.size();) {
    const ::ssize_t written = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    if (written <= 0) raise_system(errno, path, "write");
    done += static_cast<std::size_t>(written);
  }
  if (::fsync(file.get()) != 0) raise_system(errno, path, "fsync");
}

// `size` bytes from `offset` on, or up to the end.
Bytes read_from(const FileDescriptor& file, std::uint64_t offset, std::size_t size) {
  mpool::AlignedBuffer buffer(mpool::round_up(size, kBlock));
  std::size_t done = 0;
  while (done < size) {
    // Direct reads ask for whole blocks.
    const ::ssize_t got = ::pread(file.get(), buffer.data() + done, buffer.size() - done,
                                  static_cast<off_t>(offset + done));
    if (got < 0) raise_system(errno, "a file of the image", "read");
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return {buffer.data(), buffer.data() + std::min(done, size)};
}

// A mounted image.
class Mounted {
 public:
  Mounted(const ErofsImage& image, const std::vector<std::string>& devices)
      : view_(image.bytes, devices), root_(view_.open(".")) {}

  FileDescriptor open(const std::string& name) const { return view_.open(name); }
  FileDescriptor open_direct(const std::string& name) const {
    FileDescriptor file(::openat(root_.get(), name.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    if (!file) raise_system(errno, name, "open");
    return file;
  }

  struct stat status_of(const std::string& name) const {
    struct stat status {};
    if (::fstatat(root_.get(), name.c_str(), &status, 0) != 0) raise_system(errno, name, "stat");
    return status;
  }

  // Names that reading the directory gives, in its order.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    const std::string path = fmt::format("/proc/self/fd/{}/.", root_.get());
    for (const auto& entry : std::filesystem::directory_iterator(path))
      names.push_back(entry.path().filename().string());
    return names;
  }

 private:
  View view_;
  FileDescriptor root_;
};

// The data devices as loop devices.
struct DataLoops {
  explicit DataLoops(const std::vector<Bytes>& devices) {
    for (const Bytes& bytes : devices) {
      loops.push_back(std::make_unique<LoopDevice>(bytes.size()));
      write_file(loops.back()->path(), bytes);
      paths.push_back(loops.back()->path());
    }
  }
  std::vector<std::unique_ptr<LoopDevice>> loops;
  std::vector<std::string> paths;
};

void expect_same(const Bytes& bytes, const Bytes& expected, const std::string& name) {
  ASSERT_EQ(bytes.size(), expected.size()) << name;
  const auto at = std::ranges::mismatch(bytes, expected).in1 - bytes.begin();
  ASSERT_EQ(static_cast<std::size_t>(at), bytes.size()) << name << ": the first byte that differs";
}

// Mounts the files, stats all of them and compares the contents of some with the model, with and
// without the page cache.
void expect_mounted_as_model(const Files& files, const std::vector<Bytes>& devices) {
  const DataLoops loops(devices);
  const ErofsImage image = build(files, sizes_of(devices));
  const Mounted mounted(image, loops.paths);
  const std::size_t step = 1 + files.size() / 100;
  std::vector<std::string> names;
  for (const auto& [name, content] : files) {
    const ErofsPlace& place = image.places[names.size()];
    ASSERT_TRUE(place.shown()) << name;
    names.push_back(name);
    const struct stat status = mounted.status_of(name);
    EXPECT_EQ(status.st_mode, S_IFREG | 0444);
    EXPECT_EQ(status.st_nlink, 1);
    EXPECT_EQ(status.st_ino, place.nid);
    ASSERT_EQ(static_cast<std::uint64_t>(status.st_size), content.size);
    if (names.size() % step != 0) continue;
    const Bytes expected = model(content, devices);
    expect_same(read_from(mounted.open_direct(name), 0, content.size), expected, name + ", direct");
    expect_same(read_from(mounted.open(name), 0, content.size), expected, name);
  }
  EXPECT_EQ(mounted.names(), names);
  EXPECT_EQ(mounted.status_of(".").st_mode, S_IFDIR | 0555);
}

// True if a run from there on would start where the last run ends on the other device.
bool misread(const Content& content, std::uint32_t device, std::uint64_t offset) {
  if (content.pieces.empty()) return false;
  const ErofsPiece& last = content.pieces.back();
  return last.device != device && last.device_offset + last.length == offset;
}

// A random file: runs of blocks from both devices and holes, the last block usually incomplete. It
// has data.
Content random_content(std::mt19937_64& random, const std::vector<Bytes>& devices) {
  const auto below = [&random](std::uint64_t limit) { return random() % limit; };
  const std::uint64_t unit = kBlock << below(4);
  Content content;
  for (std::uint64_t runs = 1 + below(6); runs > 0; --runs) {
    content.size += unit * below(3);
    const auto device = static_cast<std::uint32_t>(below(devices.size()));
    const std::uint64_t length = unit * (1 + below(4));
    std::uint64_t from = 0;
    do {
      from = kBlock * below((devices[device].size() - length) / kBlock + 1);
    } while (misread(content, device, from));
    // Two pieces that are one run.
    const std::uint64_t cut = kBlock * below(length / kBlock);
    if (cut > 0) content.pieces.push_back({content.size, cut, device, from});
    content.pieces.push_back({content.size + cut, length - cut, device, from + cut});
    content.size += length;
  }
  if (below(3) > 0) content.size -= 1 + below(kBlock - 1);
  if (below(4) == 0)
    content.pieces.back().length -=
        content.pieces.back().file_offset + content.pieces.back().length - content.size;
  return content;
}

// The location of a block of a file: device and block there. nullopt: a hole.
std::optional<std::pair<std::uint32_t, std::uint64_t>> block_of(const Content& content,
                                                                std::uint64_t offset) {
  for (const ErofsPiece& piece : content.pieces) {
    if (offset < piece.file_offset || offset >= piece.file_offset + piece.length) continue;
    return std::pair(piece.device, (piece.device_offset + offset - piece.file_offset) / kBlock);
  }
  return std::nullopt;
}

// True if every chunk of 2^bits bytes is contiguous.
bool chunks_fit(const Content& content, unsigned bits) {
  for (std::uint64_t offset = kBlock; offset < content.size; offset += kBlock) {
    if (offset % (std::uint64_t{1} << bits) == 0) continue;
    auto before = block_of(content, offset - kBlock);
    if (before) ++before->second;
    if (block_of(content, offset) != before) return false;
  }
  return true;
}

TEST(ErofsImage, Superblock) {
  const ErofsImage image = build({{"a", {kBlock, {{0, kBlock, 1, 0}}}}}, {7 * kBlock, 20 * kTiB});
  const auto u32 = [&image](std::size_t at) {
    return mpool::load_le<std::uint32_t>(image.bytes, at);
  };
  ASSERT_EQ(image.bytes.size(), 3 * kBlock);  // superblock, inodes, directory
  EXPECT_EQ(u32(1024), 0xE0F5E1E2);
  EXPECT_EQ(u32(1024 + 8), 0);         // compatible features
  EXPECT_EQ(u32(1024 + 12), 12);       // block bits; root's nid 0
  EXPECT_EQ(u32(1024 + 16), 2);        // inodes
  EXPECT_EQ(u32(1024 + 36), 3);        // blocks
  EXPECT_EQ(u32(1024 + 40), 1);        // first block of inodes
  EXPECT_EQ(u32(1024 + 80), 0xC);      // incompatible features
  EXPECT_EQ(u32(1024 + 84), 2 << 16);  // devices
  EXPECT_EQ(u32(1024 + 88), 16);       // slot of the first
  EXPECT_EQ(u32(2048 + 64), 7);
  EXPECT_EQ(u32(2176 + 64), 0xFFFFFFFF);  // the maximum value of the field
}

TEST(ErofsImage, InodeAndChunks) {
  // Two zones of 1 MiB, a hole, a part of a block.
  const Content content{3 * kMiB + 5,
                        {{0, kMiB, 0, kMiB}, {kMiB, kMiB, 1, 0}, {3 * kMiB, 5, 0, kBlock}}};
  const ErofsImage image = build({{"a", content}}, {2 * kMiB, kMiB});
  ASSERT_EQ(image.places.size(), 1);
  EXPECT_EQ(image.places[0].nid, 2);
  EXPECT_EQ(image.places[0].chunk_bits, 20);
  const mpool::ConstByteSpan inode = mpool::ConstByteSpan(image.bytes).subspan(kBlock + 64);
  EXPECT_EQ(mpool::load_le<std::uint16_t>(inode, 0), 9);
  EXPECT_EQ(mpool::load_le<std::uint16_t>(inode, 4), S_IFREG | 0444);
  EXPECT_EQ(mpool::load_le<std::uint64_t>(inode, 8), content.size);
  EXPECT_EQ(mpool::load_le<std::uint32_t>(inode, 16), 0x20 | 8);
  EXPECT_EQ(mpool::load_le<std::uint32_t>(inode, 44), 1);
  // Device + 1, block.
  const std::vector<std::pair<std::uint16_t, std::uint32_t>> expected{
      {1, 256}, {2, 0}, {0, 0xFFFFFFFF}, {1, 1}};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(mpool::load_le<std::uint16_t>(inode, 64 + 8 * i), 0);
    EXPECT_EQ(mpool::load_le<std::uint16_t>(inode, 66 + 8 * i), expected[i].first) << i;
    EXPECT_EQ(mpool::load_le<std::uint32_t>(inode, 68 + 8 * i), expected[i].second) << i;
  }
}

TEST(ErofsImage, ChunkSizes) {
  const std::vector<std::uint64_t> sizes{16 * kTiB, 64 * kMiB};
  // One run: one chunk, up to the limit.
  EXPECT_EQ(chunk_bits({1, {{0, 1, 0, 0}}}, sizes), 12);
  EXPECT_EQ(chunk_bits({kBlock, {{0, kBlock, 0, 0}}}, sizes), 12);
  EXPECT_EQ(chunk_bits({kBlock + 1, {{0, kBlock + 1, 0, 0}}}, sizes), 13);
  EXPECT_EQ(chunk_bits({5 * kGiB, {{0, 5 * kGiB, 0, kBlock}}}, sizes), 30);
  // Adjacent pieces are merged, wherever they are cut; pieces behind the size, or missing ones,
  // make no difference.
  EXPECT_EQ(chunk_bits({kMiB, {{0, 5, 0, 0}, {5, kMiB - 5, 0, 5}}}, sizes), 20);
  EXPECT_EQ(chunk_bits({kMiB, {{0, 9 * kMiB, 0, 0}, {9 * kMiB, 5, 1, 7}}}, sizes), 20);
  EXPECT_EQ(chunk_bits({kMiB - 5, {{0, kMiB, 0, 0}}}, sizes), 20);
  // Zones here and there.
  EXPECT_EQ(chunk_bits({3 * kMiB, {{0, kMiB, 0, 0}, {kMiB, 2 * kMiB, 1, 0}}}, sizes), 20);
  EXPECT_EQ(chunk_bits({3 * kMiB, {{0, 2 * kMiB, 0, 0}, {2 * kMiB, kMiB, 0, 9 * kMiB}}}, sizes),
            21);
  EXPECT_EQ(chunk_bits({3 * kMiB, {{0, kBlock, 0, 0}, {kMiB, 2 * kMiB, 0, 0}}}, sizes), 12);
  EXPECT_EQ(chunk_bits({3 * kMiB, {{2 * kMiB, kMiB, 0, 0}}}, sizes), 21);
}

TEST(ErofsImage, FilesThatCannotBeShown) {
  const std::vector<std::uint64_t> sizes{20 * kTiB, kMiB + 5};
  EXPECT_EQ(chunk_bits({0, {}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kMiB, {}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kMiB, {{kMiB, kMiB, 0, 0}}}, sizes), 0);
  // Not on blocks: on the device, in the file, its end.
  EXPECT_EQ(chunk_bits({kMiB, {{0, kMiB, 0, 512}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kMiB, {{512, kMiB - 512, 0, kBlock}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kMiB, {{0, kMiB - 512, 0, kBlock}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kMiB, {{0, 512, 0, 0}, {512, kMiB - 512, 0, kBlock}}}, sizes), 0);
  // Beyond the device and the block numbers; the last block must exist as a whole.
  EXPECT_EQ(chunk_bits({kMiB, {{0, kMiB, 1, 0}}}, sizes), 20);
  EXPECT_EQ(chunk_bits({kMiB, {{0, kMiB, 1, kBlock}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({5, {{0, 5, 1, kMiB}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({5, {{0, 5, 1, 2 * kMiB}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({kBlock, {{0, kBlock, 0, 16 * kTiB - 2 * kBlock}}}, sizes), 12);
  EXPECT_EQ(chunk_bits({kBlock, {{0, kBlock, 0, 16 * kTiB - kBlock}}}, sizes), 0);
  // The kernel would continue on the first device; a hole between or the order makes no difference.
  const std::vector<std::uint64_t> two{2 * kMiB, 2 * kMiB};
  EXPECT_EQ(chunk_bits({2 * kMiB, {{0, kMiB, 0, 0}, {kMiB, kMiB, 1, kMiB}}}, two), 0);
  EXPECT_EQ(chunk_bits({2 * kMiB, {{0, kMiB, 1, 0}, {kMiB, kMiB, 0, kMiB}}}, two), 0);
  EXPECT_EQ(chunk_bits({3 * kMiB, {{0, kMiB, 0, 0}, {2 * kMiB, kMiB, 1, kMiB}}}, two), 0);
  EXPECT_EQ(chunk_bits({2 * kMiB, {{0, kMiB, 0, 0}, {kMiB, kMiB, 1, 0}}}, two), 20);
  EXPECT_EQ(chunk_bits({3 * kMiB, {{0, kMiB, 0, 0}, {2 * kMiB, kMiB, 0, kMiB}}}, two), 20);
  // More than 2^20 chunks.
  EXPECT_EQ(chunk_bits({4 * kGiB, {{kBlock, 4 * kGiB - kBlock, 0, 0}}}, sizes), 12);
  EXPECT_EQ(chunk_bits({4 * kGiB + 1, {{kBlock, 4 * kGiB, 0, 0}}}, sizes), 0);
  EXPECT_EQ(chunk_bits({~std::uint64_t{0}, {{0, kBlock, 0, 0}}}, sizes), 0);
}

TEST(ErofsImage, RulesOfTheInput) {
  const Content good{kBlock, {{0, kBlock, 0, 0}}};
  const auto error = [](const std::vector<ErofsFile>& files,
                        const std::vector<std::uint64_t>& sizes) {
    return mpool::test::error_of([&] { build_erofs_image(files, sizes); });
  };
  const auto error_of_name = [&](std::string_view name) {
    return error({{name, good.size, good.pieces}}, {kMiB});
  };
  EXPECT_EQ(error_of_name(std::string(64, '~')), 0);
  for (const std::string& name :
       {std::string(), std::string(65, 'a'), std::string("."), std::string("a/b"),
        std::string("a\0", 2), std::string("\xC3\xA4")})
    EXPECT_EQ(error_of_name(name), EINVAL) << name;
  EXPECT_EQ(error({{"b", good.size, good.pieces}, {"a", good.size, good.pieces}}, {kMiB}), EINVAL);
  EXPECT_EQ(error({{"a", good.size, good.pieces}, {"a", good.size, good.pieces}}, {kMiB}), EINVAL);
  EXPECT_EQ(error({}, {}), EINVAL);
  EXPECT_EQ(error({}, {kMiB, kMiB, kMiB}), EINVAL);
  const auto error_of_pieces = [&](const std::vector<ErofsPiece>& pieces) {
    return error({{"a", kMiB, pieces}}, {kMiB});
  };
  constexpr std::uint64_t kFar = ~std::uint64_t{0} - kBlock + 1;
  EXPECT_EQ(error_of_pieces({{0, kBlock, 1, 0}}), EINVAL);
  EXPECT_EQ(error_of_pieces({{0, 0, 0, 0}}), EINVAL);
  EXPECT_EQ(error_of_pieces({{0, 2 * kBlock, 0, 0}, {kBlock, kBlock, 0, 0}}), EINVAL);
  EXPECT_EQ(error_of_pieces({{kBlock, kBlock, 0, 0}, {0, kBlock, 0, 0}}), EINVAL);
  EXPECT_EQ(error_of_pieces({{0, 2 * kBlock, 0, kFar}}), EINVAL);
  EXPECT_EQ(error_of_pieces({{kBlock, kFar, 0, 0}}), EINVAL);
}

TEST(ErofsImage, RandomChunkSizesAreTheGreatest) {
  const std::vector<Bytes> devices = random_devices({kMiB, 2 * kMiB});
  std::mt19937_64 random(7);
  for (int i = 0; i < 500; ++i) {
    const Content content = random_content(random, devices);
    const unsigned bits = chunk_bits(content, sizes_of(devices));
    ASSERT_GE(bits, 12) << i;
    ASSERT_TRUE(chunks_fit(content, bits)) << i;
    const bool one_chunk = content.size <= std::uint64_t{1} << bits;
    ASSERT_TRUE(one_chunk || !chunks_fit(content, bits + 1)) << i << ": 2^" << bits;
  }
}

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

TEST(ErofsImage, FilesTheKernelReads) {
  expect_mounted_as_model(some_files(), random_devices({8 * kMiB, 2 * kMiB}));
}

TEST(ErofsImage, OneFileTheKernelReads) {
  expect_mounted_as_model({{"x", {kBlock + 1, {{0, kBlock + 1, 0, kBlock}}}}},
                          random_devices({kMiB}));
}

TEST(ErofsImage, ManyFilesTheKernelReads) {
  expect_mounted_as_model(many_files(3000, 256), random_devices({kMiB}));
}

TEST(ErofsImage, NamesOfAnyLengthTheKernelReads) {
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

TEST(ErofsImage, ADirectoryBlockThatIsExactlyFull) {
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

TEST(ErofsImage, RandomFilesTheKernelReads) {
  const std::vector<Bytes> devices = random_devices({2 * kMiB, kMiB});
  std::mt19937_64 random(11);
  for (int round = 0; round < 2; ++round) {
    Files files;
    for (std::uint64_t i = 0; i < 60; ++i)
      files[name_of(i)] = random_content(random, devices);
    expect_mounted_as_model(files, devices);
  }
}

TEST(ErofsImage, FilesThatCannotBeShownAreLeftOut) {
  Files files = many_files(400, 256);
  std::size_t number = 0;
  for (auto& [name, content] : files) {
    if (number++ % 3 == 0) content.pieces[0].device_offset += 512;
  }
  const ErofsImage image = build(files, {kMiB});
  const LoopDevice data(kMiB);
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

TEST(ErofsImage, FarBlocksAndLargeFilesTheKernelReads) {
  // Block numbers of more than 31 bits, chunks of the greatest size: a device that is mostly a
  // hole.
  const LoopDevice data(12 * kTiB);
  const FileDescriptor device(::open(data.path().c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  ASSERT_TRUE(device);
  const std::uint64_t begin = 12 * kTiB - 3 * kGiB;
  const auto offsets = {std::uint64_t{0}, kGiB - kBlock, kGiB, 2 * kGiB, 3 * kGiB - kBlock};
  for (const std::uint64_t offset : offsets) {
    const mpool::AlignedBuffer block = mpool::test::pattern(1, static_cast<unsigned>(offset >> 12));
    ASSERT_EQ(::pwrite(device.get(), block.data(), kBlock, static_cast<off_t>(begin + offset)),
              kBlock);
  }
  const Mounted mounted(build({{"large", {3 * kGiB, {{0, 3 * kGiB, 0, begin}}}}}, {12 * kTiB}),
                        {data.path()});
  for (const std::uint64_t offset : offsets) {
    const mpool::AlignedBuffer block = mpool::test::pattern(1, static_cast<unsigned>(offset >> 12));
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

TEST(ErofsImage, ErofsUtilsAgree) {
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

TEST(ErofsImage, ErofsUtilsAgreeOnManyFiles) {
  const Programs programs(many_files(3000, 256), random_devices({kMiB}));
  programs.run("fsck.erofs");
  EXPECT_NE(programs.run("dump.erofs -S").find("3000"), std::string::npos);
}

}  // namespace
}  // namespace mpoolfs
