// Performs plans of OpenFile: reads and writes without blocking on the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "engine/names/names.h"

namespace mpool::test {

inline constexpr std::size_t kPage = kPageSize;

// The result of a planned read; nullopt if it cannot be planned.
inline std::optional<std::string> planned_read(OpenFile& file, std::uint64_t offset,
                                               std::size_t length) {
  AlignedBuffer memory(round_up(length, kPage));
  if (!memory.empty()) std::memset(memory.data(), 0xee, memory.size());
  ReadPlan plan;
  if (!file.plan_read(offset, length, memory.span(), plan)) return std::nullopt;
  EXPECT_LE(plan.length, length);
  std::size_t end = 0;
  for (std::size_t i = 0; i < plan.count; ++i) {
    const ReadPlan::Transfer& transfer = plan.transfers[i];
    EXPECT_GE(transfer.at, end);
    end = transfer.at + transfer.length;
    EXPECT_LE(end, memory.size());
    EXPECT_LT(transfer.at, plan.length);
    transfer.device->read(transfer.offset, memory.span(transfer.at, transfer.length));
  }
  return std::string(reinterpret_cast<const char*>(memory.data()), plan.length);
}

inline AlignedBuffer aligned(std::string_view text) {
  AlignedBuffer buffer(text.size());
  std::memcpy(buffer.data(), text.data(), text.size());
  return buffer;
}

// Writes as the daemon does.
inline void put(OpenFile& file, std::uint64_t offset, std::string_view text, bool append = false) {
  const AlignedBuffer data = aligned(text);
  StartedWrite write = file.start_write(offset, data.span(), append);
  if (write.kind == StartedWrite::Kind::must_wait) {
    file.write(offset, data.span(), append);
  } else if (write.kind == StartedWrite::Kind::transfer) {
    write.device->write(write.offset, write.memory);
    end_write(write, 0);
  }
}

}  // namespace mpool::test
