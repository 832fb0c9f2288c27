#include "tests/interop/refpool.h"

#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>

#include "engine/io/overlay_device.h"
#include "tests/support/reference_pools.h"

namespace mpool::interop {

namespace fs = std::filesystem;

namespace {

class CountingOverlay : public OverlayDevice {
 public:
  CountingOverlay(std::unique_ptr<Device> base, std::shared_ptr<std::atomic<std::uint64_t>> writes)
      : OverlayDevice(std::move(base)), writes_(std::move(writes)) {}

 protected:
  void write_impl(std::uint64_t offset, ConstByteSpan from) override {
    ++*writes_;
    OverlayDevice::write_impl(offset, from);
  }

 private:
  std::shared_ptr<std::atomic<std::uint64_t>> writes_;
};

}  // namespace

std::vector<std::string> refpool_names() {
  std::vector<std::string> names;
  std::error_code missing;  // then there are no names, and a test reports that
  for (const auto& entry : fs::directory_iterator(test::reference_pools(), missing)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

RefPool::RefPool(const std::string& name) {
  const fs::path folder = test::reference_pools();
  std::ifstream file(folder / (name + ".json"));
  if (!file)
    throw std::runtime_error(fmt::format("no manifest of {} in {}", name, folder.string()));
  manifest_ = nlohmann::json::parse(file);
  const std::string command = fmt::format(
      "tar -xJSf '{}' -C '{}'", (folder / (name + ".tar.xz")).string(), folder_.path().string());
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
  for (const std::string& image : images()) {
    fs::permissions(image, fs::perms::owner_read | fs::perms::owner_write);
  }
}

std::vector<std::string> RefPool::images() const {
  std::vector<std::string> paths;
  for (const auto& image : manifest_.at("images")) {
    paths.push_back(folder_.path() / image.at("file").get<std::string>());
  }
  return paths;
}

std::vector<std::unique_ptr<Device>> RefPool::overlays(std::size_t count) const {
  std::vector<std::unique_ptr<Device>> devices;
  for (const std::string& image : images()) {
    if (devices.size() == count) break;
    devices.push_back(
        std::make_unique<CountingOverlay>(open_device(image, OpenMode::inspect), writes_));
  }
  return devices;
}

}  // namespace mpool::interop
