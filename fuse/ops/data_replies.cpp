#include "fuse/ops/data_replies.h"

#include "fuse/ops/errors.h"
#include "fuse/ops/request_context.h"

namespace mpoolfs {

namespace {

template <typename Reply>
void finish(RequestContext& context, fuse_req_t request, int error, const Reply& reply) noexcept {
  const RequestContext::Scope scope(context);
  if (error != 0) {
    fuse_reply_err(request, errno_for_caller(error));
  } else {
    reply();
  }
  context.resume();
}

}  // namespace

void reply_data(fuse_req_t request, mpool::ConstByteSpan data) {
  fuse_reply_buf(request, reinterpret_cast<const char*>(data.data()), data.size());
}

void ReadReply::finished(mpool::ConstByteSpan data, int error) noexcept {
  finish(context_, request_, error, [&] { reply_data(request_, data); });
}

void WriteReply::finished(int error) noexcept {
  finish(context_, request_, error, [&] { fuse_reply_write(request_, size_); });
}

}  // namespace mpoolfs
