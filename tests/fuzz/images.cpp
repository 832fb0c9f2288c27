#include "tests/fuzz/images.h"

#include <filesystem>
#include <optional>

#include "engine/names/namespace.h"
#include "engine/pool/discovery.h"
#include "tests/interop/refpool.h"
#include "tests/support/bytes_of.h"
#include "tests/support/sparse_file.h"

namespace mpool::fuzz {
namespace {

using test::bytes_of;

constexpr std::uint64_t kZoneSize = 64u << 10;
constexpr std::uint64_t kSize = 8u << 20;

void put(Namespace& names, InodeNumber parent, const std::string& name, const std::string& text,
         bool append) {
  auto file =
      names.create(parent, name, 0644, {}, {.read = true, .write = true, .append = append}).second;
  file->write(0, bytes_of(text), append);
  file->fsync();
  file->close();
}

void fill(Namespace& names) {
  const InodeNumber first = names.make_directory(kRootInode, "first", 0755, {}).inode;
  const InodeNumber second = names.make_directory(first, "second", 0700, {}).inode;
  names.set_xattr(second, "user.mpool.create", "*.log=mlog", 0);
  put(names, second, "two zones", std::string(2 * kZoneSize - 100, 'z'), false);
  put(names, second, "gone", std::string(5000, 'g'), false);
  put(names, first, "small", "content", false);
  put(names, first, "lines.log", "one line\n", true);
  names.make_file(first, "empty", 0600, {});
  names.make_symlink(first, "link", "second/two zones", {});
  names.link(names.lookup(first, "small").inode, second, "other name");
  names.set_xattr(names.lookup(first, "small").inode, "user.note", "value", 0);
  for (int i = 0; i < 20; ++i)
    put(names, kRootInode, fmt::format("file {}", i), std::string(100, 'f'), false);
  names.unlink(second, "gone");
  names.rename(first, "small", kRootInode, "file 3", RenameMode::replace);
  names.rename(kRootInode, "file 4", second, "file 5", RenameMode::replace);
}

// `crash`: as the media are before the mount ends.
Image own_pool(const std::string& name, std::uint32_t sector_size, bool staging, bool crash) {
  Image image{.name = name, .media = {}, .logs = {}};
  for (int i = 0; i < (staging ? 2 : 1); ++i)
    image.media.push_back(std::make_shared<SimulatedMedia>(kSize, sector_size));
  CreateOptions options;
  options.name = "fuzz";
  options.zone_size = kZoneSize;
  options.mdc_count = 2;
  options.mdc0_capacity = options.mdc_capacity = kZoneSize;
  options.root_capacity = 2 * kZoneSize;
  {
    const auto devices = open_media(image.media);
    Pool::create(*devices.front(), staging ? devices.back().get() : nullptr, options);
  }
  const auto pool = Pool::activate(open_media(image.media));
  const auto names = Namespace::mount(*pool, {});
  if (staging) names->set_xattr(kRootInode, "user.mpool.class", "staging", 0);
  fill(*names);
  // The originals are no longer used: the mount continues with them.
  if (crash) image.media = image.copy();
  return image;
}

// Reads all data outside of holes.
std::shared_ptr<SimulatedMedia> load_file(const std::string& path, std::uint32_t sector_size) {
  auto media = std::make_shared<SimulatedMedia>(std::filesystem::file_size(path), sector_size);
  test::for_each_page_of_data(
      path, [&](std::uint64_t at, ConstByteSpan page) { media->write(at, page); });
  return media;
}

Image reference_pool(const std::string& name) {
  const interop::RefPool reference(name);
  Image image{.name = name, .media = {}, .logs = {}};
  for (const std::string& path : reference.images()) {
    const auto device = open_device(path, OpenMode::peek);
    const auto superblock = read_superblocks(*device).chosen;
    image.media.push_back(load_file(path, superblock->device.sector_size()));
  }
  return image;
}

// Finds the logs as an activation does, on a copy.
void find_logs(Image& image) {
  const MediaSet media = image.copy();
  const auto pool = Pool::activate(open_media(media));
  const auto device_index = [&](MediaClass media_class) -> std::size_t {
    return pool->device(media_class).name() == "device 0" ? 0 : 1;
  };
  const auto add = [&](LogInImage::Kind kind, const ObjectRecord& mlog) {
    LogInImage log{.kind = kind,
                   .device = device_index(mlog.media_class),
                   .location = pool->mlog_location(mlog)};
    log.location.device = nullptr;
    image.logs.push_back(std::move(log));
  };
  const auto device = open_media(media);
  const auto superblock = read_superblocks(*device.front()).chosen;
  for (unsigned i = 0; i < 2; ++i) {
    const Mdc0Location::Half& half = superblock->mdc0->halves[i];
    add(LogInImage::Kind::metadata, {.layout = half.layout,
                                     .id = mdc_log_id(0, i),
                                     .generation = half.generation,
                                     .uuid = half.uuid});
  }
  const auto mdcs = pool->mdcs();
  pool->read_mdc(0, [&](ConstByteSpan bytes) {
    const auto record = decode_record(bytes);
    const auto* object = std::get_if<ObjectRecord>(&*record);
    if (object == nullptr) return;
    ObjectRecord mlog = *object;
    for (const Pool::MdcStats& stats : mdcs) {
      for (std::size_t i = 0; i < 2; ++i) {
        if (stats.mdc.ids[i] == mlog.id) mlog.generation = stats.mdc.generations[i];
      }
    }
    add(LogInImage::Kind::metadata, mlog);
  });
  for (const ObjectRecord& object : pool->objects()) {
    if (!object.id.is_mlog()) continue;
    const bool root = object.id == root_log_id(0) || object.id == root_log_id(1);
    add(root ? LogInImage::Kind::root : LogInImage::Kind::user, object);
  }
}

std::vector<Image> make_images() {
  std::vector<Image> all;
  all.push_back(own_pool("own-512", 512, false, false));
  all.push_back(own_pool("own-4096", 4096, false, false));
  all.push_back(own_pool("own-two-classes", 512, true, false));
  all.push_back(own_pool("own-crash", 512, false, true));
  for (const char* name : {"b-cap512", "d-twoclass", "e1-compacted", "f04-mdc0-compaction-torn",
                           "f14-create-half-mdc3"}) {
    all.push_back(reference_pool(name));
  }
  for (Image& image : all)
    find_logs(image);
  return all;
}

}  // namespace

MediaSet Image::copy() const {
  MediaSet copies;
  for (const auto& one : media)
    copies.push_back(std::make_shared<SimulatedMedia>(*one));
  return copies;
}

std::uint64_t Image::size() const {
  std::uint64_t size = 0;
  for (const auto& one : media)
    size += one->size();
  return size;
}

const std::vector<Image>& images() {
  static const std::vector<Image> all = make_images();
  return all;
}

std::vector<std::unique_ptr<Device>> open_media(const MediaSet& media) {
  std::vector<std::unique_ptr<Device>> devices;
  for (std::size_t i = 0; i < media.size(); ++i) {
    devices.push_back(std::make_unique<SimulatedDevice>(fmt::format("device {}", i), media[i]));
  }
  return devices;
}

}  // namespace mpool::fuzz
