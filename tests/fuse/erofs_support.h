// Files for EROFS images, what they must show, and images mounted by the kernel.
#pragma once

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
#include "fuse/native/erofs_image.h"
#include "fuse/native/view.h"
#include "tests/engine/io/support.h"

namespace mpoolfs::test {

using mpool::FileDescriptor;
using mpool::raise_system;
using mpool::test::LoopDevice;
using mpool::test::TemporaryDirectory;

inline constexpr std::uint64_t kBlock = 4096;
inline constexpr std::uint64_t kMiB = 1 << 20;
inline constexpr std::uint64_t kGiB = 1 << 30;
inline constexpr std::uint64_t kTiB = kGiB << 10;

using Bytes = std::vector<std::byte>;

// Files that own the memory that ErofsFile refers to, by name.
struct Content {
  std::uint64_t size = 0;
  std::vector<ErofsPiece> pieces;
};
using Files = std::map<std::string, Content>;

inline std::vector<ErofsFile> views_of(const Files& files) {
  std::vector<ErofsFile> views;
  for (const auto& [name, content] : files)
    views.push_back({name, content.size, content.pieces});
  return views;
}

inline ErofsImage build(const Files& files, const std::vector<std::uint64_t>& device_sizes) {
  return build_erofs_image(views_of(files), device_sizes);
}

// 0: the file cannot be shown.
inline unsigned chunk_bits(const Content& content, const std::vector<std::uint64_t>& device_sizes) {
  return erofs_chunk_bits({"file", content.size, content.pieces}, device_sizes).value_or(0);
}

// As the namespace names files: sorted by number.
inline std::string name_of(std::uint64_t number) {
  return fmt::format("{:016x}", number);
}

// Data devices of random bytes, the same each time.
inline std::vector<Bytes> random_devices(std::initializer_list<std::uint64_t> sizes) {
  std::mt19937_64 random(42);
  std::vector<Bytes> devices;
  for (const std::uint64_t size : sizes) {
    Bytes& bytes = devices.emplace_back(size);
    for (std::uint64_t at = 0; at < size; at += 8)
      mpool::store_le<std::uint64_t>(bytes, at, random());
  }
  return devices;
}

inline std::vector<std::uint64_t> sizes_of(const std::vector<Bytes>& devices) {
  std::vector<std::uint64_t> sizes;
  for (const Bytes& device : devices)
    sizes.push_back(device.size());
  return sizes;
}

// The expected content of a file.
inline Bytes model(const Content& content, const std::vector<Bytes>& devices) {
  Bytes bytes(content.size);
  for (const ErofsPiece& piece : content.pieces) {
    if (piece.file_offset >= content.size) break;
    std::copy_n(devices[piece.device].data() + piece.device_offset,
                std::min(piece.length, content.size - piece.file_offset),
                bytes.data() + piece.file_offset);
  }
  return bytes;
}

inline void write_file(const std::string& path, const Bytes& bytes) {
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
inline Bytes read_from(const FileDescriptor& file, std::uint64_t offset, std::size_t size) {
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

inline void expect_same(const Bytes& bytes, const Bytes& expected, const std::string& name) {
  ASSERT_EQ(bytes.size(), expected.size()) << name;
  const auto at = std::ranges::mismatch(bytes, expected).in1 - bytes.begin();
  ASSERT_EQ(static_cast<std::size_t>(at), bytes.size()) << name << ": the first byte that differs";
}

// Mounts the files, stats all of them and compares the contents of some with the model, with and
// without the page cache.
inline void expect_mounted_as_model(const Files& files, const std::vector<Bytes>& devices) {
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
inline bool misread(const Content& content, std::uint32_t device, std::uint64_t offset) {
  if (content.pieces.empty()) return false;
  const ErofsPiece& last = content.pieces.back();
  return last.device != device && last.device_offset + last.length == offset;
}

// A random file: runs of blocks from both devices and holes, the last block usually incomplete. It
// has data.
inline Content random_content(std::mt19937_64& random, const std::vector<Bytes>& devices) {
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
inline std::optional<std::pair<std::uint32_t, std::uint64_t>> block_of(const Content& content,
                                                                       std::uint64_t offset) {
  for (const ErofsPiece& piece : content.pieces) {
    if (offset < piece.file_offset || offset >= piece.file_offset + piece.length) continue;
    return std::pair(piece.device, (piece.device_offset + offset - piece.file_offset) / kBlock);
  }
  return std::nullopt;
}

// True if every chunk of 2^bits bytes is contiguous.
inline bool chunks_fit(const Content& content, unsigned bits) {
  for (std::uint64_t offset = kBlock; offset < content.size; offset += kBlock) {
    if (offset % (std::uint64_t{1} << bits) == 0) continue;
    auto before = block_of(content, offset - kBlock);
    if (before) ++before->second;
    if (block_of(content, offset) != before) return false;
  }
  return true;
}

}  // namespace mpoolfs::test
