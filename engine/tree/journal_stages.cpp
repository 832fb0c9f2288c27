// How the journal writes a batch, stage by stage (engine/README.md, "The way of a commit").
#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>
#include <utility>

#include "engine/base/error.h"
#include "engine/tree/journal.h"
#include "engine/tree/times.h"

namespace mpool::names {

namespace {

enum class MblockState : std::uint8_t { uncommitted, committed };

// The mblocks of the changes in that state, each once, with its greatest length.
std::vector<ObjectRecord> mblocks_of(std::span<const Change> changes, MblockState state) {
  std::vector<ObjectRecord> objects;
  std::unordered_map<ObjectId, std::size_t> places;
  for (const Change& change : changes) {
    for (const SealedMblock& mblock : change.mblocks) {
      if (mblock.writer->is_committed() != (state == MblockState::committed)) continue;
      const ObjectRecord& object = mblock.object;
      const auto [place, first] = places.try_emplace(object.id, objects.size());
      if (first) {
        objects.push_back(object);
      } else if (object.written_length > objects[place->second].written_length) {
        objects[place->second] = object;
      }
    }
  }
  return objects;
}

}  // namespace

// Continues where an earlier attempt stopped. Steps without a stage can be repeated.
void Journal::write_stages(Batch& batch) {
  if (batch.stage == Stage::content) {
    flush_content(batch);
    batch.stage = Stage::extensions;
  }
  if (batch.stage == Stage::extensions) {
    extend_objects(batch);
    batch.stage = Stage::records;
  }
  if (batch.stage == Stage::records) {
    append_records(batch);
    // The logs pin their mlogs.
    for (Change& change : batch.changes)
      change.log_size.reset();
    batch.stage = Stage::sync;
  }
  if (batch.stage == Stage::sync) {
    if (batch.records) mdc_.sync(*batch.records);
    batch.stage = Stage::objects;
  }
  commit_objects(batch);
  remove_objects(batch);
}

// Writes the content of the batch's objects, and the log appends made before its changes were
// queued: no change is on the media without the appends before it.
void Journal::flush_content(const Batch& batch) {
  const bool has_records = std::ranges::any_of(
      batch.changes, [](const Change& change) { return !change.record.empty(); });
  if (has_records) owner_.write_logs();
  std::array<bool, kMediaClassCount> written{};
  std::map<Pack*, std::uint64_t> packs;  // the last position
  std::vector<std::pair<Pack*, Mlog::Written>> written_packs;
  for (const Change& change : batch.changes) {
    if (Pack* const pack = change.packed.pack.get()) {
      packs[pack] = std::max(packs[pack], change.packed.position);
      written[index_of(pack->media_class())] = true;
    }
    for (const SealedMblock& mblock : change.mblocks) {
      if (mblock.deferred) mblock.deferred->write_out();
      written[index_of(mblock.object.media_class)] = true;
    }
  }
  for (const auto& [pack, last] : packs)
    if (const auto unflushed = pack->write(last)) written_packs.emplace_back(pack, *unflushed);
  std::vector<Device*> flushed;
  for (const MediaClass media_class : pool_.classes()) {
    if (!written[index_of(media_class)]) continue;
    flushed.push_back(&pool_.device(media_class));
    flushed.back()->flush();
  }
  for (const auto& [pack, unflushed] : written_packs)
    pack->flushed(unflushed);
  if (has_records) owner_.make_logs_durable(flushed);
}

void Journal::append_records(Batch& batch) {
  for (const Change& change : batch.changes) {
    if (change.record.empty()) continue;
    // Its device failed, or a later change deletes it.
    if (const auto& size = change.log_size; size && !size->log->are_durable(size->appends)) {
      owner_.log_size_left_out(size->inode);
      continue;
    }
    if (!batch.records) append_mark();
    batch.records = mdc_.append(change.record);
    numbers_.records.add();
  }
}

std::vector<std::byte> Journal::encode_mark() const {
  return encode({to_nanoseconds(clock_.wall_time()),
                 BatchRecord{batch_number_, promised_inode(owner_.next_inode())}});
}

// Begins a new batch on the media: the previous one is complete.
Mdc::Ticket Journal::append_mark() {
  const Mdc::Ticket ticket = mdc_.append(encode_mark());
  ++batch_number_;
  last_commits_.clear();
  return ticket;
}

// The objects of committed mblocks become longer before a record has the content: without them it
// could not be read. A crash in between leaves a longer object, which harms nothing.
void Journal::extend_objects(const Batch& batch) {
  const std::vector<ObjectRecord> longer = mblocks_of(batch.changes, MblockState::committed);
  if (!longer.empty()) pool_.extend(longer);
}

void Journal::commit_objects(const Batch& batch) {
  const std::vector<ObjectRecord> extended = mblocks_of(batch.changes, MblockState::committed);
  std::vector<ObjectRecord> commits = mblocks_of(batch.changes, MblockState::uncommitted);
  for (const Change& change : batch.changes) {
    if (change.mlog) commits.push_back(*change.mlog);
  }
  if (!commits.empty()) pool_.commit(commits);
  for (const Change& change : batch.changes) {
    for (const SealedMblock& mblock : change.mblocks)
      mblock.writer->release();
  }
  commits.insert(commits.end(), extended.begin(), extended.end());
  if (commits.empty()) return;
  for (const ObjectRecord& object : commits)
    last_commits_.insert(object.id);
  owner_.committed(commits);
}

void Journal::remove_objects(const Batch& batch) {
  std::vector<ObjectId> released;
  for (const Change& change : batch.changes)
    released.insert(released.end(), change.deletes.begin(), change.deletes.end());
  const std::vector<ObjectId> deletes = references_.release(released);
  // A mount that finds an object of the last batch missing treats the batch as incomplete: the
  // batch must be followed by another before one of its objects is deleted.
  if (std::ranges::any_of(deletes,
                          [&](ObjectId object) { return last_commits_.contains(object); })) {
    mdc_.sync(append_mark());
  }
  references_.remove(deletes);
}

}  // namespace mpool::names
