// New pools are recognised by libblkid's command.
#include <array>
#include <cstdio>

#include <gtest/gtest.h>

#include "engine/pool/discovery.h"
#include "engine/pool/pool.h"
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

}  // namespace
}  // namespace mpool::interop
