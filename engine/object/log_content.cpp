#include "engine/object/log_content.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/base/error.h"

namespace mpool {

std::unique_ptr<Mlog> open_any_mlog(const MlogLocation& location) {
  try {
    return Mlog::open(location, CompactionSemantics::off);
  } catch (const Error& error) {
    if (error.code() != ENODATA) throw;
    try {
      return Mlog::open(location, CompactionSemantics::on);
    } catch (const Error& second) {
      if (second.code() == EMSGSIZE) {
        return Mlog::open(location, CompactionSemantics::on, OnDamage::report);
      }
    }
    throw;  // the first error: of a plain log it has more information
  }
}

std::size_t LogContent::read(std::uint64_t offset, ByteSpan into) {
  const std::lock_guard lock(mutex_);
  if (offset < start_) {
    reader_.rewind();
    record_.clear();
    start_ = 0;
  }
  std::size_t done = 0;
  while (done < into.size()) {
    const std::uint64_t end = start_ + record_.size();
    const std::uint64_t at = offset + done;
    if (at < end) {
      const auto count =
          static_cast<std::size_t>(std::min<std::uint64_t>(into.size() - done, end - at));
      std::memcpy(into.data() + done, record_.data() + (at - start_), count);
      done += count;
      continue;
    }
    std::vector<std::byte> next;
    if (!reader_.next(next)) break;
    start_ = end;
    record_ = std::move(next);
  }
  return done;
}

}  // namespace mpool
