#include "engine/file/repacker.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "engine/base/error.h"
#include "engine/file/active_inode.h"

namespace mpool::names {
namespace {

constexpr std::uint64_t kStepBytes = 1u << 20;  // moved by one step of the job
constexpr std::size_t kBucketsAtOnce = 4096;    // of the tree, with its lock held

bool can_move(const Inode& inode) {
  return inode.on_media() && !is_being_written(inode) && inode.is_in_pack();
}

bool has_content_in(const Inode& inode, ObjectId pack) {
  return can_move(inode) && std::ranges::any_of(*inode.extents, [&](const Extent& extent) {
           return extent.object == pack;
         });
}

}  // namespace

Repacker::Repacker(RecordedTree& tree, Packs& packs)
    : tree_(tree),
      pool_(tree.pool()),
      packs_(packs),
      moved_bytes_(pool_.metrics().counter("mpoolfs_pack_moved_bytes_total",
                                           "Content moved out of packs that were mostly garbage")) {
}

void Repacker::start() {
  const Tunables::Packing& tunables = pool_.tunables().packing;
  if (tunables.collect_delay.count() == 0) return;
  job_.emplace(pool_.jobs(),
               JobOptions{.name = "repack",
                          .priority = JobPriority::low,
                          .bytes_per_second = tunables.bytes_per_second},
               [this](JobOrder order) { return step(order); });
  const auto request = [this, delay = tunables.collect_delay] { job_->request(delay); };
  const TreeLock lock(tree_.mutex());
  tree_.packs().on_garbage(request);
  packs_.on_retirable(request);
  if (!tree_.packs().packs().empty()) job_->request(tunables.collect_delay);
}

void Repacker::stop() {
  if (!job_) return;
  {
    const TreeLock lock(tree_.mutex());
    tree_.packs().on_garbage(nullptr);
  }
  packs_.on_retirable(nullptr);
  job_->stop();
}

void Repacker::run() {
  while (step(JobOrder::work).more) {
  }
}

JobStep Repacker::step(JobOrder order) {
  const std::lock_guard lock(mutex_);
  try {
    if (order == JobOrder::work && !pool_.offline()) return take_step();
  } catch (const Error& error) {
    if (error.code() == ENOSPC) {
      pool_.log().debug("pool {}: no room to move content of packs: {}", pool_.name(),
                        error.what());
    } else {
      pool_.log().error("pool {}: moving content of packs: {}", pool_.name(), error.what());
    }
  }
  pass_.reset();
  return {};
}

JobStep Repacker::take_step() {
  if (!pass_) pass_ = begin_pass();
  if (!pass_) {
    packs_.retire_unused();
    return {};
  }
  std::uint64_t moved = 0;
  while (!pass_->inodes.empty() && moved < kStepBytes) {
    moved += move(pass_->inodes.back(), pass_->pack);
    pass_->inodes.pop_back();
  }
  moved_bytes_.add(moved);
  if (pass_->inodes.empty()) end_pass();
  return {.more = true, .bytes = 2 * moved};
}

std::optional<Repacker::Pass> Repacker::begin_pass() {
  const ObjectId pack = choose();
  if (pack == ObjectId{}) return std::nullopt;
  return Pass{pack, inodes_in(pack)};
}

// The pack with the least content of those that are filled no more and more than half garbage.
ObjectId Repacker::choose() const {
  const TreeReadLock lock(tree_.mutex());
  ObjectId best;
  std::uint64_t least = UINT64_MAX;
  for (const auto& [pack, usage] : tree_.packs().packs()) {
    if (usage.extents == 0 || usage.live >= least || packs_.is_filling(pack)) continue;
    const auto stuck = stuck_.find(pack);
    if (stuck != stuck_.end() && stuck->second == usage.extents) continue;
    const auto object = pool_.find(pack);
    if (!object || !pool_.has_class(object->media_class)) continue;
    const MlogLocation log = pool_.mlog_location(*object);
    if (usage.live * 2 >= packed_capacity(log.sector_size, log.capacity)) continue;
    best = pack;
    least = usage.live;
  }
  return best;
}

// Names may come and go meanwhile: what is missed keeps the pack until a later pass.
std::vector<InodeNumber> Repacker::inodes_in(ObjectId pack) const {
  std::vector<InodeNumber> found;
  for (std::size_t bucket = 0;;) {
    const TreeReadLock lock(tree_.mutex());
    const auto& inodes = tree_.inodes();
    const std::size_t stop = std::min(bucket + kBucketsAtOnce, inodes.bucket_count());
    for (; bucket < stop; ++bucket) {
      for (auto inode = inodes.begin(bucket); inode != inodes.end(bucket); ++inode) {
        if (has_content_in(inode->second, pack)) found.push_back(inode->first);
      }
    }
    if (bucket >= inodes.bucket_count()) return found;
  }
}

void Repacker::end_pass() {
  const ObjectId pack = std::exchange(pass_, std::nullopt)->pack;
  const TreeReadLock lock(tree_.mutex());
  const auto usage = tree_.packs().packs().find(pack);
  if (usage != tree_.packs().packs().end() && usage->second.extents > 0) {
    stuck_[pack] = usage->second.extents;
  } else {
    stuck_.erase(pack);
  }
}

// Returns the number of bytes moved.
std::uint64_t Repacker::move(InodeNumber number, ObjectId pack) {
  std::vector<Extent> extents;
  {
    const TreeReadLock lock(tree_.mutex());
    const Inode* const inode = tree_.find(number);
    if (inode == nullptr || !can_move(*inode)) return 0;
    std::ranges::copy_if(*inode->extents, std::back_inserter(extents),
                         [&](const Extent& extent) { return extent.object == pack; });
  }
  std::uint64_t moved = 0;
  for (const Extent& extent : extents)
    moved += move(number, extent) ? extent.length : 0;
  return moved;
}

bool Repacker::move(InodeNumber number, const Extent& extent) {
  const auto object = pool_.find(extent.object);
  if (!object) return false;  // its content is gone meanwhile
  const auto room = packs_.make_room_for_move(object->media_class);
  while (!room->try_reserve(extent.length))
    room->prepare(extent.length);
  std::vector<std::byte> content(extent.length);
  try {
    packs_.read({extent.position, extent.length}, *object, content);
  } catch (const Error& error) {
    if (error.code() != EIO) throw;
    pool_.log().error("pool {}: content of inode {} is damaged and stays where it is: {}",
                      pool_.name(), number, error.what());
    return false;
  }
  auto packed = room->try_append(content);
  if (!packed) packed = room->append(std::move(content));
  const ChangeLock lock = tree_.begin_change(kSmallRecord, RoomFor::release);
  const Inode* const inode = tree_.find(number);
  if (inode == nullptr || !can_move(*inode) || std::ranges::count(*inode->extents, extent) == 0) {
    return false;
  }
  const Record record{
      tree_.now(),
      MoveRecord{number,
                 {{extent.file_offset, packed->pack->id(), packed->position, extent.length}}}};
  tree_.apply(record);
  tree_.journal().add({.record = encode(record), .packed = *packed});
  return true;
}

}  // namespace mpool::names
