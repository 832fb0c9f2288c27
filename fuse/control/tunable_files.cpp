#include "fuse/control/tunable_files.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/base/error.h"

namespace mpoolfs {

TunableFiles::TunableFiles(std::vector<TunableFile> files, const mpool::Logger& logger)
    : files_(std::move(files)) {
  texts_.reserve(files_.size());
  for (const TunableFile& file : files_) {
    texts_.emplace_back([&file] { return file.get() + '\n'; },
                        [&file, logger](std::string_view line) {
                          try {
                            file.set(line);
                          } catch (const mpool::Error& error) {
                            logger.warn("{}", error.what());
                            throw;
                          }
                        });
  }
}

ControlProvider::Info TunableFiles::describe(Node node) const {
  if (node == kSelf) return {.kind = mpool::FileKind::directory, .mode = 0555};
  if (node > texts_.size()) mpool::raise(ESTALE, "tunable", "there is no such file");
  return texts_[node - 1].describe(kSelf);
}

std::optional<ControlProvider::Node> TunableFiles::lookup(std::string_view name) const {
  const auto found = std::ranges::find(files_, name, &TunableFile::name);
  if (found == files_.end()) return std::nullopt;
  return static_cast<Node>(found - files_.begin()) + 1;
}

void TunableFiles::list(Node after, const Take& take) const {
  for (Node node = after + 1; node <= files_.size(); ++node) {
    if (!take(node, files_[node - 1].name)) return;
  }
}

std::unique_ptr<ControlFile> TunableFiles::open(Node node, const mpool::OpenIntent& intent) {
  return texts_.at(node - 1).open(kSelf, intent);
}

std::vector<TunableFile> tunables_of(mpool::Reaper& reaper) {
  std::vector<TunableFile> files;
  for (const mpool::ReaperTunable& tunable : mpool::reaper_tunables()) {
    files.push_back(
        {.name = std::string(tunable.name),
         .get = [&reaper, &tunable] { return tunable.get(reaper.settings()); },
         .set = [&reaper, &tunable](std::string_view value) { reaper.set(tunable.name, value); }});
  }
  return files;
}

}  // namespace mpoolfs
