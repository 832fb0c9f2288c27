#include "fuse/ops/answer.h"

#include <cerrno>

namespace mpoolfs {

namespace {

fuse_file_info to_file_info(const OpenReply& opened) {
  fuse_file_info info{};
  info.fh = opened.number;
  info.direct_io = opened.caching == Caching::none ? 1 : 0;
  info.keep_cache = opened.caching == Caching::kept ? 1 : 0;
  info.noflush = opened.needs_flush ? 0 : 1;
  return info;
}

// `reply(info)` sends an open file. False: the kernel has dropped the request, as -ENOENT from the
// library means, and will not release the handle.
template <typename Send>
bool send_opened(const OpenReply& opened, const Send& reply) noexcept {
  RequestContext::current().set_backing_id(opened.backing_id);
  const fuse_file_info info = to_file_info(opened);
  return reply(info) != -ENOENT;
}

}  // namespace

void Reply::send(Outcome outcome) const noexcept {
  if (outcome == Outcome::would_block) {
    return RequestContext::current().defer_to_worker(request_);
  }
  refuse(0);
}

void Reply::send(const mpool::LookupAnswer& found) const noexcept {
  switch (found.kind) {
    case mpool::LookupAnswer::Kind::found:
      return send(Entry{*found});
    case mpool::LookupAnswer::Kind::absent:
      return send(negative_entry());
    case mpool::LookupAnswer::Kind::would_block:
      return send(Outcome::would_block);
  }
}

void Reply::send(const Entry& entry) const noexcept {
  send(to_entry(entry.attributes, presentation()));
}

void Reply::send(const fuse_entry_param& entry) const noexcept {
  fuse_reply_entry(request_, &entry);
}

void Reply::send(const mpool::Attributes& attributes) const noexcept {
  send(TimedAttributes{.shown = to_stat(attributes, presentation()),
                       .timeout = attribute_timeout(attributes)});
}

void Reply::send(const TimedAttributes& attributes) const noexcept {
  fuse_reply_attr(request_, &attributes.shown, attributes.timeout);
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

void Reply::send(const std::string& data) const noexcept {
  fuse_reply_buf(request_, data.data(), data.size());
}

void Reply::send(const IoctlData& data) const noexcept {
  fuse_reply_ioctl(request_, 0, data.out.data(), data.out.size());
}

void Reply::send(FoundOffset found) const noexcept {
  if (!found.offset) return refuse(ENXIO);
  fuse_reply_lseek(request_, static_cast<off_t>(*found.offset));
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

bool Reply::send_open(const OpenReply& opened) const noexcept {
  return send_opened(opened,
                     [&](const fuse_file_info& info) { return fuse_reply_open(request_, &info); });
}

void Reply::send(CreatedFile created) const noexcept {
  fuse_entry_param entry = to_entry(created.entry.attributes, presentation());
  entry.attr_timeout = attribute_timeout_of_created(created.entry.attributes);
  const bool sent = send_opened(created.opened.reply(), [&](const fuse_file_info& info) {
    return fuse_reply_create(request_, &entry, &info);
  });
  if (sent) created.opened.keep();
}

}  // namespace mpoolfs
