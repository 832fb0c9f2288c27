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
#include "engine/pool/object_pin.h"
#include "fuse/control/map_calls.h"
#include "fuse/control/object_control.h"
#include "fuse/control/provider.h"

namespace mpoolfs {

// Threads: as ControlFile. Lock order: the mutex of a handle, buffer_mutex_, mutex_, which is not
// held during I/O. use_mutex_ is taken alone.
class ObjectSession : public ControlFile {
 public:
  // `caller`: the user that opens it.
  ObjectSession(ProgramObjects& objects, Maps& maps, const Caller& caller)
      : objects_(objects), maps_(objects, maps), caller_(caller) {}
  ~ObjectSession() override;  // aborts and closes; failures are logged

  std::string read(std::uint64_t offset, std::size_t size) override;
  void write(std::uint64_t offset, mpool::ConstByteSpan data) override;
  std::vector<std::byte> ioctl(unsigned command, mpool::ConstByteSpan in) override;

 private:
  // An open log, an open MDC, or pinned mblocks.
  struct Opened {
    std::shared_mutex mutex;  // shared: in use; exclusive: being closed
    std::shared_ptr<mpool::ClientLog> log;
    std::shared_ptr<mpool::ClientMdc> mdc;
    std::vector<mpool::ObjectPin> pins;
    bool ended = false;
  };
  // A handle in use.
  struct Use {
    std::shared_ptr<Opened> opened;
    std::shared_lock<std::shared_mutex> lock;
    mpool::ClientLog* log = nullptr;  // both are null for pins
    mpool::ClientMdc* mdc = nullptr;

    mpool::ClientLog& need_log() const;  // EINVAL for another
    mpool::ClientMdc& need_mdc() const;  // EINVAL for another
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
  void call(mpool_ioc_pool& pool);
  void call(mpool_ioc_usage& usage);
  void change_settings(const mpool_ioc_settings& wanted);
  void use_pool(const mpool_ioc_use& wanted);
  void call(mpool_ioc_pin& pin);

  mpool::ObjectId own(
      std::uint64_t id) const;  // ENOENT unless it is uncommitted and this session's
  void forget(mpool::ObjectId id);
  std::uint32_t add(const std::shared_ptr<Opened>& opened);  // its handle
  Use use(std::uint32_t handle) const;                       // EBADF
  Use use_records(std::uint32_t handle) const;               // or EINVAL for pins
  void close(Opened& opened);
  void resize_buffer(std::size_t size);

  ProgramObjects& objects_;
  MapCalls maps_;
  const Caller caller_;
  std::mutex use_mutex_;  // guards use_
  std::uint32_t use_ = MPOOL_IOC_UNUSED;
  std::shared_mutex buffer_mutex_;  // exclusive: to change it
  std::vector<std::byte> buffer_;
  mutable std::mutex mutex_;  // guards the following
  std::unordered_set<mpool::ObjectId> uncommitted_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Opened>> opened_;
  std::uint32_t last_handle_ = 0;
};

}  // namespace mpoolfs
