#include "fuse/ops/data_job.h"

#include <utility>

#include "engine/base/error.h"
#include "engine/io/device.h"
#include "fuse/ops/errors.h"
#include "fuse/ops/request_context.h"

namespace mpoolfs {

namespace {

void reply_data(fuse_req_t request, mpool::ConstByteSpan data) {
  fuse_reply_buf(request, reinterpret_cast<const char*>(data.data()), data.size());
}

}  // namespace

DataJob::DataJob(RequestContext& context) : context_(context) {}

template <typename Reply>
void DataJob::finish(int error, const Reply& reply) noexcept {
  const RequestContext::Scope scope(context_);
  if (error != 0) {
    fuse_reply_err(request_, errno_for_caller(error));
  } else {
    reply();
  }
  context_.resume();
}

void DataJob::start_read(fuse_req_t request, const mpool::ReadPlan& plan) {
  request_ = request;
  size_ = plan.length;
  read_.start(context_.ring(), plan, context_.payload());
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

void DataJob::start_write(fuse_req_t request, mpool::StartedWrite write, std::size_t size) {
  request_ = request;
  size_ = size;
  write_ = std::move(write);
  try {
    write_.device->start_write(context_.ring(), transfer_, write_.offset, write_.memory);
  } catch (const mpool::Error& error) {
    mpool::end_write(write_, error.code());
    write_ = {};
    throw;
  }
  context_.suspend();
}

void DataJob::abandon(int error) noexcept {
  if (write_.device == nullptr) return;
  mpool::end_write(write_, error);
  write_ = {};
}

void DataJob::Read::done(int error) noexcept {
  job.fetched(job.context_.payload().first(job.size_), error);
}

void DataJob::wake() noexcept {
  context_.post(arrival_);
}

void DataJob::Arrival::completed(std::int32_t) noexcept {
  job.context_.read_ahead().collect(job);
}

void DataJob::fetched(mpool::ConstByteSpan data, int error) noexcept {
  finish(error, [&] { reply_data(request_, data); });
}

void DataJob::written(int error) noexcept {
  mpool::end_write(write_, error);
  write_ = {};
  finish(error, [&] { fuse_reply_write(request_, size_); });
}

}  // namespace mpoolfs
