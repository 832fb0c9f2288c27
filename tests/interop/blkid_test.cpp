// libblkid's command recognises new pools, and changed pools of another implementation.
#include <array>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>

#include <gtest/gtest.h>

#include "engine/pool/discovery.h"
#include "engine/pool/pool.h"
#include "tests/interop/compare.h"
#include "tests/interop/refpool.h"

namespace mpool::interop {
namespace {

std::string output_of(const std::string& command) {
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "cannot run " + command;
  std::array<char, 4096> piece;
  while (const std::size_t got = fread(piece.data(), 1, piece.size(), pipe)) {
    output.append(piece.data(), got);
  }
  EXPECT_EQ(pclose(pipe), 0) << command << ": " << output;
  return output;
}

void expect_recognised(const std::string& image, const std::string& name, const Uuid& uuid) {
  const std::string output =
      output_of("PATH=$PATH:/usr/sbin:/sbin blkid -p -o export '" + image + "' 2>&1");
  EXPECT_NE(output.find("TYPE=mpool\n"), std::string::npos) << output;
  EXPECT_NE(output.find("LABEL=" + name + "\n"), std::string::npos) << output;
  EXPECT_NE(output.find("UUID=" + uuid.to_string() + "\n"), std::string::npos) << output;
}

TEST(Blkid, RecognisesPoolsOfOneAndTwoClasses) {
  const test::TemporaryDirectory folder;
  for (const bool two_classes : {false, true}) {
    const std::string name = two_classes ? "two-classes" : "one.class_1";
    std::vector<std::string> paths = {folder.path() / (name + "-cap")};
    if (two_classes) paths.push_back(folder.path() / (name + "-stg"));
    for (const std::string& path : paths)
      create_image_file(path, 128u << 20);
    {
      const auto devices = open_pool_devices(paths, OpenMode::activate);
      CreateOptions options;
      options.name = name;
      Pool::create(*devices[0], two_classes ? devices[1].get() : nullptr, options);
    }
    const auto pool = Pool::activate(open_pool_devices(paths, OpenMode::activate));
    for (const std::string& path : paths)
      expect_recognised(path, name, pool->uuid());
  }
}

// Each change of a pool itself, one after the other, with a check of the pool after each.
TEST(Blkid, RecognisesReferencePoolsAfterChangesOfThem) {
  for (const std::string name : {"a1-fresh-core", "c-cap4096", "d-twoclass", "e1-compacted",
                                 "f20-no-deactivate", "g-renamed"}) {
    SCOPED_TRACE(name);
    const RefPool reference(name);
    const test::TemporaryDirectory folder;
    std::vector<std::string> paths = reference.images();
    const auto activate = [&] {
      return Pool::activate(open_pool_devices(paths, OpenMode::activate));
    };
    Uuid uuid;
    std::map<ObjectId, std::string> content;
    {
      const auto pool = activate();
      uuid = pool->uuid();
      content = digests(*pool);
    }
    std::string pool_name = reference.expected().at("pool").at("name");
    const auto change = [&](const std::function<void(Pool&)>& make) {
      make(*activate());
      auto pool = activate();
      EXPECT_EQ(pool->name(), pool_name);
      EXPECT_EQ(digests(*pool), content);
      for (const std::string& path : paths)
        expect_recognised(path, pool_name, uuid);
      return pool;
    };

    pool_name = "another-name";
    change([&](Pool& pool) { pool.rename(pool_name); });
    for (const std::string& path : paths)
      std::filesystem::resize_file(path, 2 * std::filesystem::file_size(path));
    const auto grown = change([](Pool& pool) {
      for (const MediaClass media_class : pool.classes())
        EXPECT_TRUE(pool.grow(media_class));
    });
    EXPECT_EQ(grown->class_info(MediaClass::capacity).params.device_size,
              std::filesystem::file_size(paths.front()));
  }
}

TEST(Blkid, RecognisesReferencePoolsAfterASecondDeviceAndSettings) {
  for (const std::string name : {"a1-fresh-core", "b-cap512", "f19-driveadd-no-mcconfig"}) {
    SCOPED_TRACE(name);
    const RefPool reference(name);
    const test::TemporaryDirectory folder;
    std::vector<std::string> paths = {reference.images().front(), folder.path() / "staging"};
    // The reference's own half-added device, where it has one.
    if (reference.images().size() > 1) {
      paths.back() = reference.images().back();
    } else {
      create_image_file(paths.back(), 64u << 20);
    }
    std::map<ObjectId, std::string> content;
    {
      auto devices = open_pool_devices(paths, OpenMode::activate);
      auto staging = std::move(devices.back());
      devices.pop_back();
      const auto pool = Pool::activate(std::move(devices));
      content = digests(*pool);
      pool->add_staging(std::move(staging));
      pool->set_spare_percent(MediaClass::staging, 11);
      pool->configure({.gid = 77, .label = "changed"});
    }
    const auto pool = Pool::activate(open_pool_devices(paths, OpenMode::activate));
    EXPECT_EQ(digests(*pool), content);
    EXPECT_EQ(pool->class_info(MediaClass::staging).spare_percent, 11u);
    EXPECT_EQ(pool->config().gid, 77u);
    EXPECT_EQ(pool->config().root_log_2, root_log_id(1));
    EXPECT_NE(pool->config().mdc_capacity, 0u);
    for (const std::string& path : paths)
      expect_recognised(path, pool->name(), pool->uuid());
  }
}

}  // namespace
}  // namespace mpool::interop
