// Open logs and MDCs of a mounted pool.
#pragma once

#include <atomic>
#include <cstdint>

#include "fuse/client/backend.h"
#include "fuse/client/mount_session.h"

namespace libmpool {

mpool_ioc_properties properties_on(const MountSession& session, mpool::ObjectId id);  // ENOENT
mlog_props mlog_of_mount(const MountSession& session, mpool::ObjectId id);  // ENOENT, EINVAL

class MountLog : public Log {
 public:
  MountLog(MountSession& session, mpool::ObjectId id, mpool::ClientLog::Options options);
  ~MountLog() override;
  MountLog(const MountLog&) = delete;
  MountLog& operator=(const MountLog&) = delete;

  void append(std::span<const mpool::ConstByteSpan> parts, bool durable) override;
  void sync() override;
  std::uint64_t used() override;
  mpool::SharedReader::Result read(mpool::ByteSpan into) override;
  void rewind() override;
  void close() override;
  mpool::SharedReader::Result skip_and_read(std::size_t length, mpool::ByteSpan into) override;
  std::uint64_t generation() override;
  void erase(std::uint64_t min_generation) override;

 private:
  MountSession& session_;
  const mpool::ObjectId id_;
  std::uint32_t handle_ = 0;  // 0: closed
};

class MountMdc : public Mdc {
 public:
  MountMdc(MountSession& session, mpool::ObjectId first, mpool::ObjectId second);
  ~MountMdc() override;
  MountMdc(const MountMdc&) = delete;
  MountMdc& operator=(const MountMdc&) = delete;

  void append(std::span<const mpool::ConstByteSpan> parts, bool durable) override;
  void sync() override;
  std::uint64_t used() override;
  mpool::SharedReader::Result read(mpool::ByteSpan into) override;
  void rewind() override;
  void close() override;
  void start_compaction() override;
  void end_compaction() override;
  bool failed() override { return failed_; }

 private:
  void compact(unsigned long command);

  MountSession& session_;
  std::uint32_t handle_ = 0;
  std::atomic<bool> failed_ = false;
};

}  // namespace libmpool
