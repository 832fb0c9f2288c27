#include "engine/device/device.h"

#include <cerrno>
#include <utility>

#include <spdlog/spdlog.h>

#include "engine/base/error.h"

namespace mpool {

namespace {

void count(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace

Device::Device(std::string name, DeviceProperties properties)
    : name_(std::move(name)), properties_(std::move(properties)) {}

void Device::read(std::uint64_t offset, ByteSpan into) {
  check_range("read", offset, into.size());
  if (into.empty()) return;
  count(counters_.reads);
  try {
    read_impl(offset, into);
  } catch (const Error&) {
    count(counters_.errors);
    throw;
  }
  count(counters_.read_bytes, into.size());
}

void Device::write(std::uint64_t offset, ConstByteSpan from) {
  check_range("write", offset, from.size());
  check_writable("write");
  if (from.empty()) return;
  count(counters_.writes);
  try {
    write_impl(offset, from);
  } catch (const Error& error) {
    go_offline(error);
  }
  count(counters_.written_bytes, from.size());
}

void Device::flush() {
  check_writable("flush");
  count(counters_.flushes);
  try {
    flush_impl();
  } catch (const Error& error) {
    go_offline(error);
  }
  // A flush vouches for all writes before it, also for one that failed on another thread meanwhile.
  check_writable("flush");
}

void Device::discard(std::uint64_t offset, std::uint64_t length) {
  check_range("discard", offset, length);
  check_writable("discard");
  if (length == 0) return;
  count(counters_.discards);
  try {
    discard_impl(offset, length);
  } catch (const Error&) {
    count(counters_.errors);
    throw;
  }
}

Device::Counters Device::counters() const noexcept {
  const auto load = [](const std::atomic<std::uint64_t>& counter) {
    return counter.load(std::memory_order_relaxed);
  };
  return {.reads = load(counters_.reads),
          .read_bytes = load(counters_.read_bytes),
          .writes = load(counters_.writes),
          .written_bytes = load(counters_.written_bytes),
          .flushes = load(counters_.flushes),
          .discards = load(counters_.discards),
          .errors = load(counters_.errors)};
}

void Device::check_range(const char* operation, std::uint64_t offset, std::uint64_t length) const {
  if (!is_aligned(offset, kPageSize) || !is_aligned(length, kPageSize)) {
    raise(EINVAL, name_, "{} of {} bytes at {}: not aligned to {} bytes", operation, length, offset,
          kPageSize);
  }
  if (offset > properties_.size || length > properties_.size - offset) {
    raise(EINVAL, name_, "{} of {} bytes at {}: beyond the end, the device has {} bytes", operation,
          length, offset, properties_.size);
  }
}

void Device::check_writable(const char* operation) const {
  if (properties_.read_only) raise(EROFS, name_, "{}: opened for reading only", operation);
  if (offline()) {
    raise(EIO, name_, "{}: the device is offline for writing after an earlier failure", operation);
  }
}

void Device::go_offline(const Error& error) {
  count(counters_.errors);
  if (!offline_.exchange(true, std::memory_order_acq_rel)) {
    spdlog::error("{}; the device goes offline for writing", error.what());
  }
  throw error;
}

}  // namespace mpool
