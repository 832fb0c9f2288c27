#include "fuse/control/cached_map.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "engine/base/aligned_buffer.h"
#include "engine/base/bytes.h"
#include "engine/cache/page_cache.h"

namespace mpoolfs {

// What the map shares with its chunks, which may outlive it for a moment.
struct CachedMap::State {
  explicit State(mpool::Advice of) : advice(of) {}

  // Calls with a descriptor, unless the daemon serves the map. Prevents the end of the map for the
  // time of the call.
  template <typename Call>
  void look(const Call& call) const {
    std::shared_ptr<const MapViews::File> shown;
    {
      const std::lock_guard lock(mutex);
      shown = file.lock();
    }
    if (shown) shown->look(call);
  }

  std::atomic<mpool::Advice> advice;
  std::atomic<bool> ended = false;
  std::atomic<std::uint32_t> uses = 0;  // of the whole map, so far
  mutable std::mutex mutex;             // a leaf; guards the next
  std::weak_ptr<const MapViews::File> file;
};

class CachedMap::Chunk final : public mpool::CachedChunk {
 public:
  void init(const Chunks& chunks, std::uint64_t offset, std::uint64_t length) {
    chunks_ = &chunks;
    offset_ = offset;
    length_ = length;
  }
  std::uint64_t begin() const { return offset_; }
  void note_read(std::uint64_t length) noexcept {
    served_.fetch_add(length, std::memory_order_relaxed);
    reads_.fetch_add(1, std::memory_order_relaxed);
  }

  std::optional<State> look() override;
  void evict(std::uint64_t offset, std::uint64_t length) override;
  std::uint64_t length() const override { return length_; }
  mpool::Advice advice() const override;
  bool kept() const override { return true; }

 private:
  const Chunks* chunks_ = nullptr;
  std::uint64_t offset_ = 0;  // in the map
  std::uint64_t length_ = 0;
  std::atomic<std::uint64_t> served_ = 0;  // bytes since the last eviction
  std::atomic<std::uint32_t> reads_ = 0;   // so far
};

// All chunks of a map, in order. They live until the reaper has forgotten the last of them.
class CachedMap::Chunks {
 public:
  Chunks(std::shared_ptr<CachedMap::State> state, Drop drop, const mpool::Collection& members,
         std::uint64_t step);

  std::vector<std::shared_ptr<mpool::CachedChunk>> of(const std::shared_ptr<Chunks>& self);
  Chunk* at(std::uint64_t offset) noexcept;

  const std::shared_ptr<CachedMap::State> state;
  const Drop drop;

 private:
  std::vector<Chunk> chunks_;
};

std::optional<mpool::CachedChunk::State> CachedMap::Chunk::look() {
  const CachedMap::State& map = *chunks_->state;
  if (map.ended) return std::nullopt;
  State seen{.resident = std::min(served_.load(), length_) / mpool::kPageSize,
             .uses = std::uint64_t{map.uses} + reads_};
  map.look([&](int file) { seen.resident += mpool::resident_pages(file, offset_, length_); });
  return seen;
}

void CachedMap::Chunk::evict(std::uint64_t offset, std::uint64_t length) {
  const CachedMap::State& map = *chunks_->state;
  if (map.ended) return;
  map.look([&](int file) { mpool::drop_unmapped_pages(file, offset_ + offset, length); });
  const std::uint64_t served = std::min(served_.load(), length_);
  if (served == 0) return;
  served_ = served - std::min(served, length);
  chunks_->drop(offset_ + offset, length);
}

mpool::Advice CachedMap::Chunk::advice() const {
  return chunks_->state->advice;
}

CachedMap::Chunks::Chunks(std::shared_ptr<CachedMap::State> map, Drop drop_served,
                          const mpool::Collection& members, std::uint64_t step)
    : state(std::move(map)), drop(std::move(drop_served)) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < members.members().size(); ++i)
    count += mpool::ceil_div(members.length(i), step);
  chunks_ = std::vector<Chunk>(count);
  auto next = chunks_.begin();
  for (std::size_t i = 0; i < members.members().size(); ++i) {
    const std::uint64_t length = mpool::round_up(members.length(i), mpool::kPageSize);
    for (std::uint64_t at = 0; at < length; at += step)
      (next++)->init(*this, i * members.stride() + at, std::min(step, length - at));
  }
}

std::vector<std::shared_ptr<mpool::CachedChunk>> CachedMap::Chunks::of(
    const std::shared_ptr<Chunks>& self) {
  std::vector<std::shared_ptr<mpool::CachedChunk>> all;
  all.reserve(chunks_.size());
  for (Chunk& chunk : chunks_)
    all.emplace_back(self, &chunk);
  return all;
}

CachedMap::Chunk* CachedMap::Chunks::at(std::uint64_t offset) noexcept {
  const auto behind = std::ranges::upper_bound(chunks_, offset, {}, &Chunk::begin);
  return behind == chunks_.begin() ? nullptr : &*std::prev(behind);
}

CachedMap::CachedMap(mpool::Reaper& reaper, mpool::Advice advice)
    : reaper_(reaper), state_(std::make_shared<State>(advice)) {}

CachedMap::~CachedMap() {
  state_->ended = true;
  if (!chunks_.expired()) reaper_.note_use();
}

mpool::Advice CachedMap::advice() const {
  return state_->advice;
}

void CachedMap::set_advice(mpool::Advice advice) {
  state_->advice = advice;
  reaper_.note_use();
}

void CachedMap::show(const std::shared_ptr<const MapViews::File>& file) {
  const std::lock_guard lock(state_->mutex);
  state_->file = file;
}

void CachedMap::note_use(const mpool::Collection& members, const Drop& drop) {
  ++state_->uses;
  std::vector<std::shared_ptr<mpool::CachedChunk>> added;
  {
    const std::lock_guard lock(mutex_);
    if (chunks_.expired()) {
      const auto chunks =
          std::make_shared<Chunks>(state_, drop, members, reaper_.policy().chunk_size);
      added = chunks->of(chunks);
      chunks_ = chunks;
    }
  }
  if (added.empty()) return reaper_.note_use();
  reaper_.add(std::move(added));
}

void CachedMap::note_read(std::uint64_t offset, std::uint64_t length) noexcept {
  std::shared_ptr<Chunks> chunks;
  {
    const std::lock_guard lock(mutex_);
    chunks = chunks_.lock();
  }
  if (chunks == nullptr) return;
  if (Chunk* const chunk = chunks->at(offset)) chunk->note_read(length);
  reaper_.note_use();
}

}  // namespace mpoolfs
