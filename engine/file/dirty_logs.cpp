#include "engine/file/dirty_logs.h"

#include <cerrno>
#include <optional>
#include <utility>

#include "engine/base/error.h"

namespace mpool::names {
namespace {

bool is_no_room(const Error& error) {
  return error.code() == ENOSPC;
}

}  // namespace

void DirtyLogs::add(InodeNumber inode, const std::shared_ptr<Log>& log) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[inode];
  if (entry.log == log) return;
  entry = {.log = log, .failure = std::nullopt};
}

void DirtyLogs::remove(InodeNumber inode) {
  Entry removed;  // destroyed without the mutex
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(inode);
  if (it == entries_.end()) return;
  removed = std::move(it->second);
  entries_.erase(it);
}

bool DirtyLogs::contains(InodeNumber inode) const {
  const std::lock_guard lock(mutex_);
  return entries_.contains(inode);
}

void DirtyLogs::check() const {
  const std::lock_guard lock(mutex_);
  for (const auto& [inode, entry] : entries_) {
    if (entry.failure) throw *entry.failure;
  }
}

std::size_t DirtyLogs::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

void DirtyLogs::write() {
  std::vector<std::pair<InodeNumber, std::shared_ptr<Log>>> logs;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [inode, entry] : entries_) {
      if (!entry.failure || is_no_room(*entry.failure)) logs.emplace_back(inode, entry.log);
    }
  }
  found_any_ = !logs.empty();
  for (auto& [inode, log] : logs) {
    try {
      if (const auto written = log->write()) {
        unflushed_.push_back({inode, std::move(log), *written});
      } else {
        remove_if_clean(inode, *log);
      }
    } catch (const Error& error) {
      fail(inode, *log, error);
    }
  }
}

bool DirtyLogs::make_durable(std::span<Device* const> flushed) {
  std::map<Device*, std::optional<Error>> devices;
  for (Device* device : flushed)
    devices.emplace(device, std::nullopt);
  const std::vector<Unflushed> logs = std::exchange(unflushed_, {});
  for (const auto& [inode, log, written] : logs) {
    const auto [device, is_new] = devices.try_emplace(&written.device());
    if (is_new) {
      try {
        device->first->flush();
      } catch (const Error& error) {
        device->second = error;
      }
    }
    if (device->second) {
      fail(inode, *log, *device->second);
    } else {
      log->flushed(written);
      remove_if_clean(inode, *log);
    }
  }
  return found_any_;
}

// An append after the write keeps the log in the set.
void DirtyLogs::remove_if_clean(InodeNumber inode, const Log& log) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(inode);
  if (it == entries_.end() || it->second.log.get() != &log) return;
  it->second.failure.reset();
  if (!log.dirty()) entries_.erase(it);
}

void DirtyLogs::fail(InodeNumber inode, const Log& log, const Error& error) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(inode);
  if (it == entries_.end() || it->second.log.get() != &log) return;
  std::optional<Error>& failure = it->second.failure;
  if (!failure || failure->code() != error.code()) {
    pool_.log().error("pool {}: what was appended to inode {} since its last sync is {}: {}",
                      pool_.name(), inode,
                      is_no_room(error) ? "not durable until there is room" : "lost", error.what());
  }
  failure = error;
}

}  // namespace mpool::names
