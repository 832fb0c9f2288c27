#include "fuse/native/reader_watch.h"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "engine/base/aligned_buffer.h"
#include "engine/io/open.h"
#include "tests/engine/io/support.h"

namespace mpoolfs {
namespace {

// Queries until the answer is `expected`; reads of the device by other programs, such as udev, end
// at some time.
bool comes_to(ReaderWatch& watch, bool expected) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (watch.reads_active() != expected) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

// True if fifty writes pass without being counted as reads. Other programs may read meanwhile, but
// not forever, while a write that is counted as a read is so each time.
bool writes_are_none(mpool::Device& device, ReaderWatch& watch) {
  const mpool::AlignedBuffer page = mpool::AlignedBuffer::zeroed(mpool::kPageSize);
  for (int round = 0; round < 20 && comes_to(watch, false); ++round) {
    int taken = 0;
    for (int i = 0; i < 50; ++i) {
      device.write(0, page.span());
      taken += watch.reads_active() ? 1 : 0;
    }
    if (taken == 0) return true;
  }
  return false;
}

TEST(ReaderWatch, SeesReadsAndTheirEnd) {
  const mpool::test::LoopDevice loop(1 << 20);
  const auto device = mpool::open_device(loop.path(), mpool::OpenMode::activate);
  mpool::Metrics metrics;
  ReaderWatch watch(mpool::system_clock(), metrics);
  watch.watch({loop.path()});
  EXPECT_TRUE(comes_to(watch, false));
  std::jthread reader([&](const std::stop_token& stop) {
    mpool::AlignedBuffer memory(mpool::kPageSize);
    while (!stop.stop_requested())
      device->read(0, memory.span());
  });
  EXPECT_TRUE(comes_to(watch, true));
  reader.request_stop();
  reader.join();
  EXPECT_TRUE(comes_to(watch, false));
  EXPECT_TRUE(writes_are_none(*device, watch));
}

TEST(ReaderWatch, OfNoDeviceSeesNothing) {
  mpool::Metrics metrics;
  ReaderWatch watch(mpool::system_clock(), metrics);
  EXPECT_FALSE(watch.reads_active());
  watch.watch({"/nonexistent", "/dev/null"});
  EXPECT_FALSE(watch.reads_active());
}

TEST(ReaderWatch, SeesRequestsAndTheirEnd) {
  mpool::Metrics metrics;
  ReaderWatch watch(mpool::system_clock(), metrics);
  EXPECT_TRUE(comes_to(watch, false));
  std::jthread reader([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      watch.note_request();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  EXPECT_TRUE(comes_to(watch, true));
  reader.request_stop();
  reader.join();
  EXPECT_GT(watch.requests(), 0u);
  EXPECT_TRUE(comes_to(watch, false));
}

}  // namespace
}  // namespace mpoolfs
