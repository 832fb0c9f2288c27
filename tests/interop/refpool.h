// The reference pools: images of another implementation and their expected content
// (tests/interop/pools/README.md).
#pragma once

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/io/device.h"
#include "engine/io/open.h"
#include "tests/support/temporary_directory.h"

namespace mpool::interop {

// Names of all images, sorted; empty when the folder is missing.
std::vector<std::string> refpool_names();

// The name of a test of the image that it has as parameter.
template <typename Info>
std::string test_name(const Info& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// One reference pool, extracted into a folder of its own. Throws std::runtime_error when that
// fails.
class RefPool {
 public:
  explicit RefPool(const std::string& name);

  const nlohmann::json& manifest() const { return manifest_; }
  const nlohmann::json& expected() const { return manifest_.at("expected"); }
  unsigned mdc_count() const { return manifest_.at("mdcnum_at_create"); }
  // Image files, in the manifest's order: capacity first.
  std::vector<std::string> images() const;
  // Overlays over the images: writes stay in memory and are counted by writes(). `count`: only the
  // first ones.
  std::vector<std::unique_ptr<Device>> overlays(std::size_t count = SIZE_MAX) const;

  // Writes to all overlays so far, also those that ended.
  std::uint64_t writes() const { return *writes_; }

 private:
  test::TemporaryDirectory folder_;
  nlohmann::json manifest_;
  std::shared_ptr<std::atomic<std::uint64_t>> writes_ =
      std::make_shared<std::atomic<std::uint64_t>>(0);
};

}  // namespace mpool::interop
