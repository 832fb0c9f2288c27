#include "fuse/ops/served_files.h"

#include <algorithm>
#include <utility>

#include "engine/base/aligned_buffer.h"
#include "engine/base/bytes.h"

namespace mpoolfs {

class ServedFiles::Chunk final : public mpool::CachedChunk {
 public:
  Chunk(std::shared_ptr<ServedFile> file, std::size_t index, std::uint64_t length,
        Notifier& notifier)
      : file_(std::move(file)),
        part_(file_->chunks_[index]),
        offset_(index * file_->chunk_size_),
        length_(length),
        notifier_(notifier) {}

  std::optional<State> look() override {
    return State{.resident = std::min(part_.bytes.load(), length_) / mpool::kPageSize,
                 .uses = part_.reads};
  }
  void evict(std::uint64_t offset, std::uint64_t length) override {
    const std::uint64_t kept = std::min(part_.bytes.load(), length_);
    part_.bytes = kept - std::min(kept, length);
    notifier_.drop_pages(file_->inode_, offset_ + offset, length);
  }
  std::uint64_t length() const override { return length_; }
  mpool::Advice advice() const override { return file_->advice_.get(); }
  bool kept() const override { return file_->holds_ > 0; }

 private:
  const std::shared_ptr<ServedFile> file_;
  ServedFile::Part& part_;
  const std::uint64_t offset_;
  const std::uint64_t length_;
  Notifier& notifier_;
};

std::shared_ptr<ServedFile> ServedFiles::opened(mpool::InodeNumber inode, std::uint64_t size) {
  std::shared_ptr<ServedFile> file;
  std::vector<std::shared_ptr<mpool::CachedChunk>> added;
  {
    const std::lock_guard lock(mutex_);
    std::weak_ptr<ServedFile>& known = files_[inode];
    file = known.lock();
    const std::uint64_t step = reaper_.policy().chunk_size;
    if (!file) {
      file = std::make_shared<ServedFile>(inode, size, step);
      known = file;
    }
    for (std::size_t i = 0; i < file->chunks_.size(); ++i) {
      if (!file->chunks_[i].chunk.expired()) continue;
      auto chunk = std::make_shared<Chunk>(file, i, std::min(step, size - i * step), notifier_);
      file->chunks_[i].chunk = chunk;
      added.push_back(std::move(chunk));
    }
  }
  if (!file->advice_.is_known()) file->advice_.init(names_.advice(inode));
  ++file->holds_;
  std::shared_ptr<ServedFile> hold(file.get(), [file](ServedFile*) { --file->holds_; });
  if (!added.empty()) reaper_.add(std::move(added));
  return hold;
}

void ServedFiles::set_advice(mpool::InodeNumber inode, mpool::Advice advice) {
  const std::lock_guard lock(mutex_);
  if (const auto file = files_.find(inode)) file->advice_.set(advice);
}

void ServedFile::note_read(std::uint64_t offset, std::uint64_t length) noexcept {
  const std::size_t index = offset / chunk_size_;
  if (index >= chunks_.size()) return;
  chunks_[index].bytes.fetch_add(length, std::memory_order_relaxed);
  chunks_[index].reads.fetch_add(1, std::memory_order_relaxed);
}

void ServedFiles::note_read(ServedFile& file, std::uint64_t offset, std::uint64_t length) noexcept {
  file.note_read(offset, length);
  reaper_.note_read();
}

}  // namespace mpoolfs
