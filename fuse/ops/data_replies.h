// The answers to READ and WRITE whose data is transferred asynchronously.
#pragma once

#include <cstddef>

#include "engine/file/file_io.h"
#include "fuse/ops/fuse_api.h"

namespace mpoolfs {

class RequestContext;

// Belongs to a request context, which is suspended until finished().
//
// Threads: the ring's.
class ReadReply final : public mpool::FileRead {
 public:
  explicit ReadReply(RequestContext& context) : context_(context) {}

  void prepare(fuse_req_t request) { request_ = request; }

 private:
  void finished(mpool::ConstByteSpan data, int error) noexcept override;

  RequestContext& context_;
  fuse_req_t request_ = nullptr;
};

// As ReadReply.
class WriteReply final : public mpool::FileWrite {
 public:
  explicit WriteReply(RequestContext& context) : context_(context) {}

  // size: bytes of the whole write.
  void prepare(fuse_req_t request, std::size_t size) {
    request_ = request;
    size_ = size;
  }

 private:
  void finished(int error) noexcept override;

  RequestContext& context_;
  fuse_req_t request_ = nullptr;
  std::size_t size_ = 0;
};

void reply_data(fuse_req_t request, mpool::ConstByteSpan data);

}  // namespace mpoolfs
