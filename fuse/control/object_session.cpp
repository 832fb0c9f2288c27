#include "fuse/control/object_session.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "fuse/client/pool_facts.h"
#include "fuse/control/call_structures.h"

namespace mpoolfs {

namespace {

using mpool::MediaClass;
using mpool::ObjectId;

static_assert(sizeof(mpool_ioc_version) == 64 && sizeof(mpool_ioc_alloc) == 64);
static_assert(sizeof(mpool_ioc_object) == 32 && sizeof(mpool_ioc_properties) == 96);
static_assert(sizeof(mpool_ioc_open) == 64 && sizeof(mpool_ioc_handle) == 32);
static_assert(sizeof(mpool_ioc_append) == 512 && sizeof(mpool_ioc_read) == 512);

ObjectId checked_object(const mpool_ioc_object& object) {
  check_zero(object.reserved);
  return {object.objid};
}

void check_handle(const mpool_ioc_handle& handle, bool takes_value) {
  check_zero(handle.reserved0);
  check_zero(handle.reserved);
  check(takes_value || handle.value == 0, "a value that the call does not take");
}

}  // namespace

ObjectSession::~ObjectSession() {
  const auto attempt = [this](const auto& step) {
    try {
      step();
    } catch (const std::exception& error) {
      objects_.client().pool().log().error("the end of a session of .mpool/ctl: {}", error.what());
    }
  };
  for (const auto& [handle, opened] : opened_)
    attempt([&] { close(*opened); });
  mpool::ClientPool& client = objects_.client();
  for (const ObjectId id : uncommitted_)
    attempt([&] { client.abort(id); });
  objects_.use(use_, MPOOL_IOC_UNUSED);
}

// --- the buffer ---

std::string ObjectSession::read(std::uint64_t offset, std::size_t size) {
  const std::shared_lock lock(buffer_mutex_);
  if (offset >= buffer_.size()) return {};
  const std::size_t count = std::min<std::uint64_t>(size, buffer_.size() - offset);
  return {reinterpret_cast<const char*>(buffer_.data()) + offset, count};
}

// The caller holds buffer_mutex_ exclusively.
void ObjectSession::resize_buffer(std::size_t size) {
  if (buffer_.size() < size) buffer_.resize(size);
}

void ObjectSession::write(std::uint64_t offset, mpool::ConstByteSpan data) {
  if (offset > MPOOL_IOC_BUFFER || data.size() > MPOOL_IOC_BUFFER - offset) {
    mpool::raise(EFBIG, kCtlSubject, "the buffer has {} bytes", MPOOL_IOC_BUFFER);
  }
  const std::unique_lock lock(buffer_mutex_);
  resize_buffer(offset + data.size());
  std::ranges::copy(data, buffer_.begin() + static_cast<std::ptrdiff_t>(offset));
}

// --- objects ---

void ObjectSession::call(mpool_ioc_version& version) {
  version = {.version = MPOOL_IOC_VERSION_NUMBER,
             .page_size = mpool::kPageSize,
             .buffer_size = MPOOL_IOC_BUFFER,
             .reserved = {}};
}

void ObjectSession::call(mpool_ioc_alloc& alloc) {
  check_zero(alloc.reserved0);
  check_zero(alloc.reserved);
  check_flags(alloc.flags, MPOOL_IOC_SPARE);
  check(alloc.type == MPOOL_IOC_MBLOCK || alloc.type == MPOOL_IOC_MLOG, "no type of object");
  check(alloc.media_class == MPOOL_IOC_STAGING || alloc.media_class == MPOOL_IOC_CAPACITY,
        "no media class");
  const bool is_mlog = alloc.type == MPOOL_IOC_MLOG;
  check(is_mlog || alloc.capacity == 0, "an mblock has the capacity of a zone");
  objects_.check_writable();
  const auto media_class =
      alloc.media_class == MPOOL_IOC_STAGING ? MediaClass::staging : MediaClass::capacity;
  const auto policy = (alloc.flags & MPOOL_IOC_SPARE) != 0 ? mpool::SpacePolicy::spare_then_usable
                                                           : mpool::SpacePolicy::usable_only;
  mpool::ClientPool& client = objects_.client();
  const ObjectId id = is_mlog ? client.allocate_log(media_class, alloc.capacity, policy).id
                              : client.allocate_mblock(media_class, policy).id;
  try {
    const std::lock_guard lock(mutex_);
    uncommitted_.insert(id);
  } catch (...) {
    client.abort(id);
    throw;
  }
  alloc.objid = id.value;
}

ObjectId ObjectSession::own(std::uint64_t number) const {
  const ObjectId id{number};
  const std::lock_guard lock(mutex_);
  if (!uncommitted_.contains(id)) {
    mpool::raise(ENOENT, "object " + id.to_string(), "this session has no such uncommitted object");
  }
  return id;
}

void ObjectSession::forget(ObjectId id) {
  const std::lock_guard lock(mutex_);
  uncommitted_.erase(id);
}

void ObjectSession::commit(const mpool_ioc_object& object) {
  const ObjectId id = own(checked_object(object).value);
  // Before it can be found: from then on it is a program's.
  objects_.add(id);
  objects_.client().commit(id);
  forget(id);
}

void ObjectSession::abort(const mpool_ioc_object& object) {
  const ObjectId id = own(checked_object(object).value);
  objects_.client().abort(id);
  forget(id);
}

void ObjectSession::remove(const mpool_ioc_object& object) {
  const ObjectId id = checked_object(object);
  mpool::ClientPool& client = objects_.client();
  objects_.check_writable();
  if (!client.pool().find(id)) {
    mpool::raise(ENOENT, "object " + id.to_string(), "there is no such committed object");
  }
  objects_.check_changeable(id);
  objects_.retry_when_busy([&] { client.remove(id); });
}

void ObjectSession::call(mpool_ioc_properties& properties) {
  check_zero(properties.reserved0);
  check_zero(properties.reserved);
  const ObjectId id{properties.objid};
  const mpool::ClientPool& client = objects_.client();
  properties = id.is_mlog() ? libmpool::properties_of(client.log(id))
                            : libmpool::properties_of(client.mblock(id));
  const bool committed = (properties.flags & MPOOL_IOC_COMMITTED) != 0;
  if (committed && objects_.is_of_tree(id)) properties.flags |= MPOOL_IOC_OF_TREE;
}

// --- logs and MDCs ---

void ObjectSession::call(mpool_ioc_open& open) {
  check_zero(open.reserved);
  const bool is_mdc = open.objid[1] != 0;
  check_flags(open.flags, is_mdc ? 0u : MPOOL_IOC_COMPACTION | MPOOL_IOC_SERIALISED);
  const ObjectId first{open.objid[0]};
  const ObjectId second{open.objid[1]};
  mpool::ClientPool& client = objects_.client();
  // An open log is made durable by its close, and an MDC finishes what was interrupted.
  objects_.check_writable();
  for (const ObjectId id : {first, second}) {
    if (id.value != 0 && client.log(id).committed) objects_.check_changeable(id);
  }
  const auto opened = std::make_shared<Opened>();
  if (is_mdc) {
    opened->mdc = client.open_mdc(first, second);
    open.generation = 0;
  } else {
    opened->log =
        client.open_log(first, {.semantics = (open.flags & MPOOL_IOC_COMPACTION) != 0
                                                 ? mpool::CompactionSemantics::on
                                                 : mpool::CompactionSemantics::off,
                                .serialised_by_caller = (open.flags & MPOOL_IOC_SERIALISED) != 0});
    open.generation = opened->log->generation();
  }
  try {
    open.handle = add(opened);
  } catch (...) {
    close(*opened);
    throw;
  }
}

std::uint32_t ObjectSession::add(const std::shared_ptr<Opened>& opened) {
  const std::lock_guard lock(mutex_);
  while (++last_handle_ == 0 || opened_.contains(last_handle_)) {
  }
  opened_.emplace(last_handle_, opened);
  return last_handle_;
}

ObjectSession::Use ObjectSession::use(std::uint32_t handle) const {
  Use use;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = opened_.find(handle); found != opened_.end()) use.opened = found->second;
  }
  if (use.opened != nullptr) {
    use.lock = std::shared_lock(use.opened->mutex);
    use.log = use.opened->log.get();
    use.mdc = use.opened->mdc.get();
  }
  if (use.opened == nullptr || use.opened->ended) {
    mpool::raise(EBADF, kCtlSubject, "there is no handle {}", handle);
  }
  return use;
}

ObjectSession::Use ObjectSession::use_records(std::uint32_t handle) const {
  Use found = use(handle);
  check(found.log != nullptr || found.mdc != nullptr, "the handle is that of pins");
  return found;
}

mpool::ClientLog& ObjectSession::Use::need_log() const {
  check(log != nullptr, "the handle is not that of a log");
  return *log;
}

mpool::ClientMdc& ObjectSession::Use::need_mdc() const {
  check(mdc != nullptr, "the handle is not that of an MDC");
  return *mdc;
}

void ObjectSession::close(Opened& opened) {
  const std::unique_lock lock(opened.mutex);
  opened.ended = true;
  opened.pins.clear();
  const auto log = std::exchange(opened.log, nullptr);
  const auto mdc = std::exchange(opened.mdc, nullptr);
  if (log != nullptr) objects_.client().close_log(log);
  if (mdc != nullptr) objects_.client().close_mdc(mdc);
}

void ObjectSession::close(const mpool_ioc_handle& handle) {
  check_handle(handle, false);
  const std::shared_ptr<Opened> opened = use(handle.handle).opened;
  {
    const std::lock_guard lock(mutex_);
    opened_.erase(handle.handle);
  }
  close(*opened);
}

void ObjectSession::append(const mpool_ioc_append& append) {
  check_zero(append.reserved);
  check_flags(append.flags, MPOOL_IOC_IN_BUFFER | MPOOL_IOC_SYNC_RECORD);
  const bool durable = (append.flags & MPOOL_IOC_SYNC_RECORD) != 0;
  const Use target = use_records(append.handle);
  const auto append_record = [&](mpool::ConstByteSpan record) {
    if (target.mdc != nullptr) return target.mdc->append(record, durable);
    target.log->append(std::span(&record, 1), durable);
  };
  if ((append.flags & MPOOL_IOC_IN_BUFFER) == 0) {
    check(append.offset == 0, "an offset without the buffer");
    check(append.length <= MPOOL_IOC_APPEND_INLINE, "the record is longer than its field");
    return append_record(std::as_bytes(std::span(append.data).first(append.length)));
  }
  const std::shared_lock lock(buffer_mutex_);
  check(append.offset <= buffer_.size() && append.length <= buffer_.size() - append.offset,
        "the record is not inside of what was written to the buffer");
  append_record(std::span(buffer_).subspan(append.offset, append.length));
}

void ObjectSession::call(mpool_ioc_read& read) {
  check_zero(read.reserved0);
  check_flags(read.flags, MPOOL_IOC_IN_BUFFER);
  const bool in_buffer = (read.flags & MPOOL_IOC_IN_BUFFER) != 0;
  const Use source = use_records(read.handle);
  check(source.log != nullptr || read.skip == 0, "an MDC has no skip");
  const auto read_record = [&](mpool::ByteSpan into) {
    mpool::SharedReader::Result result;
    if (source.mdc != nullptr) {
      result = source.mdc->read(into);
    } else {
      result = read.skip != 0 ? source.log->skip_and_read(read.skip, into) : source.log->read(into);
    }
    read.length = result.length;
    read.error = static_cast<std::uint32_t>(result.error);
  };
  if (!in_buffer) {
    check(read.offset == 0, "an offset without the buffer");
    check(read.size <= MPOOL_IOC_READ_INLINE, "the room is greater than the field");
    std::memset(read.data, 0, sizeof read.data);
    return read_record(std::as_writable_bytes(std::span(read.data).first(read.size)));
  }
  std::memset(read.data, 0, sizeof read.data);
  check(read.offset <= MPOOL_IOC_BUFFER && read.size <= MPOOL_IOC_BUFFER - read.offset,
        "the room is not inside of the buffer");
  const std::unique_lock lock(buffer_mutex_);
  resize_buffer(read.offset + read.size);
  read_record(std::span(buffer_).subspan(read.offset, read.size));
}

void ObjectSession::rewind(const mpool_ioc_handle& handle) {
  check_handle(handle, false);
  const Use target = use_records(handle.handle);
  if (target.mdc != nullptr) return target.mdc->rewind();
  target.log->rewind();
}

void ObjectSession::sync(const mpool_ioc_handle& handle) {
  check_handle(handle, false);
  const Use target = use_records(handle.handle);
  if (target.mdc != nullptr) return target.mdc->sync();
  target.log->sync();
}

void ObjectSession::length(mpool_ioc_handle& handle) {
  check_handle(handle, true);
  const Use target = use_records(handle.handle);
  handle.value = target.mdc != nullptr ? target.mdc->used() : target.log->used();
}

void ObjectSession::erase(mpool_ioc_handle& handle) {
  check_handle(handle, true);
  const Use target = use_records(handle.handle);
  target.need_log().erase(handle.value);
  handle.value = target.log->generation();
}

void ObjectSession::start_compaction(const mpool_ioc_handle& handle) {
  check_handle(handle, false);
  use(handle.handle).need_mdc().start_compaction();
}

void ObjectSession::end_compaction(const mpool_ioc_handle& handle) {
  check_handle(handle, false);
  use(handle.handle).need_mdc().end_compaction();
}

// --- the calls ---

std::vector<std::byte> ObjectSession::ioctl(unsigned command, mpool::ConstByteSpan in) {
  const bool result = (_IOC_DIR(command) & _IOC_READ) != 0;
  const auto object = [&](void (ObjectSession::*handler)(const mpool_ioc_object&)) {
    return with<mpool_ioc_object>(in, result, [&](mpool_ioc_object& o) { (this->*handler)(o); });
  };
  const auto handle = [&](auto handler) {
    return with<mpool_ioc_handle>(in, result, [&](mpool_ioc_handle& h) { (this->*handler)(h); });
  };
  const auto call_with = [&]<typename T>(T) {
    return with<T>(in, result, [&](T& value) { call(value); });
  };
  using Handle = void (ObjectSession::*)(const mpool_ioc_handle&);
  switch (command) {
    case MPOOL_IOC_POOL:
      return call_with(mpool_ioc_pool{});
    case MPOOL_IOC_USAGE:
      return call_with(mpool_ioc_usage{});
    case MPOOL_IOC_SETTINGS:
      return with<mpool_ioc_settings>(in, result,
                                      [&](mpool_ioc_settings& s) { change_settings(s); });
    case MPOOL_IOC_USE:
      return with<mpool_ioc_use>(in, result, [&](mpool_ioc_use& u) { use_pool(u); });
    case MPOOL_IOC_PIN:
      return call_with(mpool_ioc_pin{});
    case MPOOL_IOC_VERSION:
      return call_with(mpool_ioc_version{});
    case MPOOL_IOC_ALLOC:
      return call_with(mpool_ioc_alloc{});
    case MPOOL_IOC_COMMIT:
      return object(&ObjectSession::commit);
    case MPOOL_IOC_ABORT:
      return object(&ObjectSession::abort);
    case MPOOL_IOC_DELETE:
      return object(&ObjectSession::remove);
    case MPOOL_IOC_PROPERTIES:
      return call_with(mpool_ioc_properties{});
    case MPOOL_IOC_OPEN:
      return call_with(mpool_ioc_open{});
    case MPOOL_IOC_CLOSE:
      return handle(static_cast<Handle>(&ObjectSession::close));
    case MPOOL_IOC_APPEND:
      return with<mpool_ioc_append>(in, result, [&](mpool_ioc_append& a) { append(a); });
    case MPOOL_IOC_READ:
      return call_with(mpool_ioc_read{});
    case MPOOL_IOC_REWIND:
      return handle(&ObjectSession::rewind);
    case MPOOL_IOC_SYNC:
      return handle(&ObjectSession::sync);
    case MPOOL_IOC_LENGTH:
      return handle(&ObjectSession::length);
    case MPOOL_IOC_ERASE:
      return handle(&ObjectSession::erase);
    case MPOOL_IOC_CSTART:
      return handle(&ObjectSession::start_compaction);
    case MPOOL_IOC_CEND:
      return handle(&ObjectSession::end_compaction);
    default:
      break;
  }
  const std::shared_lock lock(buffer_mutex_);
  if (auto result_of_map = maps_.ioctl(command, in, buffer_)) return *std::move(result_of_map);
  return ControlFile::ioctl(command, in);
}

}  // namespace mpoolfs
