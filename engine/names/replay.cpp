#include "engine/names/replay.h"

namespace mpool::names {

const std::vector<Extent>& new_extents(const Record& record) {
  static const std::vector<Extent> none;
  if (const auto* create = std::get_if<CreateRecord>(&record.body)) return create->content.extents;
  if (const auto* content = std::get_if<ContentRecord>(&record.body)) {
    return content->content.extents;
  }
  return none;
}

void Replay::bury(const std::vector<Extent>& extents) {
  for (const Extent& extent : extents)
    dead_.insert(extent.object);
}

void Replay::apply(const Record& record) {
  if (const auto* orphan = std::get_if<OrphanRecord>(&record.body)) {
    dead_.insert(orphan->objects.begin(), orphan->objects.end());
    return;
  }
  if (const auto* content = std::get_if<ContentRecord>(&record.body);
      content != nullptr && content->replace) {
    const Inode* inode = tree_.find(content->inode);
    if (inode != nullptr && inode->extents) bury(*inode->extents);
  }
  const InodeNumber unnamed = tree_.apply(record);
  if (unnamed == 0) return;
  for (const ObjectId object : tree_.get(unnamed).objects())
    dead_.insert(object);
  tree_.erase(unnamed);
}

void Replay::settle(std::size_t keep) {
  const std::vector<Numbered> batch = std::exchange(batch_, {});
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (i >= keep) {
      bury(new_extents(batch[i].record));
      continue;
    }
    try {
      apply(batch[i].record);
    } catch (const Error& error) {
      misfit_(batch[i].number, error);
    }
  }
}

void Replay::take(Record record) {
  if (const auto* mark = std::get_if<BatchRecord>(&record.body)) {
    settle(batch_.size());
    last_batch_ = mark->number;
    tree_.raise_next_inode(mark->next_inode);
  } else if (const auto* rollback = std::get_if<RollbackRecord>(&record.body)) {
    settle(rollback->keep);
  } else if (!std::holds_alternative<OwnerRecord>(record.body)) {
    batch_.push_back({taken_, std::move(record)});
  }
  ++taken_;
}

std::size_t Replay::complete_records(const std::function<bool(ObjectId)>& exists) const {
  std::size_t complete = 0;
  for (const Numbered& entry : batch_) {
    for (const Extent& extent : new_extents(entry.record)) {
      if (!exists(extent.object)) return complete;
    }
    ++complete;
  }
  return complete;
}

}  // namespace mpool::names
