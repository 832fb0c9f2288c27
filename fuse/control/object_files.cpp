#include "fuse/control/object_files.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <span>
#include <string>
#include <utility>

#include "engine/base/error.h"
#include "engine/object/log_content.h"
#include "engine/object/mblock.h"

namespace mpoolfs {

namespace {

using mpool::ObjectId;
using mpool::ObjectRecord;
using mpool::ObjectType;
using Hold = std::unique_ptr<mpool::References::Hold>;

// A node is the id without its type.
constexpr unsigned kSlotBits = 8;
constexpr std::uint64_t kSlots = 1u << kSlotBits;

class MblockFile : public ControlFile {
 public:
  MblockFile(const mpool::Pool& pool, Hold hold, const ObjectRecord& object)
      : pool_(pool), hold_(std::move(hold)), object_(object) {}

  std::string read(std::uint64_t offset, std::size_t size) override {
    if (offset >= object_.written_length) return {};
    std::string bytes(std::min<std::uint64_t>(size, object_.written_length - offset), '\0');
    mpool::read_mblock(pool_, object_, offset, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }

 private:
  const mpool::Pool& pool_;
  const Hold hold_;
  const ObjectRecord object_;
};

class MlogFile : public ControlFile {
 public:
  MlogFile(Hold hold, std::unique_ptr<mpool::Mlog> log)
      : hold_(std::move(hold)), content_(std::move(log)) {}

  std::string read(std::uint64_t offset, std::size_t size) override {
    std::string bytes(size, '\0');
    bytes.resize(content_.read(offset, std::as_writable_bytes(std::span(bytes))));
    return bytes;
  }

 private:
  const Hold hold_;
  mpool::LogContent content_;
};

}  // namespace

ObjectFiles::ObjectFiles(const mpool::Pool& pool, mpool::Namespace& names, ObjectType type)
    : pool_(pool), names_(names), type_(type), uid_(pool.config().uid), gid_(pool.config().gid) {}

ObjectId ObjectFiles::id_of(Node node) const {
  return ObjectId::make(node >> kSlotBits, type_, static_cast<std::uint8_t>(node % kSlots));
}

// Greater ids are never handed out.
bool ObjectFiles::has_node(ObjectId id) const {
  return id.type() == type_ && id.uniquifier() <= (kMaxNode >> kSlotBits) - 1;
}

ControlProvider::Info ObjectFiles::describe(Node node) const {
  if (node == kSelf) {
    return {.kind = mpool::FileKind::directory, .mode = 0500, .uid = uid_, .gid = gid_};
  }
  const auto object = pool_.find(id_of(node));
  if (!object) mpool::raise(ESTALE, "object " + id_of(node).to_string(), "is not there any more");
  const bool present = pool_.has_class(object->media_class);
  return {.mode = 0400,
          .uid = uid_,
          .gid = gid_,
          .size = object->written_length,
          .space = present ? pool_.capacity_of(*object) : 0};
}

std::optional<ControlProvider::Node> ObjectFiles::lookup(std::string_view name) const {
  constexpr std::string_view kPrefix = "0x";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  ObjectId id;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), id.value, 16);
  // Other ways to write the number are no names.
  if (id.to_string() != name || !has_node(id) || !pool_.find(id)) return std::nullopt;
  return id.uniquifier() << kSlotBits | id.slot();
}

// A listing takes many calls: the ids are collected at its first.
ObjectFiles::Ids ObjectFiles::ids(Node after) const {
  const std::lock_guard lock(mutex_);
  if (after == 0 || listed_ == nullptr) {
    auto ids = std::make_shared<std::vector<ObjectId>>();
    for (const ObjectRecord& object : pool_.objects()) {
      if (has_node(object.id)) ids->push_back(object.id);
    }
    listed_ = std::move(ids);
  }
  return listed_;
}

void ObjectFiles::list(Node after, const Take& take) const {
  const Ids all = ids(after);
  auto next = after == 0 ? all->begin() : std::ranges::upper_bound(*all, id_of(after));
  for (; next != all->end(); ++next) {
    if (!take(next->uniquifier() << kSlotBits | next->slot(), next->to_string())) return;
  }
  const std::lock_guard lock(mutex_);
  if (listed_ == all) listed_.reset();
}

std::unique_ptr<ControlFile> ObjectFiles::open(Node node, const mpool::OpenIntent&) {
  const ObjectId id = id_of(node);
  Hold hold = names_.hold_object(id);
  const ObjectRecord object = pool_.find(id).value();
  if (!pool_.has_class(object.media_class)) {
    mpool::raise(EIO, "object " + id.to_string(), "its device is missing");
  }
  if (id.is_mblock()) return std::make_unique<MblockFile>(pool_, std::move(hold), object);
  return std::make_unique<MlogFile>(std::move(hold),
                                    mpool::open_any_mlog(pool_.mlog_place(object)));
}

}  // namespace mpoolfs
