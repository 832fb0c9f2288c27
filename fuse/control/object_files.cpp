#include "fuse/control/object_files.h"

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "engine/client/open_object.h"
#include "engine/object/log_content.h"
#include "engine/object/mblock.h"
#include "engine/pool/object_pin.h"

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
  // Without `hold` the object may be deleted meanwhile: reads give ESTALE then.
  MblockFile(mpool::Pool& pool, Hold hold, const ObjectRecord& object)
      : pool_(pool), hold_(std::move(hold)), object_(object) {}

  Caching caching() const override { return Caching::kept; }
  std::string read(std::uint64_t offset, std::size_t size) override {
    if (offset >= object_.written_length) return {};
    std::string bytes(std::min<std::uint64_t>(size, object_.written_length - offset), '\0');
    std::optional<mpool::ObjectPin> pin;
    if (hold_ == nullptr) pin.emplace(pinned());
    mpool::read_mblock(pool_, object_, offset, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }

 private:
  mpool::ObjectPin pinned() const {
    try {
      return {pool_, object_.id};
    } catch (const mpool::Error& error) {
      if (error.code() != ENOENT) throw;
      mpool::raise(ESTALE, "object " + object_.id.to_string(), "was deleted");
    }
  }

  mpool::Pool& pool_;
  const Hold hold_;
  const ObjectRecord object_;
};

// An uncommitted mblock that is being written. A page goes to the device when it is complete: the
// kernel cuts a write from memory that is not page-aligned into requests that are not whole pages.
class NewMblockFile : public ControlFile {
 public:
  NewMblockFile(mpool::ClientPool& client, ObjectId id) : client_(client), id_(id) {}

  void write(std::uint64_t offset, mpool::ConstByteSpan data) override {
    const std::lock_guard lock(mutex_);
    const mpool::ClientPool::Mblock mblock = client_.mblock(id_);
    const std::uint64_t end = mblock.written_length + rest_.size();
    if (mblock.committed || offset != end) {
      mpool::raise(mblock.committed ? EACCES : EINVAL, "object " + id_.to_string(),
                   "can only be written at its end, byte {}, before it is committed", end);
    }
    const std::size_t sum = rest_.size() + data.size();
    const std::size_t length = mpool::round_down(sum, mpool::kPageSize);
    if (length > mblock.capacity - mblock.written_length) {
      mpool::raise(EFBIG, "object " + id_.to_string(), "has {} bytes", mblock.capacity);
    }
    mpool::AlignedBuffer pages(mpool::round_up(sum, mpool::kPageSize));
    std::ranges::copy(rest_, pages.data());
    std::ranges::copy(data, pages.data() + rest_.size());
    if (length > 0) {
      const mpool::ConstByteSpan part = pages.span(0, length);
      client_.write_mblock(id_, std::span(&part, 1));
    }
    const mpool::ConstByteSpan rest = pages.span(length, sum - length);
    rest_.assign(rest.begin(), rest.end());
  }
  void flush() override {
    const std::lock_guard lock(mutex_);
    if (rest_.empty()) return;
    mpool::raise(EINVAL, "object " + id_.to_string(),
                 "the last {} bytes are no whole page of {} and are not stored: fill with zeros",
                 rest_.size(), mpool::kPageSize);
  }

 private:
  mpool::ClientPool& client_;
  const ObjectId id_;
  std::mutex mutex_;             // guards rest_
  std::vector<std::byte> rest_;  // less than a page, behind the written length
};

class MlogFile : public ControlFile {
 public:
  // Without `log` it is not read, without `appended` not written.
  MlogFile(Hold hold, std::unique_ptr<mpool::Mlog> log, std::unique_ptr<mpool::OpenLog> appended)
      : hold_(std::move(hold)), appended_(std::move(appended)) {
    if (log != nullptr) content_.emplace(std::move(log));
  }

  std::string read(std::uint64_t offset, std::size_t size) override {
    if (!content_) return ControlFile::read(offset, size);
    std::string bytes(size, '\0');
    bytes.resize(content_->read(offset, std::as_writable_bytes(std::span(bytes))));
    return bytes;
  }
  void write(std::uint64_t offset, mpool::ConstByteSpan data) override {
    if (appended_ == nullptr) return ControlFile::write(offset, data);
    (*appended_)->append(std::span(&data, 1), true);
  }

 private:
  const Hold hold_;
  std::optional<mpool::LogContent> content_;
  const std::unique_ptr<mpool::OpenLog> appended_;
};

}  // namespace

ObjectFiles::ObjectFiles(ProgramObjects& objects, mpool::Namespace& names, ObjectType type)
    : objects_(objects),
      pool_(objects.client().pool()),
      names_(names),
      type_(type),
      uid_(pool_.config().uid),
      gid_(pool_.config().gid) {}

ObjectId ObjectFiles::id_of(Node node) const {
  return ObjectId::make(node >> kSlotBits, type_, static_cast<std::uint8_t>(node % kSlots));
}

// Greater ids are never handed out.
bool ObjectFiles::has_node(ObjectId id) const {
  return id.type() == type_ && id.uniquifier() <= (kMaxNode >> kSlotBits) - 1;
}

std::optional<ControlProvider::Info> ObjectFiles::find(ObjectId id) const {
  if (const auto object = pool_.find(id)) {
    const bool can_append = id.is_mlog() && !objects_.is_of_tree(id);
    const bool present = pool_.has_class(object->media_class);
    return Info{.mode = can_append ? 0600u : 0400u,
                .uid = uid_,
                .gid = gid_,
                .size = object->written_length,
                .space = present ? pool_.capacity_of(*object) : 0};
  }
  if (!id.is_mblock()) return std::nullopt;
  try {
    const mpool::ClientPool::Mblock mblock = objects_.client().mblock(id);
    return Info{.mode = 0200,
                .uid = uid_,
                .gid = gid_,
                .size = mblock.written_length,
                .space = mblock.capacity};
  } catch (const mpool::Error& error) {
    if (error.code() != ENOENT) throw;
    return std::nullopt;
  }
}

ControlProvider::Info ObjectFiles::describe(Node node) const {
  if (node == kSelf) {
    return {.kind = mpool::FileKind::directory, .mode = 0500, .uid = uid_, .gid = gid_};
  }
  const auto info = find(id_of(node));
  if (!info) mpool::raise(ESTALE, "object " + id_of(node).to_string(), "is not there any more");
  return *info;
}

std::optional<ControlProvider::Node> ObjectFiles::lookup(std::string_view name) const {
  const auto id = ObjectId::parse(name);
  // Other ways to write the number are no names.
  if (!id || id->to_string() != name || !has_node(*id) || !find(*id)) return std::nullopt;
  return id->uniquifier() << kSlotBits | id->slot();
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

std::unique_ptr<ControlFile> ObjectFiles::open(Node node, const mpool::OpenIntent& intent) {
  const ObjectId id = id_of(node);
  if (intent.write && id.is_mblock()) {
    objects_.check_writable();
    return std::make_unique<NewMblockFile>(objects_.client(), id);
  }
  Hold hold = names_.hold_object(id);
  const ObjectRecord object = pool_.find(id).value();
  if (!pool_.has_class(object.media_class)) {
    mpool::raise(EIO, "object " + id.to_string(), "its device is missing");
  }
  if (id.is_mblock()) {
    // As <mpool/ioctl.h> says.
    if (intent.direct && !objects_.is_of_tree(id)) hold.reset();
    return std::make_unique<MblockFile>(pool_, std::move(hold), object);
  }
  std::unique_ptr<mpool::OpenLog> appended;
  if (intent.write) {
    objects_.check_changeable(id);
    appended = std::make_unique<mpool::OpenLog>(objects_.client(), id);
  }
  std::unique_ptr<mpool::Mlog> log;
  if (intent.read) log = mpool::open_any_mlog(pool_.mlog_location(object));
  return std::make_unique<MlogFile>(std::move(hold), std::move(log), std::move(appended));
}

}  // namespace mpoolfs
