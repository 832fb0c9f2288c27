#include "fuse/native/cached_files.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <vector>

#include <sys/stat.h>

#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "engine/cache/page_cache.h"
#include "fuse/native/view_set.h"

namespace mpoolfs {

class CachedFiles::File {
 public:
  File(mpool::InodeNumber inode, const std::shared_ptr<const View>& view)
      : view_(view), name_(name_in_view(inode)) {}

  // Null: its view has ended.
  mpool::FileDescriptor open() const {
    const auto view = view_.lock();
    return view ? view->open(name_) : mpool::FileDescriptor();
  }
  bool is_of(const std::shared_ptr<const View>& view) const { return view_.lock() == view; }

  mpool::FileAdvice advice;
  std::atomic<unsigned> holds = 0;
  std::atomic<std::uint64_t> opens = 0;      // so far
  std::vector<std::weak_ptr<Chunk>> chunks;  // under CachedFiles::mutex_

 private:
  const std::weak_ptr<const View> view_;
  const std::string name_;
};

class CachedFiles::Chunk final : public mpool::CachedChunk {
 public:
  Chunk(std::shared_ptr<File> file, std::uint64_t offset, std::uint64_t length)
      : file_(std::move(file)), offset_(offset), length_(length) {}

  std::optional<State> look() override {
    const std::uint64_t opens = file_->opens;
    const mpool::FileDescriptor file = file_->open();
    if (!file) return std::nullopt;
    return State{.resident = mpool::resident_pages(file.get(), offset_, length_), .uses = opens};
  }
  void evict(std::uint64_t offset, std::uint64_t length) override {
    const mpool::FileDescriptor file = file_->open();
    if (file) mpool::drop_unmapped_pages(file.get(), offset_ + offset, length);
  }
  std::uint64_t length() const override { return length_; }
  mpool::Advice advice() const override { return file_->advice.get(); }
  bool kept() const override { return file_->holds > 0; }

 private:
  const std::shared_ptr<File> file_;
  const std::uint64_t offset_;
  const std::uint64_t length_;
};

CachedFileHold CachedFiles::opened(mpool::InodeNumber inode,
                                   const std::shared_ptr<const View>& view, int fd) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) mpool::raise_system(errno, "view", "fstat");
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  std::shared_ptr<File> file;
  std::vector<std::shared_ptr<mpool::CachedChunk>> added;
  {
    const std::lock_guard lock(mutex_);
    std::weak_ptr<File>& known = files_[inode];
    file = known.lock();
    if (!file || !file->is_of(view)) {
      file = std::make_shared<File>(inode, view);
      known = file;
    }
    const std::uint64_t step = reaper_.policy().chunk_size;
    file->chunks.resize(mpool::ceil_div(size, step));
    for (std::size_t i = 0; i < file->chunks.size(); ++i) {
      if (!file->chunks[i].expired()) continue;
      const std::uint64_t offset = i * step;
      auto chunk = std::make_shared<Chunk>(file, offset, std::min(step, size - offset));
      file->chunks[i] = chunk;
      added.push_back(std::move(chunk));
    }
  }
  if (!file->advice.is_known()) file->advice.init(names_.advice(inode));
  ++file->opens;
  ++file->holds;
  CachedFileHold hold(file.get(), [file](const void*) { --file->holds; });
  reaper_.add(std::move(added));
  return hold;
}

void CachedFiles::set_advice(mpool::InodeNumber inode, mpool::Advice advice) {
  const std::lock_guard lock(mutex_);
  if (const auto file = files_.find(inode)) file->advice.set(advice);
}

}  // namespace mpoolfs
