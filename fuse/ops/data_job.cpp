#include "fuse/ops/data_job.h"

#include <utility>

#include "engine/base/error.h"
#include "engine/device/device.h"
#include "fuse/ops/errors.h"
#include "fuse/ops/request_context.h"

namespace mpoolfs {

namespace {

void reply_data(fuse_req_t request, mpool::ConstByteSpan data) {
  fuse_reply_buf(request, reinterpret_cast<const char*>(data.data()), data.size());
}

}  // namespace

DataJob::DataJob(RequestContext& context) : context_(context) {
  for (Part& part : parts_)
    part.job = this;
}

void DataJob::start_read(fuse_req_t request, const mpool::ReadPlan& plan) {
  request_ = request;
  size_ = plan.length;
  error_ = 0;
  pending_ = 0;
  const mpool::ByteSpan payload = context_.payload();
  for (std::size_t i = 0; i < plan.count && error_ == 0; ++i) {
    const mpool::ReadPlan::Transfer& transfer = plan.transfers[i];
    try {
      transfer.device->start_read(context_.ring(), parts_[i], transfer.offset,
                                  payload.subspan(transfer.at, transfer.length));
      ++pending_;
    } catch (const mpool::Error& error) {
      if (pending_ == 0) throw;
      error_ = error.code();
    }
  }
  context_.suspend();
}

bool DataJob::read_ahead(fuse_req_t request, mpool::OpenFile& file, std::uint64_t offset,
                         std::size_t size) {
  const ReadAhead::Fetched found =
      context_.read_ahead().fetch(file, offset, size, context_.alone(), *this);
  using enum ReadAhead::Fetched::State;
  if (found.state == absent) return false;
  if (found.state == here) {
    reply_data(request, found.data);
  } else {
    request_ = request;
    context_.suspend();
  }
  return true;
}

void DataJob::fetched(mpool::ConstByteSpan data, int error) noexcept {
  const RequestContext::Scope scope(context_);
  if (error != 0) {
    fuse_reply_err(request_, errno_for_caller(error));
  } else {
    reply_data(request_, data);
  }
  context_.resume();
}

void DataJob::start_write(fuse_req_t request, mpool::StartedWrite write, std::size_t size) {
  request_ = request;
  size_ = size;
  error_ = 0;
  write_ = std::move(write);
  try {
    write_.device->start_write(context_.ring(), parts_[0], write_.offset, write_.memory);
  } catch (const mpool::Error& error) {
    mpool::end_write(write_, error.code());
    write_ = {};
    throw;
  }
  pending_ = 1;
  context_.suspend();
}

void DataJob::part_done(int error) noexcept {
  if (error_ == 0) error_ = error;
  if (--pending_ == 0) finish();
}

void DataJob::finish() noexcept {
  const bool is_write = write_.kind == mpool::StartedWrite::Kind::transfer;
  if (is_write) {
    mpool::end_write(write_, error_);
    write_ = {};
  }
  const RequestContext::Scope scope(context_);
  if (error_ != 0) {
    fuse_reply_err(request_, errno_for_caller(error_));
  } else if (is_write) {
    fuse_reply_write(request_, size_);
  } else {
    reply_data(request_, context_.payload().first(size_));
  }
  context_.resume();
}

}  // namespace mpoolfs
