#include "fuse/client/mount_records.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/error.h"

namespace libmpool {

namespace {

std::uint32_t open_on_mount(const MountSession& session, mpool::ObjectId first,
                            mpool::ObjectId second, std::uint32_t flags) {
  mpool_ioc_open open{};
  open.objid[0] = first.value;
  open.objid[1] = second.value;
  open.flags = flags;
  session.call(MPOOL_IOC_OPEN, open, first);
  return open.handle;
}

void require_log_id(mpool::ObjectId id) {
  if (!id.is_mlog()) mpool::raise(EINVAL, id.to_string(), "not the id of an mlog");
}

// A call that needs the handle only; the value that it gives.
std::uint64_t call_on(const MountSession& session, unsigned long command, std::uint32_t handle,
                      std::uint64_t value = 0) {
  mpool_ioc_handle on{};
  on.handle = handle;
  on.value = value;
  session.call(command, on);
  return on.value;
}

void close_quietly(const MountSession& session, std::uint32_t handle) noexcept {
  try {
    if (handle != 0) call_on(session, MPOOL_IOC_CLOSE, handle);
  } catch (const mpool::Error&) {
    // It has ended nevertheless.
  }
}

mpool::SharedReader::Result result_of(const mpool_ioc_read& read) {
  return {.error = static_cast<int>(read.error), .length = read.length};
}

}  // namespace

mpool_ioc_properties properties_on(const MountSession& session, mpool::ObjectId id) {
  mpool_ioc_properties properties{};
  properties.objid = id.value;
  session.call(MPOOL_IOC_PROPERTIES, properties, id);
  return properties;
}

mlog_props mlog_of_mount(const MountSession& session, mpool::ObjectId id) {
  require_log_id(id);
  const mpool_ioc_properties properties = properties_on(session, id);
  mlog_props props{};
  std::memcpy(props.lpr_uuid, properties.uuid, sizeof props.lpr_uuid);
  props.lpr_objid = id.value;
  props.lpr_alloc_cap = properties.capacity;
  props.lpr_gen = properties.generation;
  props.lpr_mclassp = static_cast<std::uint8_t>(properties.media_class);
  props.lpr_iscommitted = (properties.flags & MPOOL_IOC_COMMITTED) != 0 ? 1 : 0;
  return props;
}

MountLog::MountLog(MountSession& session, mpool::ObjectId id, mpool::ClientLog::Options options)
    : session_(session), id_(id) {
  require_log_id(id);
  const bool compaction = options.semantics == mpool::CompactionSemantics::on;
  handle_ = open_on_mount(session, id, {},
                          (compaction ? MPOOL_IOC_COMPACTION : 0u) |
                              (options.serialised_by_caller ? MPOOL_IOC_SERIALISED : 0u));
}

MountLog::~MountLog() {
  close_quietly(session_, handle_);
}

void MountLog::append(std::span<const mpool::ConstByteSpan> parts, bool durable) {
  session_.append(handle_, parts, durable);
}

void MountLog::sync() {
  call_on(session_, MPOOL_IOC_SYNC, handle_);
}

std::uint64_t MountLog::used() {
  return call_on(session_, MPOOL_IOC_LENGTH, handle_);
}

mpool::SharedReader::Result MountLog::read(mpool::ByteSpan into) {
  return result_of(session_.read(handle_, into));
}

void MountLog::rewind() {
  call_on(session_, MPOOL_IOC_REWIND, handle_);
}

void MountLog::close() {
  call_on(session_, MPOOL_IOC_CLOSE, std::exchange(handle_, 0));
}

mpool::SharedReader::Result MountLog::skip_and_read(std::size_t length, mpool::ByteSpan into) {
  mpool_ioc_read skip{};
  skip.handle = handle_;
  skip.skip = length;
  session_.call(MPOOL_IOC_READ, skip);
  if (skip.error != 0 || into.empty()) return result_of(skip);
  return read(into);
}

std::uint64_t MountLog::generation() {
  return mlog_of_mount(session_, id_).lpr_gen;
}

void MountLog::erase(std::uint64_t min_generation) {
  call_on(session_, MPOOL_IOC_ERASE, handle_, min_generation);
}

MountMdc::MountMdc(MountSession& session, mpool::ObjectId first, mpool::ObjectId second)
    : session_(session) {
  require_log_id(first);
  require_log_id(second);
  handle_ = open_on_mount(session, first, second, 0);
}

MountMdc::~MountMdc() {
  close_quietly(session_, handle_);
}

void MountMdc::append(std::span<const mpool::ConstByteSpan> parts, bool durable) {
  session_.append(handle_, parts, durable);
}

void MountMdc::sync() {
  call_on(session_, MPOOL_IOC_SYNC, handle_);
}

std::uint64_t MountMdc::used() {
  return call_on(session_, MPOOL_IOC_LENGTH, handle_);
}

mpool::SharedReader::Result MountMdc::read(mpool::ByteSpan into) {
  return result_of(session_.read(handle_, into));
}

void MountMdc::rewind() {
  call_on(session_, MPOOL_IOC_REWIND, handle_);
}

void MountMdc::close() {
  call_on(session_, MPOOL_IOC_CLOSE, std::exchange(handle_, 0));
}

void MountMdc::compact(unsigned long command) {
  try {
    call_on(session_, command, handle_);
  } catch (...) {
    failed_ = true;
    throw;
  }
}

void MountMdc::start_compaction() {
  compact(MPOOL_IOC_CSTART);
}

void MountMdc::end_compaction() {
  compact(MPOOL_IOC_CEND);
}

}  // namespace libmpool
