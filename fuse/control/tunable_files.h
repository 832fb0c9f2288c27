// The directory `.mpool/tunable` (mpoolfs(8), "TUNABLES").
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/logger.h"
#include "engine/cache/reaper.h"
#include "fuse/control/provider.h"

namespace mpoolfs {

// A number or text that can be changed while the mount is used.
struct TunableFile {
  std::string name;
  std::function<std::string()> get;
  std::function<void(std::string_view value)> set;  // throws Error
};

// One file for each: read, its value; written, a line is the new value. Failures are logged.
class TunableFiles : public ControlProvider {
 public:
  TunableFiles(std::vector<TunableFile> files, const mpool::Logger& logger);

  Info describe(Node node) const override;
  std::optional<Node> lookup(std::string_view name) const override;
  void list(Node after, const Take& take) const override;
  std::unique_ptr<ControlFile> open(Node node, const mpool::OpenIntent& intent) override;

 private:
  const std::vector<TunableFile> files_;  // that of node n is at n - 1
  std::vector<TextFile> texts_;
};

// Those of the reaper, which must outlive them.
std::vector<TunableFile> tunables_of(mpool::Reaper& reaper);

}  // namespace mpoolfs
