#include "engine/tree/replay.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

#include <fmt/format.h>

#include "engine/object/packed_record.h"

namespace mpool::names {
namespace {

template <typename... Args>
[[noreturn]] void refuse_record(fmt::format_string<Args...> format, Args&&... args) {
  raise(ENOTRECOVERABLE, "namespace", "{}", fmt::format(format, std::forward<Args>(args)...));
}

bool is_possible(const Extent& extent, const MlogLocation& log) {
  const PackedRecord record{extent.position, extent.length};
  return end_of_packed(log.sector_size, log.capacity, record).has_value();
}

}  // namespace

std::vector<ObjectId> new_objects(const Record& record) {
  std::vector<ObjectId> objects;
  if (const auto* pack = std::get_if<PackRecord>(&record.body)) objects.push_back(pack->object);
  const Content* content = nullptr;
  if (const auto* create = std::get_if<CreateRecord>(&record.body)) content = &create->content;
  if (const auto* added = std::get_if<ContentRecord>(&record.body)) content = &added->content;
  if (content == nullptr) return objects;
  for (const Extent& extent : content->extents) {
    if (content->kind == FileKind::write_once && is_packed(extent)) continue;
    objects.push_back(extent.object);
  }
  return objects;
}

template <typename Step>
void Replay::attempt(std::uint64_t number, const Step& step) {
  try {
    step();
  } catch (const Error& error) {
    on_invalid_record_(number, error);
  }
}

// An inode number must have been promised by the last BATCH.
void Replay::check_inode(const Record& record) const {
  const auto* create = std::get_if<CreateRecord>(&record.body);
  if (create == nullptr || inode_limit_ == 0 || create->inode < inode_limit_) return;
  refuse_record("CREATE record: inode {} is not below {}, as its BATCH record says", create->inode,
                inode_limit_);
}

// The objects may be assigned to the inode; 0: they may become packs.
void Replay::check_free(const std::vector<ObjectId>& objects, InodeNumber inode) const {
  const auto user = [&] {
    return inode == 0 ? std::string("a PACK record") : fmt::format("inode {}", inode);
  };
  for (const ObjectId object : objects) {
    const std::string id = object.to_string();
    if (orphaned_.contains(object)) {
      refuse_record("{} has object {}, which was deleted before", user(), id);
    }
    if (tree_.packs().contains(object)) {
      refuse_record("{} has object {}, which is a pack", user(), id);
    }
    const auto owner = owners_.find(object);
    if (owner == owners_.end()) continue;
    if (owner->second != inode || object.is_mlog()) {
      refuse_record("{} has object {}, which is that of inode {}", user(), id, owner->second);
    }
  }
}

void Replay::own(const std::vector<ObjectId>& objects, InodeNumber inode) {
  for (const ObjectId object : objects)
    owners_.insert_or_assign(object, inode);
}

// No file uses the object any more.
void Replay::orphan(ObjectId object) {
  owners_.erase(object);
  orphaned_.insert(object);
}

void Replay::orphan_unnamed(InodeNumber inode) {
  if (inode == 0) return;
  for (const ObjectId object : tree_.get(inode).objects())
    orphan(object);
  tree_.erase(inode);
}

void Replay::apply_orphans(const OrphanRecord& record) {
  for (const ObjectId object : record.objects) {
    if (const auto owner = owners_.find(object); owner != owners_.end()) {
      refuse_record("ORPHAN record: object {} is that of inode {}", object.to_string(),
                    owner->second);
    }
    const auto pack = tree_.packs().packs().find(object);
    if (pack != tree_.packs().packs().end() && pack->second.extents > 0) {
      refuse_record("ORPHAN record: object {} is a pack with content of {} files",
                    object.to_string(), pack->second.extents);
    }
  }
  for (const ObjectId object : record.objects) {
    tree_.remove_pack(object);
    orphaned_.insert(object);
  }
}

void Replay::apply_content(const ContentRecord& content, const Record& record) {
  const Inode* inode = tree_.find(content.inode);
  if (inode != nullptr && cuts(content, *inode)) {
    const std::vector<ObjectId> objects = inode->objects();
    tree_.apply(record);
    for (const ObjectId object : missing_objects(objects, *inode))
      orphan(object);
    return;
  }
  const std::vector<ObjectId> objects = new_objects(record);
  if (!content.replace || inode == nullptr || !inode->extents) {
    check_free(objects, content.inode);
    tree_.apply(record);
    own(objects, content.inode);
    return;
  }
  const std::vector<ObjectId> before = inode->objects();
  std::unordered_set<ObjectId> replaced(before.begin(), before.end());
  std::vector<ObjectId> added;
  std::ranges::copy_if(objects, std::back_inserter(added),
                       [&](ObjectId object) { return !replaced.contains(object); });
  check_free(added, content.inode);
  tree_.apply(record);
  own(added, content.inode);
  for (const ObjectId object : objects)
    replaced.erase(object);
  for (const ObjectId object : replaced)
    orphan(object);
}

void Replay::apply(const Record& record) {
  if (const auto* orphans = std::get_if<OrphanRecord>(&record.body)) {
    return apply_orphans(*orphans);
  }
  if (const auto* content = std::get_if<ContentRecord>(&record.body)) {
    return apply_content(*content, record);
  }
  const auto* create = std::get_if<CreateRecord>(&record.body);
  const std::vector<ObjectId> objects = new_objects(record);
  check_free(objects, create != nullptr ? create->inode : 0);
  const InodeNumber unnamed = tree_.apply(record);
  if (create != nullptr) own(objects, create->inode);
  orphan_unnamed(unnamed);
}

// A record that did not take effect: its existing objects are deleted, except one that belonged to
// the file before and only became longer.
void Replay::give_up(const Record& record) {
  const auto* content = std::get_if<ContentRecord>(&record.body);
  for (const ObjectId object : new_objects(record)) {
    const auto owner = owners_.find(object);
    if (owner != owners_.end()) {
      const bool added = content != nullptr && !content->replace;
      if (added && owner->second == content->inode && object.is_mblock()) continue;
      refuse_record("a record undone has object {}, which is that of inode {}", object.to_string(),
                    owner->second);
    }
    if (tree_.packs().contains(object)) {
      refuse_record("a record undone has object {}, which is a pack", object.to_string());
    }
    orphaned_.insert(object);
  }
}

void Replay::apply_last_batch(std::size_t keep) {
  const std::vector<Numbered> batch = std::exchange(batch_, {});
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const Record& record = batch[i].record;
    attempt(batch[i].number, [&] { i < keep ? apply(record) : give_up(record); });
  }
}

void Replay::begin_batch(const BatchRecord& mark) {
  apply_last_batch(batch_.size());
  attempt(taken_, [&] {
    if (mark.number < last_batch_) {
      refuse_record("BATCH record: batch {} after batch {}", mark.number, last_batch_);
    }
    if (mark.next_inode < tree_.next_inode()) {
      refuse_record("BATCH record: next inode {}, but {} are in use", mark.next_inode,
                    tree_.next_inode());
    }
    last_batch_ = mark.number;
    inode_limit_ = mark.next_inode;
    tree_.raise_next_inode(mark.next_inode);
  });
}

void Replay::roll_back(const RollbackRecord& record) {
  const std::size_t count = batch_.size();
  attempt(taken_, [&] {
    if (record.keep > count) {
      refuse_record("ROLLBACK record: keeps {} records of {}", record.keep, count);
    }
  });
  apply_last_batch(std::min<std::size_t>(record.keep, count));
}

void Replay::take(Record record) {
  if (!std::holds_alternative<MdcEndsRecord>(record.body)) log_sizes_.reset();
  if (const auto* mark = std::get_if<BatchRecord>(&record.body)) {
    begin_batch(*mark);
  } else if (auto* ends = std::get_if<MdcEndsRecord>(&record.body)) {
    // It is written only when the last batch is complete.
    apply_last_batch(batch_.size());
    mdc_ends_ = std::move(*ends);
  } else if (auto* sizes = std::get_if<LogSizesRecord>(&record.body)) {
    // As the previous case.
    apply_last_batch(batch_.size());
    log_sizes_ = std::move(*sizes);
  } else if (const auto* rollback = std::get_if<RollbackRecord>(&record.body)) {
    roll_back(*rollback);
  } else if (std::holds_alternative<OwnerRecord>(record.body)) {
    attempt(taken_, [&] {
      if (taken_ != 0) refuse_record("OWNER record: it is not the first");
    });
  } else {
    attempt(taken_, [&] {
      check_inode(record);
      batch_.push_back({taken_, std::move(record)});
    });
  }
  ++taken_;
}

std::size_t Replay::complete_records(const std::function<bool(ObjectId)>& exists) const {
  std::size_t complete = 0;
  for (const Numbered& entry : batch_) {
    if (!std::ranges::all_of(new_objects(entry.record), exists)) return complete;
    ++complete;
  }
  return complete;
}

std::vector<ObjectId> Replay::objects_after(std::size_t keep) const {
  std::vector<ObjectId> objects;
  for (std::size_t i = keep; i < batch_.size(); ++i)
    std::ranges::copy(new_objects(batch_[i].record), std::back_inserter(objects));
  return objects;
}

bool belongs_to_another_client(MlogReader& reader, const Uuid& user_type) {
  // records: damage of a log of mpoolfs does not make all of them invalid
  constexpr unsigned kMaxRecords = 64;
  std::vector<std::byte> bytes;
  if (!reader.next(bytes)) return !user_type.is_nil() && user_type != kTreeUserType;
  bool other = !is_owner_record(bytes);
  for (unsigned i = 0; other && i < kMaxRecords && reader.next(bytes); ++i)
    other = !decode(bytes).has_value();
  reader.rewind();
  return other;
}

void check_objects(const Inode& inode, const std::function<KnownObject(ObjectId)>& find,
                   const std::function<void(const std::string&)>& fault) {
  if (!inode.extents) return;
  const bool log = inode.kind == FileKind::log;
  for (const Extent& extent : *inode.extents) {
    const KnownObject object = find(extent.object);
    const bool packed = !log && is_packed(extent);
    if (!object.may_exist) {
      const char* what = packed ? "pack" : "mblock";
      fault(fmt::format("its {} {} (bytes {} to {}) does not exist", log ? "mlog" : what,
                        extent.object.to_string(), extent.file_offset,
                        extent.file_offset + extent.length));
      continue;
    }
    if (packed && object.log && !is_possible(extent, *object.log)) {
      fault(
          fmt::format("bytes {} to {} are said to be in pack {} at byte {}, where no record of "
                      "that length can be",
                      extent.file_offset, extent.file_offset + extent.length,
                      extent.object.to_string(), extent.position));
    }
    if (log || packed || !object.record) continue;
    const std::uint64_t written = object.record->written_length;
    if (extent.position > written || extent.length > written - extent.position) {
      fault(
          fmt::format("bytes {} to {} are said to be in mblock {} from byte {} on, which has "
                      "only {}",
                      extent.file_offset, extent.file_offset + extent.length,
                      extent.object.to_string(), extent.position, written));
    }
  }
}

}  // namespace mpool::names
