#include "fuse/native/map_views.h"

#include <vector>

#include "fuse/native/erofs_slots.h"

namespace mpoolfs {

// Unless the mount ends, no process has it open or mapped.
MapViews::File::~File() {
  if (!*ending_) view_->discard(erofs_slot_offset(slot_), kErofsSlotSize);
}

mpool::FileDescriptor MapViews::File::open() const {
  return view_->open(erofs_slot_name(slot_));
}

std::shared_ptr<const MapViews::File> MapViews::add(const mpool::FileLayout& layout) {
  const std::vector<ErofsPiece> pieces = devices_.pieces_of(layout);
  const ErofsFile file{.name = "map", .size = layout.size, .pieces = pieces};
  const std::lock_guard lock(mutex_);
  const unsigned slot = view_ == nullptr ? 0 : next_slot_ % kErofsSlots;
  const auto bytes = build_erofs_slot(slot, file, devices_.sizes());
  if (bytes.empty()) return nullptr;
  if (slot == 0) {
    view_ = std::make_shared<const View>(
        build_erofs_slots(devices_.sizes()), devices_.paths(),
        View::Room{.size = kErofsSlotsSize, .read_ahead = read_ahead_});
  }
  next_slot_ = slot + 1;
  view_->write(erofs_slot_offset(slot), bytes);
  return std::make_shared<const File>(view_, slot, ending_);
}

}  // namespace mpoolfs
