// A named tree on a pool in memory, and what tests do with it.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "engine/names/namespace.h"
#include "tests/engine/pool/memory_device.h"
#include "tests/support/bytes_of.h"

namespace mpool::test {

inline constexpr std::uint64_t kZoneSize = 64u << 10;

// `length` bytes that identify their position.
inline std::string pattern(std::size_t length, std::uint64_t seed = 1) {
  std::string text(length, '\0');
  for (std::size_t i = 0; i < length; ++i) {
    text[i] = static_cast<char>(((i + seed * 7919) * 0x9e3779b97f4a7c15ull >> 56) | 1);
  }
  return text;
}

// Nothing becomes durable but by a sync.
inline NamespaceOptions lazy() {
  NamespaceOptions options;
  options.commit_interval = std::chrono::hours(1);
  return options;
}

inline std::string log_name(int number) {
  return "log" + std::to_string(number);
}

// The errno of the Error that `call` throws; 0 when it throws none.
template <typename Call>
int errno_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return 0;
}

// An open file that is closed with the scope, as the daemon does it, also after a failure.
class ScopedFile {
 public:
  explicit ScopedFile(std::unique_ptr<OpenFile> file) : file_(std::move(file)) {}
  ~ScopedFile() {
    if (!file_->close(Blocking::forbidden)) file_->close();
  }
  ScopedFile(const ScopedFile&) = delete;
  ScopedFile& operator=(const ScopedFile&) = delete;

  OpenFile* operator->() const { return file_.get(); }
  OpenFile& operator*() const { return *file_; }

 private:
  std::unique_ptr<OpenFile> file_;
};

class TestTree {
 public:
  struct Sizes {
    std::uint64_t zones = 512;
    std::uint64_t root_capacity = 4 * kZoneSize;
    // This many zones are left; objects without a name take the rest. Nothing: all.
    std::optional<std::uint64_t> free_zones = std::nullopt;
    Clock* clock = &system_clock();
    Tunables tunables{};
    bool repacks = false;  // in the background
  };

  // A root MDC of a zone that cannot grow, with room for `zones` of content.
  static Sizes without_growth(std::uint64_t zones = 1) {
    constexpr std::uint64_t kTooFewToGrow = 2;
    return {.zones = 128, .root_capacity = kZoneSize, .free_zones = zones + kTooFewToGrow};
  }

  // Makes the device of a mount.
  using MakeDevice = std::function<std::unique_ptr<MemoryDevice>(std::shared_ptr<Media>)>;

  explicit TestTree(NamespaceOptions options = {}) : TestTree(options, Sizes{}) {}
  TestTree(NamespaceOptions options, Sizes sizes, MakeDevice make_device = plain_device)
      : media_(std::make_shared<Media>(sizes.zones * kZoneSize, 512)),
        options_(options),
        clock_(sizes.clock),
        tunables_(sizes.tunables),
        repacks_(sizes.repacks),
        make_device_(std::move(make_device)) {
    MemoryDevice device("memory", media_);
    CreateOptions create;
    create.name = "test";
    create.zone_size = kZoneSize;
    create.mdc_count = 2;
    create.mdc0_capacity = kZoneSize;
    create.mdc_capacity = 4 * kZoneSize;
    create.root_capacity = sizes.root_capacity;
    create.spare_percent = 0;
    Pool::create(device, nullptr, create);
    mount();
    if (sizes.free_zones) leave_zones(*sizes.free_zones);
  }
  // The state on the media, as after a crash.
  TestTree(std::shared_ptr<Media> media, NamespaceOptions options,
           MakeDevice make_device = plain_device)
      : media_(std::move(media)), options_(options), make_device_(std::move(make_device)) {
    mount();
  }
  // Opens the devices of an existing pool; media() and device() must then not be used.
  using OpenDevices = std::function<std::vector<std::unique_ptr<Device>>()>;
  TestTree(OpenDevices open_devices, NamespaceOptions options)
      : options_(options), open_devices_(std::move(open_devices)) {
    mount();
  }
  ~TestTree() { unmount(); }
  TestTree(const TestTree&) = delete;
  TestTree& operator=(const TestTree&) = delete;

  void mount() {
    std::vector<std::unique_ptr<Device>> devices;
    if (open_devices_) {
      devices = open_devices_();
    } else {
      auto device = make_device_(media_);
      device_ = device.get();
      devices.push_back(std::move(device));
    }
    ActivateOptions activate;
    activate.mdc_count = 2;
    // No threads except those under test.
    activate.load_jobs = 1;
    activate.tunables = tunables_;
    activate.tunables.maintenance = {.period = {}, .usage_period = {}};
    if (!repacks_) activate.tunables.packing.collect_delay = {};
    activate.clock = clock_;
    pool_ = Pool::activate(std::move(devices), activate);
    // Most tests are about files with zones of their own.
    options_.pack_max = options_.pack_max.value_or(0);
    names_ = Namespace::mount(*pool_, options_);
  }
  void unmount() {
    names_.reset();
    pool_.reset();
  }
  void remount() {
    unmount();
    mount();
  }

  Namespace& names() { return *names_; }
  Pool& pool() const { return *pool_; }
  MemoryDevice& device() { return *device_; }
  const std::shared_ptr<Media>& media() const { return media_; }

  // The directory of a path and its last part.
  std::pair<InodeNumber, std::string> split(const std::string& path) {
    InodeNumber directory = kRootInode;
    std::size_t begin = 0;
    for (std::size_t end; (end = path.find('/', begin)) != std::string::npos; begin = end + 1) {
      directory = names_->lookup(directory, path.substr(begin, end - begin)).inode;
    }
    return {directory, path.substr(begin)};
  }
  Attributes stat(const std::string& path) {
    const auto [parent, name] = split(path);
    return name.empty() ? names_->attributes(parent) : names_->lookup(parent, name);
  }
  void mkdir(const std::string& path) {
    const auto [parent, name] = split(path);
    names_->make_directory(parent, name, 0755, {});
  }
  // As the daemon does.
  std::unique_ptr<OpenFile> create(const std::string& path, bool append = false) {
    const auto [parent, name] = split(path);
    const OpenIntent intent{.read = true, .write = true, .append = append};
    auto made = names_->create(parent, name, 0644, {}, intent, Blocking::forbidden);
    if (!made) made = names_->create(parent, name, 0644, {}, intent);
    return std::move(made->second);
  }
  std::unique_ptr<OpenFile> open(const std::string& path, OpenIntent intent) {
    return names_->open(stat(path).inode, intent);
  }
  void put(const std::string& path, std::string_view text) {
    const ScopedFile file(create(path));
    if (!text.empty()) file->write(0, bytes_of(text), false);
    file->flush();
  }
  void append(const std::string& path, std::string_view text) {
    const auto [parent, name] = split(path);
    const bool exists = errno_of([&] { names_->lookup(parent, name); }) == 0;
    const ScopedFile file(exists ? open(path, {.write = true, .append = true})
                                 : create(path, true));
    file->write(0, bytes_of(text), true);
    file->flush();
  }
  std::string get(const std::string& path) {
    const ScopedFile file(open(path, {.read = true}));
    return read_all(*file);
  }
  static std::string read_all(OpenFile& file) {
    std::string text;
    std::string part(100'000, '\0');
    for (;;) {
      const std::size_t got =
          file.read(text.size(), {reinterpret_cast<std::byte*>(part.data()), part.size()});
      if (got == 0) return text;
      text.append(part, 0, got);
    }
  }
  // As the daemon does.
  void unlink(const std::string& path) {
    const auto [parent, name] = split(path);
    if (!names_->unlink(parent, name, Blocking::forbidden)) names_->unlink(parent, name);
  }
  void rename(const std::string& from, const std::string& to,
              RenameMode mode = RenameMode::replace) {
    const auto [parent, name] = split(from);
    const auto [new_parent, new_name] = split(to);
    names_->rename(parent, name, new_parent, new_name, mode);
  }
  std::vector<std::string> list(const std::string& path) {
    std::vector<std::string> names;
    const InodeNumber directory = path.empty() ? kRootInode : stat(path).inode;
    names_->read_directory(directory, 0, [&](const DirectoryEntry& entry) {
      names.emplace_back(entry.name);
      return true;
    });
    return names;
  }

  // Removes everything below a directory.
  void remove_all(const std::string& path = "") {
    for (const std::string& name : list(path)) {
      const std::string child = path.empty() ? name : path + "/" + name;
      if (stat(child).kind != FileKind::directory) {
        unlink(child);
        continue;
      }
      remove_all(child);
      const auto [parent, last] = split(child);
      names_->remove_directory(parent, last);
    }
  }
  // Zones in use when everything is on the media and every discard done.
  std::uint32_t used_zones() {
    names_->sync();
    pool_->wait_for_discards(std::chrono::seconds(10));
    return pool_->class_info(MediaClass::capacity).space.used;
  }

  // The form in which dump() shows the user-visible state of a file.
  static std::string describe(const Attributes& attributes) {
    return fmt::format("kind {} mode {:o} links {} size {}", static_cast<int>(attributes.kind),
                       attributes.mode, attributes.links, attributes.size);
  }
  static std::string describe_content(std::string_view content) {
    return fmt::format(" crc {:08x}", crc32c(bytes_of(content)));
  }
  static constexpr std::string_view kUnreadable = " unreadable";
  // All names with their user-visible state, sorted; content as checksum. tolerant: kUnreadable for
  // content that cannot be read (EIO).
  std::map<std::string, std::string> dump(bool tolerant = false) {
    std::map<std::string, std::string> all;
    dump_into("", tolerant, all);
    return all;
  }

 private:
  void leave_zones(std::uint64_t zones) {
    while (pool_->class_info(MediaClass::capacity).space.free_usable > zones) {
      ObjectRecord object = pool_->allocate(ObjectType::mblock, 0, {});
      object.written_length = kPageSize;
      pool_->commit(std::span(&object, 1));
    }
  }
  static std::unique_ptr<MemoryDevice> plain_device(std::shared_ptr<Media> media) {
    return std::make_unique<MemoryDevice>("memory", std::move(media));
  }

  std::string content_of(const std::string& path, bool tolerant) {
    try {
      return describe_content(get(path));
    } catch (const Error& error) {
      if (!tolerant || error.code() != EIO) throw;
      return std::string(kUnreadable);
    }
  }
  void dump_into(const std::string& path, bool tolerant, std::map<std::string, std::string>& all) {
    for (const std::string& name : list(path)) {
      const std::string child = path.empty() ? name : path + "/" + name;
      const Attributes attributes = stat(child);
      std::string line = describe(attributes);
      if (attributes.kind == FileKind::directory) {
        dump_into(child, tolerant, all);
      } else if (attributes.kind == FileKind::symlink) {
        line += " -> " + names_->read_symlink(attributes.inode);
      } else if (is_regular(attributes.kind)) {
        line += content_of(child, tolerant);
      }
      for (const std::string& xattr : names_->list_xattrs(attributes.inode)) {
        line += fmt::format(" {}={}", xattr, names_->get_xattr(attributes.inode, xattr));
      }
      all[child] = line;
    }
  }

  std::shared_ptr<Media> media_;
  NamespaceOptions options_;
  Clock* clock_ = &system_clock();
  Tunables tunables_;
  bool repacks_ = false;
  MakeDevice make_device_;
  OpenDevices open_devices_;
  std::unique_ptr<Pool> pool_;
  MemoryDevice* device_ = nullptr;
  std::unique_ptr<Namespace> names_;
};

// The content of a file that a mount would find now.
inline std::string get_after_crash(TestTree& tree, const std::string& path) {
  TestTree crashed(std::make_shared<Media>(*tree.media()), {});
  return crashed.get(path);
}

// The state after ending the mount in order, and the state after a crash right after sync().
inline void expect_same_after_remount(TestTree& tree) {
  const auto before = tree.dump();
  tree.names().sync();
  {
    NamespaceOptions options;
    TestTree crashed(std::make_shared<Media>(*tree.media()), options);
    EXPECT_EQ(crashed.dump(), before) << "after a crash";
  }
  tree.remount();
  EXPECT_EQ(tree.dump(), before) << "after a remount";
}

}  // namespace mpool::test
