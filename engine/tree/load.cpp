// Reading the tree from the root MDC, and writing all of it.
#include <array>
#include <cerrno>
#include <unordered_set>

#include "engine/base/error.h"
#include "engine/tree/mdc_ends.h"
#include "engine/tree/recorded_tree.h"
#include "engine/tree/replay.h"

namespace mpool::names {

// Faults of the records on the media. A writing mount fails with them before anything is written; a
// read-only one shows the rest.
class Damage {
 public:
  Damage(const Pool& pool, bool read_only) : pool_(pool), read_only_(read_only) {}

  void in_record(std::uint64_t number, int code, std::string_view detail) {
    add(code, fmt::format("root MDC, record {}: {}", number, detail));
    if (!read_only_) refuse();
  }
  void in_log(int code, std::string text) {
    add(code, std::move(text));
    if (!read_only_) refuse();
  }
  // All faults are logged before refuse_if_any().
  void in_file(const Tree& tree, InodeNumber inode, std::string_view detail) {
    // Searching for the name takes long.
    const std::string path = count_ < kMaxMessages ? tree.path_of(inode) : std::string();
    add(ENOTRECOVERABLE, fmt::format("file '{}' (inode {}): {}", path, inode, detail));
  }
  bool any() const { return count_ != 0; }
  void refuse_if_any() const {
    if (count_ != 0 && !read_only_) refuse();
  }

 private:
  static constexpr std::size_t kMaxMessages = 20;

  void add(int code, std::string text) {
    if (++count_ == 1) {
      code_ = code;
      first_ = text;
    }
    if (count_ <= kMaxMessages) pool_.log().error("pool {}: {}", pool_.name(), text);
  }
  [[noreturn]] void refuse() const {
    raise(code_, "pool " + pool_.name(),
          "{}{}: nothing was written; it can be mounted with -o ro, mpool check tells more", first_,
          count_ > 1 ? fmt::format(" (and {} more)", count_ - 1) : "");
  }

  const Pool& pool_;
  const bool read_only_;
  std::size_t count_ = 0;
  int code_ = 0;
  std::string first_;
};

namespace {

void read_records(MlogReader& reader, Replay& replay, Damage& damage) {
  std::vector<std::byte> bytes;
  while (reader.next(bytes)) {
    auto record = decode(bytes);
    if (record) {
      replay.take(std::move(*record));
      continue;
    }
    const DecodeFault& fault = record.error();
    damage.in_record(replay.taken(), fault.later_version ? ENOTSUP : ENOTRECOVERABLE, fault.detail);
    replay.skip();
  }
}

std::vector<MdcEnd> ends_of(const Pool& pool) {
  std::vector<MdcEnd> ends;
  for (const Mdc::State& state : pool.mdc_states())
    ends.push_back(end_of(state));
  return ends;
}

bool was_handed_out(const std::vector<Pool::MdcStats>& mdcs, ObjectId id) {
  return id.slot() != 0 && id.slot() < mdcs.size() &&
         id.uniquifier() <= mdcs[id.slot()].last_uniquifier;
}

// The log of a root MDC that no client has used.
bool is_unused(const Mdc& mdc, const Replay& replay) {
  // A crash may have cut the first flush after its first record.
  constexpr std::uint64_t kOwnerOnly = 1;
  const Mdc::Stats stats = mdc.stats();
  return stats.generations == std::array<std::uint64_t, 2>{0, 1} && replay.taken() <= kOwnerOnly;
}

}  // namespace

// Applies the records of the log. Returns the number of valid records of the last batch, nullopt:
// all.
std::optional<std::size_t> RecordedTree::replay_log(Replay& replay, Damage& damage) {
  MlogReader reader = mdc_->reader();
  foreign_ = belongs_to_another_client(reader, pool_.config().user_type);
  if (foreign_) {
    pool_.log().warn(
        "pool {}: its root MDC belongs to another program; the named tree is empty and read-only",
        pool_.name());
    return std::nullopt;
  }
  try {
    read_records(reader, replay, damage);
  } catch (const Error& error) {
    if (!options_.read_only) throw;
    damage.in_log(error.code(), error.what());
  }
  if (replay.mdc_ends()) {
    for (std::string& lost : lost_since(*replay.mdc_ends(), ends_of(pool_)))
      damage.in_log(ENOTRECOVERABLE, std::move(lost));
  }
  const std::size_t complete =
      replay.complete_records([this](ObjectId object) { return pool_.find(object).has_value(); });
  const bool rolled_back = complete < replay.pending();
  if (rolled_back) {
    const std::vector<Pool::MdcStats> mdcs = pool_.mdcs();
    for (const ObjectId object : replay.objects_after(complete)) {
      if (was_handed_out(mdcs, object)) continue;
      damage.in_log(ENOTRECOVERABLE,
                    fmt::format("root MDC: its last batch names object {}, whose id MDC{} never "
                                "handed out",
                                object.to_string(), object.slot()));
    }
    pool_.log().info(
        "pool {}: {} changes of the last second before a crash were not complete and are undone",
        pool_.name(), replay.pending() - complete);
  }
  replay.apply_last_batch(complete);
  return rolled_back ? std::optional(complete) : std::nullopt;
}

// Checks that every object named by the tree exists completely.
void RecordedTree::check_content(Damage& damage) {
  const auto find = [this](ObjectId id) {
    KnownObject object{.may_exist = false, .record = pool_.find(id)};
    object.may_exist = object.record.has_value();
    if (id.is_mlog() && object.record && pool_.has_class(object.record->media_class)) {
      object.log = pool_.mlog_location(*object.record);
    }
    return object;
  };
  for (const auto& [number, inode] : inodes()) {
    check_objects(inode, find,
                  [&](const std::string& fault) { damage.in_file(*this, inode.number, fault); });
  }
  for (const auto& [pack, usage] : packs().packs()) {
    if (pool_.find(pack)) continue;
    damage.in_log(ENOTRECOVERABLE,
                  fmt::format("root MDC: pack {} does not exist", pack.to_string()));
  }
  damage.refuse_if_any();
}

// Objects that are neither of a file nor of one that is gone, and so no record ever named.
void RecordedTree::find_program_objects(const Replay& replay) {
  std::size_t known = 2;  // the logs of the root MDC
  for (const auto& [number, inode] : inodes())
    known += inode.object_count;
  known += packs().packs().size();
  for (const ObjectId object : replay.orphaned())
    known += pool_.find(object) ? 1 : 0;
  if (known == pool_.object_count()) return;

  std::unordered_set<ObjectId> named(replay.orphaned());
  named.insert({root_log_id(0), root_log_id(1)});
  for (const auto& [pack, usage] : packs().packs())
    named.insert(pack);
  for (const auto& [number, inode] : inodes()) {
    for (const ObjectId object : inode.objects())
      named.insert(object);
  }
  for (const ObjectRecord& object : pool_.objects()) {
    if (!named.contains(object.id)) program_objects_.insert(object.id);
  }
}

void RecordedTree::load(Journal::Owner owner) {
  mdc_ = pool_.open_root_mdc();
  root_log_ = std::make_unique<RootLog>(pool_, *mdc_);
  Damage damage(pool_, options_.read_only);
  Replay replay(*this, [&](std::uint64_t record, const Error& why) {
    damage.in_record(record, why.code(), why.detail());
  });
  const std::optional<std::size_t> kept = replay_log(replay, damage);
  check_content(damage);
  if (replay.log_sizes()) set_exact_sizes(replay.log_sizes()->inexact);
  // Every other record requires the root: without one the MDC is new, or a crash cut its first
  // flush.
  const bool fresh = find(kRootInode) == nullptr;
  if (fresh && !foreign_ && !is_unused(*mdc_, replay)) {
    damage.in_log(ENOTRECOVERABLE,
                  "root MDC: it was used before, but has no root directory: its records are lost");
  }
  if (fresh) take_possession();
  // Where records are missing, no object is certain to be without a name.
  if (!foreign_ && !damage.any()) find_program_objects(replay);
  if (foreign_ || options_.read_only) return;

  if (fresh) {
    // Before the records: after a crash in between, no other program takes the pool.
    if (pool_.config().user_type.is_nil()) pool_.configure({.user_type = kTreeUserType});
    for (const auto& record : snapshot_records())
      mdc_->append(record);
  } else if (kept) {
    mdc_->append(encode({now(), RollbackRecord{static_cast<std::uint32_t>(*kept)}}));
  }
  record_mdc_ends(kPageSize);
  // The last batch is complete: its objects may be deleted from here on. And no inode number handed
  // out from now on is reused, whatever happens to its file.
  const std::uint64_t batch = replay.last_batch() + 1;
  mdc_->sync(mdc_->append(encode({now(), BatchRecord{batch, promised_inode(next_inode())}})));
  // Most were deleted before: the rest are deletions that a crash interrupted.
  const std::vector<ObjectId> orphaned(replay.orphaned().begin(), replay.orphaned().end());
  references_.remove(references_.release(orphaned));
  owner.snapshot = [this] { return snapshot_records(); };
  owner.next_inode = [this] {
    const TreeReadLock lock(mutex_);
    return next_inode();
  };
  owner.footprint = [this] { return footprint(); };
  journal_ = std::make_unique<Journal>(
      references_, *root_log_,
      Journal::Options{.interval = options_.commit_interval, .first_batch = batch + 1},
      std::move(owner));
}

void RecordedTree::record_mdc_ends(std::uint32_t padding) {
  constexpr std::uint64_t kFillPercent = 95;
  const Record record{now(), MdcEndsRecord{ends_of(pool_), padding}};
  const std::vector<std::byte> bytes = encode(record);
  if (mdc_->used() + 2 * bytes.size() > mdc_->capacity() / 100 * kFillPercent) return;
  // The record must not be on the media before the state it describes.
  pool_.device(MediaClass::capacity).flush();
  mdc_->sync(mdc_->append(bytes));
}

// Creates an empty tree: the root directory, with the owner in the pool's configuration.
void RecordedTree::take_possession() {
  const ConfigRecord config = pool_.config();
  const Nanoseconds time = now();
  const bool configured = config.root_log_1 != ObjectId{};
  apply(
      {time, CreateRecord{.inode = kRootInode,
                          .attributes = {.mode = configured ? config.mode & kPermissionBits : 0755,
                                         .uid = config.uid,
                                         .gid = config.gid,
                                         .atime = time,
                                         .mtime = time,
                                         .ctime = time},
                          .content = {.kind = FileKind::directory}}});
}

std::vector<std::vector<std::byte>> RecordedTree::snapshot_records() {
  const TreeReadLock lock(mutex_);
  std::vector<std::vector<std::byte>> records;
  records.push_back(encode({now(), OwnerRecord{}}));
  snapshot([&](const Record& record) { records.push_back(encode(record)); });
  return records;
}

}  // namespace mpool::names
