// A pool in memory with the objects of programs, and short ways to use them.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "engine/client/client_pool.h"
#include "engine/client/open_object.h"
#include "engine/io/simulated_crash.h"
#include "engine/pool/pool.h"
#include "tests/support/bytes_of.h"
#include "tests/support/error_of.h"

namespace mpool::test {

inline constexpr std::uint64_t kClientZone = 64u << 10;
inline constexpr std::size_t kClientPage = kPageSize;

// An active pool on simulated media, and its ClientPool. Discards leave the old content.
class TestClient {
 public:
  enum class Classes { capacity_only, both };

  explicit TestClient(Classes classes = Classes::capacity_only, std::uint32_t zones = 256,
                      std::uint32_t sector_size = 512)
      : media_({std::make_shared<SimulatedMedia>(zones * kClientZone, sector_size)}) {
    if (classes == Classes::both) {
      media_.push_back(std::make_shared<SimulatedMedia>(zones * kClientZone, sector_size));
    }
    const auto devices = open_devices();
    CreateOptions options;
    options.name = "test";
    options.zone_size = kClientZone;
    options.mdc_count = 2;
    options.mdc0_capacity = options.mdc_capacity = options.root_capacity = kClientZone;
    options.spare_percent = 0;
    Pool::create(*devices[0], devices.size() > 1 ? devices[1].get() : nullptr, options);
    restart();
  }

  ClientPool& operator*() { return *client_; }
  ClientPool* operator->() { return client_.get(); }
  Pool& pool() { return *pool_; }
  SimulatedFaults& faults() { return *faults_; }
  std::uint32_t used_zones(MediaClass of = MediaClass::capacity) {
    EXPECT_TRUE(pool_->wait_for_discards(std::chrono::seconds(60)));
    return pool_->class_info(of).space.used;
  }

  // Ends the activation without closing what is open, as a process that is killed, and activates.
  void restart() {
    client_.reset();
    pool_.reset();
    faults_->disarm();
    before_ = copy_of(media_);
    history_ = std::make_shared<SimulatedHistory>();
    pool_ = Pool::activate(open_devices(), quiet());
    client_ = std::make_unique<ClientPool>(*pool_);
  }
  // The same after a power failure, in which all that was not flushed is lost.
  void lose_power() {
    client_.reset();
    pool_.reset();
    media_ = CrashImages::durable(before_, history_->operations(), DiscardEffect::keeps);
    restart();
  }

 private:
  static ActivateOptions quiet() {
    ActivateOptions options;
    options.load_jobs = 1;
    options.tunables.maintenance.period = {};
    options.tunables.maintenance.usage_period = {};
    return options;
  }
  std::vector<std::unique_ptr<Device>> open_devices() {
    std::vector<std::unique_ptr<Device>> devices;
    for (unsigned i = 0; i < media_.size(); ++i) {
      devices.push_back(std::make_unique<SimulatedDevice>(
          "device" + std::to_string(i), media_[i],
          SimulatedDevice::Options{
              .history = history_, .number = i, .faults = faults_, .discard_zeros = false}));
    }
    return devices;
  }

  MediaSet media_;
  MediaSet before_;  // at the activation
  std::shared_ptr<SimulatedHistory> history_;
  std::shared_ptr<SimulatedFaults> faults_ = std::make_shared<SimulatedFaults>();
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<ClientPool> client_;
};

// --- mblocks ---

// Page-aligned memory whose bytes follow from their position and `seed`.
inline AlignedBuffer client_pages(std::size_t pages, unsigned seed) {
  AlignedBuffer buffer(pages * kClientPage);
  for (std::size_t i = 0; i < buffer.size(); ++i) {
    buffer.data()[i] = static_cast<std::byte>((i >> 12) * 31 + i * 7 + seed * 131 + 1);
  }
  return buffer;
}

inline void write_pages(ClientPool& client, ObjectId id, ConstByteSpan memory) {
  client.write_mblock(id, std::span(&memory, 1));
}

inline void read_pages(const ClientPool& client, ObjectId id, std::uint64_t offset,
                       ByteSpan memory) {
  client.read_mblock(id, offset, std::span(&memory, 1));
}

inline ObjectId new_mblock(ClientPool& client, MediaClass media_class = MediaClass::capacity) {
  return client.allocate_mblock(media_class, SpacePolicy::usable_only).id;
}

inline ObjectId committed_mblock(ClientPool& client, std::size_t pages, unsigned seed) {
  const ObjectId id = new_mblock(client);
  if (pages > 0) write_pages(client, id, client_pages(pages, seed).span());
  client.commit(id);
  return id;
}

// True when the whole mblock has the content that committed_mblock() gave it.
inline bool has_content(const ClientPool& client, ObjectId id, std::size_t pages, unsigned seed) {
  AlignedBuffer found(pages * kClientPage);
  read_pages(client, id, 0, found.span());
  return std::memcmp(found.data(), client_pages(pages, seed).data(), found.size()) == 0 &&
         client.mblock(id).written_length == found.size();
}

// --- mlogs and pairs ---

inline ObjectId committed_log(ClientPool& client, std::uint64_t capacity = kClientZone,
                              MediaClass media_class = MediaClass::capacity) {
  const ObjectId id = client.allocate_log(media_class, capacity, SpacePolicy::usable_only).id;
  client.commit(id);
  return id;
}

inline void append_text(ClientLog& log, std::string_view text, bool durable = false) {
  const ConstByteSpan part = bytes_of(text);
  log.append(std::span(&part, 1), durable);
}

inline void append_text(ClientMdc& mdc, std::string_view text, bool durable = false) {
  mdc.append(bytes_of(text), durable);
}

// The next record; "" at the end. Records of these tests are not empty.
template <typename Log>
std::string read_text(Log& log) {
  std::vector<std::byte> into(1u << 20);
  const SharedReader::Result result = log.read(into);
  EXPECT_EQ(result.error, 0);
  return {reinterpret_cast<const char*>(into.data()), result.length};
}

// All records from the first, separated by spaces.
template <typename Log>
std::string all_text(Log& log) {
  log.rewind();
  std::string text;
  for (std::string record = read_text(log); !record.empty(); record = read_text(log)) {
    text += (text.empty() ? "" : " ") + record;
  }
  return text;
}

inline std::array<ObjectId, 2> committed_pair(ClientPool& client,
                                              std::uint64_t capacity = kClientZone) {
  return {committed_log(client, capacity), committed_log(client, capacity)};
}

}  // namespace mpool::test
