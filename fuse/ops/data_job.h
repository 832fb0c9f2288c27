// The device I/O of one READ or WRITE that is answered on completion.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/io/transfer.h"
#include "engine/names/names.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/runtime/planned_read.h"
#include "fuse/runtime/read_ahead.h"

namespace mpoolfs {

class RequestContext;

// Belongs to a request context. All functions except wake() run on the ring and thread of that
// context.
class DataJob final : private ReadAhead::Reader {
 public:
  explicit DataJob(RequestContext& context);
  DataJob(const DataJob&) = delete;
  DataJob& operator=(const DataJob&) = delete;

  // Performs the planned read (at least one transfer) into the payload, then answers with it.
  // Throws Error when no transfer can be started; the request is then unanswered.
  void start_read(fuse_req_t request, const mpool::ReadPlan& plan);
  // Answers a direct read from prefetched data, now or on its arrival. Returns false, without an
  // answer, when none of the data was prefetched.
  bool read_ahead(fuse_req_t request, mpool::OpenFile& file, std::uint64_t offset,
                  std::size_t size);
  // Performs the transfer of OpenFile::start_write(), then answers that `size` bytes were written.
  // Throws as start_read(); the write is then ended.
  void start_write(fuse_req_t request, mpool::StartedWrite write, std::size_t size);
  // The ring completes no more operations: a write in progress has failed with `error`. It is not
  // answered.
  void abandon(int error) noexcept;

 private:
  struct Read final : PlannedRead {
    explicit Read(DataJob& owner) : job(owner) {}
    void done(int error) noexcept override;
    DataJob& job;
  };
  struct Write final : mpool::DeviceTransfer {
    explicit Write(DataJob& owner) : job(owner) {}
    void done(int error) noexcept override { job.written(error); }
    DataJob& job;
  };

  // Completion of a prefetch by another ring.
  struct Arrival final : mpool::RingOperation {
    explicit Arrival(DataJob& owner) : job(owner) {}
    void completed(std::int32_t) noexcept override;
    DataJob& job;
  };

  void fetched(mpool::ConstByteSpan data, int error) noexcept override;
  void wake() noexcept override;
  void written(int error) noexcept;
  // Answers with an error, or through `reply`.
  template <typename Reply>
  void finish(int error, const Reply& reply) noexcept;

  RequestContext& context_;
  Read read_{*this};
  Write transfer_{*this};
  Arrival arrival_{*this};
  fuse_req_t request_ = nullptr;
  std::size_t size_ = 0;       // bytes of the answer
  mpool::StartedWrite write_;  // while it is in progress
};

}  // namespace mpoolfs
