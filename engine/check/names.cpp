#include "engine/check/names.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include "engine/base/error.h"
#include "engine/check/logs.h"
#include "engine/object/packed_record.h"
#include "engine/tree/mdc_ends.h"
#include "engine/tree/replay.h"

namespace mpool::check {
namespace {

using names::Inode;
using names::Replay;
using names::Tree;

constexpr const char* kRestoreFile = "restore the file from a backup";
constexpr const char* kRestoreTree =
    "the pool cannot be mounted like this; its objects can be read with mpool dump; restore the "
    "files from a backup";

// The root MDC's records and the resulting tree.
class TreeCheck {
 public:
  TreeCheck(const Metadata& metadata, Report& report)
      : metadata_(metadata),
        report_(report),
        name_("root MDC of " + metadata.pool),
        replay_(tree_, [this](std::uint64_t record, const Error& why) {
          report_invalid_record(record, why.detail());
        }) {}

  // False: the log is empty or belongs to another client.
  bool read(const Mlog& log, const std::array<Mdc::Half, 2>& halves);
  void apply_last_batch();
  void compare();

 private:
  void report_invalid_record(std::uint64_t record, std::string_view detail) {
    report_.error(Area::tree, name_, fmt::format("record {}: {}", record, detail), kRestoreTree);
  }
  void compare_ends();
  void name_inodes();
  std::string path_of(InodeNumber number) const;
  void check_inode(const Inode& inode);
  void check_links(const Inode& inode);
  void check_extents(const Inode& inode);
  void check_packed(const Inode& inode);
  void check_packs();
  void check_log_size(const Inode& inode);
  void check_objects();
  void file_error(const Inode& inode, std::string what) {
    report_.error(Area::tree, path_of(inode.number), std::move(what), kRestoreFile);
  }

  struct Name {
    InodeNumber parent = 0;
    const std::string* name = nullptr;
    std::uint32_t count = 0;  // number of its names; of a directory, its subdirectories too
  };

  const Metadata& metadata_;
  Report& report_;
  const std::string name_;
  Tree tree_;
  Replay replay_;
  std::unordered_map<InodeNumber, Name> names_;
  std::unordered_set<ObjectId> named_;
  struct Packed {
    Extent extent;
    InodeNumber inode = 0;
  };
  std::vector<Packed> packed_;  // content in packs
};

bool TreeCheck::read(const Mlog& log, const std::array<Mdc::Half, 2>& halves) {
  MlogReader reader(log);
  try {
    const auto& config = metadata_.properties.config;
    if (names::belongs_to_another_client(reader, config ? config->user_type : Uuid{})) {
      report_.note(Area::tree, name_, "it belongs to another program; its records are not checked",
                   "use that program to check them");
      return false;
    }
    std::vector<std::byte> bytes;
    while (reader.next(bytes)) {
      if (auto record = names::decode(bytes)) {
        replay_.take(std::move(*record));
      } else {
        report_invalid_record(replay_.taken(), record.error().detail);
        replay_.skip();
      }
    }
  } catch (const Error& error) {
    report_.error(Area::tree, name_, error.what(), kRestoreTree);
  }
  const bool compacted = halves[0].location.generation > 0 || halves[1].location.generation > 1;
  if (replay_.taken() <= 1 && compacted) {
    report_.error(Area::tree, name_, "it was used before, but has no records: they are lost",
                  kRestoreTree);
  }
  return replay_.taken() != 0;
}

// Compares with the record of the last mount, or of its end.
void TreeCheck::compare_ends() {
  if (!replay_.mdc_ends()) return;
  std::vector<names::MdcEnd> now = replay_.mdc_ends()->mdcs;
  now.resize(std::min(now.size(), metadata_.slots.size()));
  for (std::size_t slot = 0; slot < now.size(); ++slot) {
    // Unreadable MDCs were reported.
    now[slot] = metadata_.slots[slot]->end.value_or(now[slot]);
  }
  for (std::string& lost : names::lost_since(*replay_.mdc_ends(), now))
    report_.error(Area::metadata, metadata_.pool, std::move(lost), kRestoreTree);
}

void TreeCheck::apply_last_batch() {
  compare_ends();
  const std::size_t complete =
      replay_.complete_records([this](ObjectId id) { return metadata_.may_exist(id); });
  const std::size_t undone = replay_.pending() - complete;
  for (const ObjectId object : replay_.objects_after(complete)) {
    if (metadata_.was_handed_out(object)) continue;
    report_.error(Area::tree, name_,
                  fmt::format("its last batch names object {}, whose id MDC{} never handed out",
                              object.to_string(), object.slot()),
                  kRestoreTree);
  }
  if (undone != 0) {
    report_.unfinished(
        Area::tree, name_,
        fmt::format("{} changes of the last second before a crash were not complete", undone),
        "undoing them");
  }
  replay_.apply_last_batch(complete);
}

void TreeCheck::name_inodes() {
  for (const auto& [number, inode] : tree_.inodes()) {
    if (!inode.is_directory()) continue;
    for (const auto& [position, entry] : inode.directory->entries()) {
      Name& name = names_[entry.inode];
      name.parent = number;
      name.name = &entry.name;
      ++name.count;
      const Inode* child = tree_.find(entry.inode);
      if (child != nullptr && child->is_directory()) ++names_[number].count;
    }
  }
}

std::string TreeCheck::path_of(InodeNumber number) const {
  std::string path;
  // A tree is not deeper than it has inodes.
  for (std::size_t depth = 0; number != kRootInode && depth <= names_.size(); ++depth) {
    const auto at = names_.find(number);
    if (at == names_.end() || at->second.name == nullptr) {
      return fmt::format("inode {}{}", number, path);
    }
    path.insert(0, "/" + *at->second.name);
    number = at->second.parent;
  }
  return path.empty() ? "/" : path;
}

void TreeCheck::check_links(const Inode& inode) {
  const auto at = names_.find(inode.number);
  const std::uint32_t count = at == names_.end() ? 0 : at->second.count;
  // A directory has "." too, and the root its own "..".
  const std::uint32_t expected =
      inode.is_directory() ? count + (inode.number == kRootInode ? 2 : 1) : count;
  if (inode.links != expected) {
    report_.error(Area::tree, path_of(inode.number),
                  fmt::format("inode {} has {} links, its names make {}", inode.number, inode.links,
                              expected),
                  kRestoreTree);
  }
  if (!inode.is_directory()) return;
  const Inode* parent = tree_.find(inode.parent);
  if (parent == nullptr || !parent->is_directory()) {
    report_.error(Area::tree, path_of(inode.number),
                  fmt::format("the parent of directory {}, inode {}, is no directory", inode.number,
                              inode.parent),
                  kRestoreTree);
  }
}

void TreeCheck::check_extents(const Inode& inode) {
  const auto find = [this](ObjectId id) {
    names::KnownObject object{.may_exist = metadata_.may_exist(id), .record = metadata_.find(id)};
    if (id.is_mlog() && object.record) object.log = metadata_.location_of(*object.record);
    return object;
  };
  for (const ObjectId object : inode.objects())
    named_.insert(object);
  bool sound = true;
  names::check_objects(inode, find, [&](const std::string& fault) {
    file_error(inode, fault);
    sound = false;
  });
  if (sound && inode.is_in_pack()) check_packed(inode);
}

// The records of packs that hold the content are there, block by block.
void TreeCheck::check_packed(const Inode& inode) {
  for (const Extent& extent : *inode.extents) {
    if (!names::is_packed(extent)) continue;
    const auto object = metadata_.find(extent.object);
    const auto log = object ? metadata_.location_of(*object) : std::nullopt;
    if (!log) continue;  // already reported, or its device is missing
    try {
      std::vector<std::byte> content(extent.length);
      read_packed(*log, {extent.position, extent.length}, 0, content);
    } catch (const Error& error) {
      file_error(inode, error.what());
    }
    packed_.push_back({extent, inode.number});
  }
}

// No record of a pack has a part of another one.
void TreeCheck::check_packs() {
  for (const auto& [pack, usage] : tree_.packs().packs()) {
    named_.insert(pack);
    if (metadata_.may_exist(pack)) continue;
    report_.error(Area::tree, name_, fmt::format("pack {} does not exist", pack.to_string()),
                  kRestoreTree);
  }
  std::ranges::sort(packed_, {}, [](const Packed& packed) {
    return std::pair(packed.extent.object, packed.extent.position);
  });
  for (std::size_t i = 1; i < packed_.size(); ++i) {
    const Extent& before = packed_[i - 1].extent;
    const Extent& extent = packed_[i].extent;
    const bool overlap = before.object == extent.object && before.position != extent.position &&
                         before.position + before.length > extent.position;
    if (!overlap) continue;
    file_error(
        tree_.get(packed_[i].inode),
        fmt::format("its content at byte {} of pack {} is inside that of {}", extent.position,
                    extent.object.to_string(), path_of(packed_[i - 1].inode)));
  }
}

// The mlogs of a log must hold as much as was recorded.
void TreeCheck::check_log_size(const Inode& inode) {
  std::uint64_t size = 0;
  const auto holds = [&](std::uint64_t recorded) {
    if (size >= recorded) return true;
    file_error(inode,
               fmt::format("it ends after {} bytes, but {} bytes were recorded: its log blocks "
                           "from there on are damaged",
                           size, recorded));
    return false;
  };
  for (const Extent& extent : *inode.extents) {
    if (!holds(extent.file_offset)) return;
    const auto object = metadata_.find(extent.object);
    const auto location = object ? metadata_.location_of(*object) : std::nullopt;
    if (!location) return;  // already reported, or its device is missing
    try {
      size += Mlog::open(*location, CompactionSemantics::off)->payload_bytes();
    } catch (const Error&) {
      return;  // examine_log() reports it
    }
  }
  holds(inode.size);
}

void TreeCheck::check_inode(const Inode& inode) {
  check_links(inode);
  check_extents(inode);
  if (inode.kind == FileKind::log && inode.extents) check_log_size(inode);
}

// Objects without a name.
void TreeCheck::check_objects() {
  std::size_t strangers = 0;
  for (const ObjectRecord& object : metadata_.objects()) {
    if (object.id == root_log_id(0) || object.id == root_log_id(1)) continue;
    if (named_.contains(object.id)) continue;
    const std::string id =
        fmt::format("{} {}", object.id.is_mblock() ? "mblock" : "mlog", object.id.to_string());
    if (replay_.orphaned().contains(object.id)) {
      report_.unfinished(Area::tree, fmt::format("{} of {}", id, metadata_.pool),
                         "its file is gone, deleting it was interrupted", "deleting " + id);
    } else {
      ++strangers;
    }
  }
  if (strangers == 0) return;
  report_.note(Area::tree, metadata_.pool,
               fmt::format("{} objects belong to no file, and never did", strangers),
               "they are another program's, or may be what is left of damaged records: mpool dump "
               "lists them; they are left alone");
}

void TreeCheck::compare() {
  if (tree_.find(kRootInode) == nullptr) {
    if (report_.errors(Area::tree) != 0) {
      report_.error(Area::tree, name_, "there is no root directory", kRestoreTree);
    }
    return;
  }
  name_inodes();
  std::vector<InodeNumber> order;
  for (const auto& [number, inode] : tree_.inodes())
    order.push_back(number);
  std::ranges::sort(order);
  report_.result().names = order.size() - 1;
  for (const InodeNumber number : order)
    check_inode(tree_.get(number));
  check_packs();
  // Where records are missing, unnamed objects cannot be distinguished from named ones.
  if (report_.errors(Area::tree) == 0 && metadata_.all_readable()) check_objects();
}

}  // namespace

bool check_names(const Metadata& metadata, Report& report) {
  const auto halves = metadata.pair_of(root_log_id(0), root_log_id(1));
  if (!halves) return false;
  const Pair pair = examine_pair(report, Area::tree, "root MDC of " + metadata.pool, *halves,
                                 PairUse::unknown, true);
  if (pair.log() == nullptr) return false;
  TreeCheck tree(metadata, report);
  if (!tree.read(*pair.log(), *halves)) return false;
  tree.apply_last_batch();
  tree.compare();
  return true;
}

}  // namespace mpool::check
