#include "fuse/client/mount_records.h"

#include <cerrno>
#include <utility>

#include "engine/base/error.h"
#include "fuse/client/pool_facts.h"

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

mpool::SharedReader::Result result_of(const mpool_ioc_read& read) {
  return {.error = static_cast<int>(read.error), .length = read.length};
}

// What logs and MDCs have in common: the calls on a handle of the session, which it closes.
template <typename Interface>
class MountRecords : public Interface {
 public:
  MountRecords(MountSession& session, mpool::ObjectId first, mpool::ObjectId second,
               std::uint32_t flags)
      : session_(session), handle_(open_on_mount(session, first, second, flags)) {}
  ~MountRecords() override { session_.close_quietly(handle_); }
  MountRecords(const MountRecords&) = delete;
  MountRecords& operator=(const MountRecords&) = delete;

  void append(std::span<const mpool::ConstByteSpan> parts, bool durable) override {
    session_.append(handle_, parts, durable);
  }
  void sync() override { call(MPOOL_IOC_SYNC); }
  std::uint64_t used() override { return call(MPOOL_IOC_LENGTH); }
  mpool::SharedReader::Result read(mpool::ByteSpan into) override {
    return result_of(session_.read(handle_, into));
  }
  void rewind() override { call(MPOOL_IOC_REWIND); }
  void close() override { session_.call_on(MPOOL_IOC_CLOSE, std::exchange(handle_, 0)); }

 protected:
  std::uint64_t call(unsigned long command, std::uint64_t value = 0) {
    return session_.call_on(command, handle_, value);
  }

  MountSession& session_;
  std::uint32_t handle_;  // 0: closed
};

class MountLog : public MountRecords<Log> {
 public:
  MountLog(MountSession& session, mpool::ObjectId id, std::uint32_t flags)
      : MountRecords(session, id, {}, flags), id_(id) {}

  mpool::SharedReader::Result skip_and_read(std::size_t length, mpool::ByteSpan into) override {
    mpool_ioc_read skip{};
    skip.handle = handle_;
    skip.skip = length;
    session_.call(MPOOL_IOC_READ, skip);
    if (skip.error != 0 || into.empty()) return result_of(skip);
    return read(into);
  }
  std::uint64_t generation() override { return mlog_of_mount(session_, id_).lpr_gen; }
  void erase(std::uint64_t min_generation) override { call(MPOOL_IOC_ERASE, min_generation); }

 private:
  const mpool::ObjectId id_;
};

class MountMdc : public MountRecords<Mdc> {
 public:
  using MountRecords::MountRecords;

  void start_compaction() override { call(MPOOL_IOC_CSTART); }
  void end_compaction() override { call(MPOOL_IOC_CEND); }
  // The compaction may be that of another handle.
  bool failed() override {
    try {
      used();
      return false;
    } catch (const mpool::Error& error) {
      return error.code() == EINVAL;
    }
  }
};

}  // namespace

mpool_ioc_properties properties_on(const MountSession& session, mpool::ObjectId id) {
  mpool_ioc_properties properties{};
  properties.objid = id.value;
  session.call(MPOOL_IOC_PROPERTIES, properties, id);
  return properties;
}

mlog_props mlog_of_mount(const MountSession& session, mpool::ObjectId id) {
  require_log_id(id);
  return mlog_props_of(properties_on(session, id));
}

std::unique_ptr<Log> open_mount_log(MountSession& session, mpool::ObjectId id,
                                    mpool::ClientLog::Options options) {
  require_log_id(id);
  const bool compaction = options.semantics == mpool::CompactionSemantics::on;
  const std::uint32_t flags = (compaction ? MPOOL_IOC_COMPACTION : 0u) |
                              (options.serialised_by_caller ? MPOOL_IOC_SERIALISED : 0u);
  return std::make_unique<MountLog>(session, id, flags);
}

std::unique_ptr<Mdc> open_mount_mdc(MountSession& session, mpool::ObjectId first,
                                    mpool::ObjectId second) {
  require_log_id(first);
  require_log_id(second);
  return std::make_unique<MountMdc>(session, first, second, 0);
}

}  // namespace libmpool
