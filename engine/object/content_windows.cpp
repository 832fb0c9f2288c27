// The mblocks of a file being written.
#include <utility>
#include <vector>

#include "engine/object/content_writer_impl.h"

namespace mpool {

// Writes whole pages to the mblocks they belong to.
void ContentWriter::Impl::write_pages(Lock& lock, std::uint64_t offset, ConstByteSpan pages) {
  while (!pages.empty()) {
    const auto& [base, window] = window_of(lock, offset);
    const std::size_t length = std::min<std::uint64_t>(pages.size(), window.limit - offset);
    {
      const Unlocked unlocked(lock);
      window.writer->write(offset - base, pages.first(length));
    }
    offset += length;
    pages = pages.subspan(length);
  }
}

void ContentWriter::Impl::open_windows(Lock& lock, std::uint64_t offset, std::uint64_t length) {
  for (std::uint64_t page = page_of(offset); page < offset + length;) {
    page = window_of(lock, page).second.limit;
  }
}

void ContentWriter::Impl::set_aside(std::uint64_t offset, std::uint64_t length) {
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return !exclusive_; });
  check_range(offset, length);
  const User user(*this);
  if (stays_in_pack(lock, offset + length)) return;
  std::vector<std::uint64_t> opened;
  try {
    for (std::uint64_t page = page_of(offset); page < offset + length;) {
      std::uint64_t unsealed = page;
      sealed_.for_each_range(page, offset + length, [&](std::uint64_t begin, std::uint64_t end) {
        if (begin == unsealed) unsealed = end;
      });
      if (page_of(unsealed) > page) {
        page = page_of(unsealed);
        continue;
      }
      const bool is_open = open_window_at(page) != nullptr;
      auto& [base, window] = window_of(lock, page);
      if (!is_open) opened.push_back(base);
      window.set_aside = true;
      page = window.limit;
    }
  } catch (...) {
    std::vector<std::shared_ptr<MblockWriter>> unused;
    for (const std::uint64_t base : opened) {
      const auto window = windows_.find(base);
      if (is_used(*window)) continue;
      unused.push_back(std::move(window->second.writer));
      windows_.erase(window);
    }
    const Unlocked unlocked(lock);  // releasing mblocks may block on locks of the pool
    unused.clear();
    throw;
  }
}

ContentWriter::Impl::Windows::value_type& ContentWriter::Impl::window_of(Lock& lock,
                                                                         std::uint64_t page) {
  while (true) {
    auto it = windows_.upper_bound(page);
    if (it == windows_.begin() || page >= (--it)->second.limit) return open_window(lock, page);
    if (it->second.writer != nullptr) return *it;
    changed_.wait(lock);
    check_failure();
  }
}

ContentWriter::Impl::Windows::value_type& ContentWriter::Impl::open_window(Lock& lock,
                                                                           std::uint64_t page) {
  const std::uint64_t base = base_for(page);
  const auto next = windows_.upper_bound(page);
  const std::uint64_t limit =
      next == windows_.end() ? base + zone_size_ : std::min(base + zone_size_, next->first);
  const auto it = windows_.emplace(base, Window{limit, nullptr}).first;
  try {
    const auto near = next_zone_;
    std::unique_ptr<MblockWriter> writer;
    {
      const Unlocked unlocked(lock);
      writer = allocate_(near);
    }
    next_zone_ = writer->first_zone() + 1;
    it->second.writer = std::move(writer);
  } catch (...) {
    windows_.erase(it);
    changed_.notify_all();
    throw;
  }
  changed_.notify_all();
  return *it;
}

// The start of a new window for `page`, which is in none.
std::uint64_t ContentWriter::Impl::base_for(std::uint64_t page) const {
  std::uint64_t base = page - page % zone_size_;
  const auto next = windows_.upper_bound(page);
  if (next != windows_.begin()) base = std::max(base, std::prev(next)->second.limit);
  if (!sealed_.overlaps(base, base + zone_size_)) return base;
  const std::uint64_t lead = memory_.tunables().lead;
  if (page - base > lead) base = page - lead;
  // A range that is sealed without gaps is not written again.
  std::uint64_t unsealed = base;
  sealed_.for_each_range(base, page, [&](std::uint64_t begin, std::uint64_t end) {
    if (begin == unsealed) unsealed = end;
  });
  return std::max(base, page_of(unsealed));
}

// The window of a page if it can be written to without blocking, or null.
ContentWriter::Impl::Windows::value_type* ContentWriter::Impl::open_window_at(std::uint64_t page) {
  auto it = windows_.upper_bound(page);
  if (it == windows_.begin() || page >= (--it)->second.limit) return nullptr;
  return it->second.writer != nullptr ? &*it : nullptr;
}

bool ContentWriter::Impl::windows_open(std::uint64_t offset, std::size_t length) {
  const std::uint64_t end = offset + length;
  for (std::uint64_t page = page_of(offset); page < end;) {
    const auto* window = open_window_at(page);
    if (window == nullptr) return false;
    page = window->second.limit;
  }
  return true;
}

// True if it was written to, or is about to be.
bool ContentWriter::Impl::is_used(const Windows::value_type& window) const {
  return fresh_.overlaps(window.first, window.second.limit) ||
         busy_.overlaps(window.first, window.second.limit);
}

// Windows that were not written since the last seal, and need not stay.
std::vector<std::shared_ptr<MblockWriter>> ContentWriter::Impl::take_unused_windows(bool last) {
  std::vector<std::shared_ptr<MblockWriter>> unused;
  for (auto window = windows_.begin(); window != windows_.end();) {
    const bool stays = window->second.set_aside || window->second.sealed_from;
    if (is_used(*window) || (stays && !last)) {
      ++window;
    } else {
      unused.push_back(std::move(window->second.writer));
      window = windows_.erase(window);
    }
  }
  return unused;
}

}  // namespace mpool
