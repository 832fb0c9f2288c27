#include "fuse/ops/answer.h"

#include <cerrno>

#include "fuse/ops/handle_of.h"

namespace mpoolfs {

namespace {

fuse_file_info to_file_info(const Opened& opened) {
  fuse_file_info info{};
  info.fh = handle_number(opened.handle());
  info.direct_io = opened.caching() == Caching::none ? 1 : 0;
  info.keep_cache = opened.caching() == Caching::kept ? 1 : 0;
  info.noflush = opened.needs_flush() ? 0 : 1;
  return info;
}

// `reply(info)` sends an open file. -ENOENT from the library means that the kernel has dropped the
// request and will not release the handle.
template <typename Send>
void send_opened(Opened& opened, const Send& reply) noexcept {
  RequestContext::current().set_backing_id(opened.backing_id());
  const fuse_file_info info = to_file_info(opened);
  if (reply(info) != -ENOENT) opened.keep();
}

}  // namespace

void Reply::send(Outcome outcome) const noexcept {
  if (outcome == Outcome::would_block) {
    return RequestContext::current().defer_to_worker(request_);
  }
  fuse_reply_err(request_, 0);
}

void Reply::send(const mpool::LookupAnswer& found) const noexcept {
  switch (found.kind) {
    case mpool::LookupAnswer::Kind::found:
      return send(Entry{*found});
    case mpool::LookupAnswer::Kind::absent: {
      const fuse_entry_param none = negative_entry();
      fuse_reply_entry(request_, &none);
      return;
    }
    case mpool::LookupAnswer::Kind::would_block:
      return send(Outcome::would_block);
  }
}

void Reply::send(const Entry& entry) const noexcept {
  const fuse_entry_param shown = to_entry(entry.attributes, presentation());
  fuse_reply_entry(request_, &shown);
}

void Reply::send(const mpool::Attributes& attributes) const noexcept {
  const struct stat shown = to_stat(attributes, presentation());
  fuse_reply_attr(request_, &shown, attribute_timeout(attributes));
}

void Reply::send(const struct statvfs& stats) const noexcept {
  fuse_reply_statfs(request_, &stats);
}

void Reply::send(const SizedValue& value) const noexcept {
  if (value.room == 0) {
    fuse_reply_xattr(request_, value.value.size());
  } else {
    fuse_reply_buf(request_, value.value.data(), value.value.size());
  }
}

void Reply::send(const LinkTarget& target) const noexcept {
  fuse_reply_readlink(request_, target.path.c_str());
}

void Reply::send(const std::vector<char>& data) const noexcept {
  fuse_reply_buf(request_, data.data(), data.size());
}

void Reply::send(const mpool::ReadResult& read) const noexcept {
  if (read.state == mpool::IoState::done) return reply_data(request_, read.data);
  send_later(read.state);
}

void Reply::send(const Written& written) const noexcept {
  if (written.state != mpool::IoState::done) return send_later(written.state);
  fuse_reply_write(request_, written.size);
}

void Reply::send_later(mpool::IoState state) const noexcept {
  if (state == mpool::IoState::pending) return RequestContext::current().suspend();
  send(Outcome::would_block);
}

void Reply::send(Opened opened) const noexcept {
  send_opened(opened, [&](const fuse_file_info& info) { return fuse_reply_open(request_, &info); });
}

void Reply::send(CreatedFile created) const noexcept {
  const fuse_entry_param entry = to_entry(created.entry.attributes, presentation());
  send_opened(created.opened, [&](const fuse_file_info& info) {
    return fuse_reply_create(request_, &entry, &info);
  });
}

}  // namespace mpoolfs
