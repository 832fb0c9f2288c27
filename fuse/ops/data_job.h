// The device I/O of one READ or WRITE that is answered when it is done.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/device/transfer.h"
#include "engine/names/names.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/reactor/planned_read.h"
#include "fuse/reactor/read_ahead.h"

namespace mpoolfs {

class RequestContext;

// Belongs to a request context, on whose ring and thread everything but wake() happens.
class DataJob final : private ReadAhead::Reader {
 public:
  explicit DataJob(RequestContext& context);
  DataJob(const DataJob&) = delete;
  DataJob& operator=(const DataJob&) = delete;

  // Reads as planned (at least one transfer) into the payload, then answers with it. Throws Error
  // when nothing can be started; then nothing was answered.
  void start_read(fuse_req_t request, const mpool::ReadPlan& plan);
  // Answers a direct read with what was fetched ahead, now or when it is there. False: nothing of
  // it was, and nothing was answered.
  bool read_ahead(fuse_req_t request, mpool::OpenFile& file, std::uint64_t offset,
                  std::size_t size);
  // Transfers what OpenFile::start_write() said, then answers that `size` bytes were written. As
  // start_read; the write is ended when it throws.
  void start_write(fuse_req_t request, mpool::StartedWrite write, std::size_t size);
  // The ring completes nothing any more: a write under way has failed with `error`. It is not
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

  // Fetched by another ring.
  struct Arrival final : mpool::RingOperation {
    explicit Arrival(DataJob& owner) : job(owner) {}
    void completed(std::int32_t) noexcept override;
    DataJob& job;
  };

  void fetched(mpool::ConstByteSpan data, int error) noexcept override;
  void wake() noexcept override;
  void written(int error) noexcept;
  // Answers with an error, or by `reply`.
  template <typename Reply>
  void finish(int error, const Reply& reply) noexcept;

  RequestContext& context_;
  Read read_{*this};
  Write transfer_{*this};
  Arrival arrival_{*this};
  fuse_req_t request_ = nullptr;
  std::size_t size_ = 0;       // bytes of the answer
  mpool::StartedWrite write_;  // while it is under way
};

}  // namespace mpoolfs
