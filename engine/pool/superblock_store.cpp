#include "engine/pool/superblock_store.h"

#include <cassert>
#include <utility>

namespace mpool {
namespace {

void write_copies(Device& device, ConstByteSpan block) {
  for (const std::uint64_t offset : kSuperblockOffsets) {
    device.write(offset, block);
    device.flush();
  }
}

}  // namespace

void write_superblock_copy(Device& device, const Superblock& superblock, std::size_t copy) {
  AlignedBuffer block(kSuperblockSize);
  encode_superblock(superblock, block.span());
  device.write(kSuperblockOffsets.at(copy), block.span());
  device.flush();
}

void write_superblock(Device& device, const Superblock& superblock) {
  AlignedBuffer block(kSuperblockSize);
  encode_superblock(superblock, block.span());
  write_copies(device, block.span());
}

void wipe_superblocks(Device& device) {
  write_copies(device, AlignedBuffer::zeroed(kSuperblockSize).span());
}

SuperblockStore::SuperblockStore(Device& device, Superblock superblock, bool on_media)
    : device_(device), superblock_(std::move(superblock)), on_media_(on_media) {
  assert(superblock_.mdc0);
}

Mdc0Location SuperblockStore::mdc0() const {
  const std::lock_guard lock(mutex_);
  return *superblock_.mdc0;
}

std::string SuperblockStore::pool_name() const {
  const std::lock_guard lock(mutex_);
  return superblock_.pool_name;
}

// Called with the lock held.
void SuperblockStore::write_updated(Superblock updated) {
  if (on_media_) write_superblock(device_, updated);
  superblock_ = std::move(updated);
}

void SuperblockStore::record_generation(unsigned half, std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  Superblock updated = superblock_;
  updated.mdc0->halves.at(half).generation = generation;
  write_updated(std::move(updated));
}

void SuperblockStore::record_params(const std::string& pool_name, const DeviceParams& device) {
  const std::lock_guard lock(mutex_);
  Superblock updated = superblock_;
  updated.pool_name = pool_name;
  updated.device = device;
  updated.mdc0->device = device;
  write_updated(std::move(updated));
}

void SuperblockStore::publish() {
  const std::lock_guard lock(mutex_);
  write_superblock(device_, superblock_);
  on_media_ = true;
}

}  // namespace mpool
