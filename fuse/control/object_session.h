// A session of `.mpool/ctl`: one opening of the file (fuse/client/include/mpool/ioctl.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <mpool/ioctl.h>

#include "engine/client/client_pool.h"
#include "fuse/control/map_calls.h"
#include "fuse/control/object_control.h"
#include "fuse/control/provider.h"

namespace mpoolfs {

// Threads: as ControlFile. Lock order: the mutex of a handle, buffer_mutex_, mutex_, which is not
// held during I/O.
class ObjectSession : public ControlFile {
 public:
  ObjectSession(ProgramObjects& objects, Maps& maps) : objects_(objects), maps_(objects, maps) {}
  ~ObjectSession() override;  // aborts and closes; failures are logged

  std::string read(std::uint64_t offset, std::size_t size) override;
  void write(std::uint64_t offset, mpool::ConstByteSpan data) override;
  std::vector<std::byte> ioctl(unsigned command, mpool::ConstByteSpan in) override;

 private:
  // An open log, or an open MDC.
  struct Opened {
    std::shared_mutex mutex;  // shared: in use; exclusive: being closed
    std::shared_ptr<mpool::ClientLog> log;
    std::shared_ptr<mpool::ClientMdc> mdc;
  };
  // A handle in use.
  struct Use {
    std::shared_ptr<Opened> opened;
    std::shared_lock<std::shared_mutex> lock;
    mpool::ClientLog* log = nullptr;  // one of the two is not null
    mpool::ClientMdc* mdc = nullptr;

    mpool::ClientLog& need_log() const;  // EINVAL for an MDC
    mpool::ClientMdc& need_mdc() const;  // EINVAL for a log
  };

  void call(mpool_ioc_version& version);
  void call(mpool_ioc_alloc& alloc);
  void commit(const mpool_ioc_object& object);
  void abort(const mpool_ioc_object& object);
  void remove(const mpool_ioc_object& object);
  void call(mpool_ioc_properties& properties);
  void call(mpool_ioc_open& open);
  void close(const mpool_ioc_handle& handle);
  void append(const mpool_ioc_append& append);
  void call(mpool_ioc_read& read);
  void rewind(const mpool_ioc_handle& handle);
  void sync(const mpool_ioc_handle& handle);
  void length(mpool_ioc_handle& handle);
  void erase(mpool_ioc_handle& handle);
  void start_compaction(const mpool_ioc_handle& handle);
  void end_compaction(const mpool_ioc_handle& handle);

  mpool::ObjectId own(
      std::uint64_t id) const;  // ENOENT unless it is uncommitted and this session's
  void forget(mpool::ObjectId id);
  Use use(std::uint32_t handle) const;  // EBADF
  void close(Opened& opened);
  void resize_buffer(std::size_t size);

  ProgramObjects& objects_;
  MapCalls maps_;
  std::shared_mutex buffer_mutex_;  // exclusive: to change it
  std::vector<std::byte> buffer_;
  mutable std::mutex mutex_;  // guards the following
  std::unordered_set<mpool::ObjectId> uncommitted_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Opened>> opened_;
  std::uint32_t last_handle_ = 0;
};

}  // namespace mpoolfs
