// A tree on whose media tests append records that no tree would write.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/io/overlay_device.h"
#include "engine/tree/records.h"
#include "tests/engine/names/support.h"

namespace mpool::test {

// A file of a tree, as its records have it.
struct KnownFile {
  InodeNumber inode = 0;
  std::uint64_t size = 0;
  std::vector<ObjectId> objects;
};

// /d, /d/file (two mblocks), /small (one), /packed, /log, /log2, /link -> small
class CraftedTree {
 public:
  CraftedTree() {
    tree_.mkdir("d");
    tree_.mkdir("d/below");
    tree_.put("d/file", pattern(kZoneSize + 5000));
    tree_.put("small", pattern(5000));
    tree_.put("packed", pattern(100));
    tree_.append("log", "one line\n");
    tree_.append("log2", "another\n");
    tree_.names().make_symlink(kRootInode, "link", "small", {});
    tree_.names().sync();
    directory = tree_.stat("d").inode;
    below = tree_.stat("d/below").inode;
    file = known("d/file");
    small = known("small");
    packed = known("packed");
    log = known("log");
    log2 = known("log2");
    link = tree_.stat("link").inode;
    next = log2.inode + 1000;
    // An object without a name.
    const auto free = store_mblock(tree_.pool(), {}, AlignedBuffer::zeroed(2 * kPageSize).span());
    stray = free;
    tree_.unmount();
    read_marks();
  }

  const std::shared_ptr<Media>& media() const { return tree_.media(); }

  // Appends a batch with these records, and another after it.
  void append(const std::vector<names::Record>& records) {
    const auto pool = activate();
    const auto mdc = pool->open_root_mdc();
    const auto put = [&](const names::Record& record) {
      mdc->append(names::encode_unchecked(record));
    };
    put({1, names::BatchRecord{batch + 1, next_inode}});
    for (const names::Record& record : records)
      put(record);
    put({1, names::BatchRecord{batch + 1, next_inode}});
    mdc->sync(mdc->append(
        names::encode_unchecked({1, names::AttributesRecord{1, {0755, 0, 0, 0, 0, 0}}})));
  }
  std::unique_ptr<Pool> activate() const { return Pool::activate(devices(false)); }
  // in_memory: writes do not reach the media.
  std::vector<std::unique_ptr<Device>> devices(bool in_memory) const {
    std::unique_ptr<Device> device = std::make_unique<MemoryDevice>("memory", media());
    if (in_memory) device = std::make_unique<OverlayDevice>(std::move(device));
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(device));
    return devices;
  }

  InodeNumber directory = 0, below = 0, link = 0, next = 0;
  KnownFile file, small, packed, log, log2;
  ObjectId stray;
  std::uint64_t batch = 0;
  InodeNumber next_inode = 0;

 private:
  KnownFile known(const std::string& path) {
    const Attributes attributes = tree_.stat(path);
    KnownFile found{attributes.inode, attributes.size, {}};
    const std::string ids = tree_.names().get_xattr(found.inode, "user.mpool.objects");
    for (std::size_t at = 0; at < ids.size(); at = ids.find(' ', at) + 1) {
      found.objects.push_back(ObjectId{std::stoull(ids.substr(at), nullptr, 16)});
      if (ids.find(' ', at) == std::string::npos) break;
    }
    return found;
  }
  void read_marks() {
    const auto pool = activate();
    const auto mdc = pool->open_root_mdc();
    MlogReader reader = mdc->reader();
    for (std::vector<std::byte> bytes; reader.next(bytes);) {
      const names::Record record = names::decode(bytes).value();
      if (const auto* mark = std::get_if<names::BatchRecord>(&record.body)) {
        batch = mark->number;
        next_inode = mark->next_inode;
      }
    }
  }

  // Files of up to 1000 bytes go into packs.
  TestTree tree_{{.pack_max = 1000}};
};

}  // namespace mpool::test
