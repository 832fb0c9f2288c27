#include "engine/file/file_io.h"

#include <utility>

namespace mpool {

// --- reads ---

void FileRead::done(int error) noexcept {
  fetched(data_, error);
}

void FileRead::fetched(ConstByteSpan data, int error) noexcept {
  --io_->pending_;
  finished(data, error);
}

void FileRead::wake() noexcept {
  io_->post_(arrival_);
}

void FileRead::Arrival::completed(std::int32_t) noexcept {
  read.io_->prefetch_.collect(read);
}

ReadResult FileIo::read(ReadSource& source, Buffering buffering, std::uint64_t offset,
                        std::size_t length, ByteSpan memory, FileRead& operation) {
  operation.io_ = this;
  if (buffering == Buffering::device) {
    auto found = prefetch_.fetch(source, offset, length, pending_ == 0, operation);
    using enum Prefetch::Fetched::State;
    if (found.state == ready) return {IoState::done, found.data, std::move(found.loan)};
    if (found.state == pending) {
      ++pending_;
      return {IoState::pending, {}};
    }
  }
  ReadPlan plan;
  if (!source.plan_read(offset, length, memory, plan)) return {};
  operation.data_ = memory.first(plan.length);
  if (plan.count == 0) return {IoState::done, operation.data_};
  operation.start(ring_, plan, memory);
  ++pending_;
  return {IoState::pending, {}};
}

// --- writes ---

void FileWrite::done(int error) noexcept {
  std::erase(io_->writes_, this);
  --io_->pending_;
  end_write(write_, error);
  write_ = {};
  finished(error);
}

std::size_t FileIo::max_writes_behind() const {
  const bool reads = group_.reads_active_ && group_.reads_active_();
  const Tunables::WriteBehind& limits = group_.tunables().write_behind;
  return reads ? limits.slots_beside_readers : limits.slots;
}

IoState FileIo::write(StartedWrite started, FileWrite& operation) {
  if (started.kind == StartedWrite::Kind::must_wait) return IoState::would_block;
  if (started.kind == StartedWrite::Kind::done) return IoState::done;
  if (write_behind_.take(started, max_writes_behind())) return IoState::done;
  operation.io_ = this;
  operation.write_ = std::move(started);
  begin_transfer(ring_, operation, operation.write_);
  writes_.push_back(&operation);
  ++pending_;
  return IoState::pending;
}

// --- the ring ---

FileIo::FileIo(IoRing& ring, FileIoGroup& group, Post post)
    : ring_(ring),
      group_(group),
      post_(std::move(post)),
      prefetch_(ring, group.prefetched_),
      write_behind_(ring, group.budget_, group.tunables().write_behind) {}

void FileIo::abandon(int error) noexcept {
  write_behind_.abandon(error);
  while (!writes_.empty())
    writes_.back()->done(error);
}

void FileIo::trim() noexcept {
  prefetch_.trim();
  write_behind_.trim();
}

}  // namespace mpool
