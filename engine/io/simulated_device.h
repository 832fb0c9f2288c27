// Devices in memory for tests: media that outlive their device, a history of the operations on
// them, and injected failures. simulated_crash.h turns a history into the possible results of a
// power failure.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/device.h"

namespace mpool {

// The content of a device. Pages never written take no memory. A copy shares all pages until either
// changes them, so copying is cheap.
//
// Threads: all functions may be called at the same time.
class SimulatedMedia {
 public:
  using Page = std::array<std::byte, kPageSize>;
  using SharedPage = std::shared_ptr<const Page>;  // null: never written

  // size: bytes, a multiple of kPageSize. sector_size: 512 or 4096. Pages never written are full of
  // `fill`.
  explicit SimulatedMedia(std::uint64_t size, std::uint32_t sector_size = 512,
                          std::byte fill = std::byte{0});
  SimulatedMedia(const SimulatedMedia& other);

  std::uint64_t size() const { return size_; }
  std::uint32_t sector_size() const { return sector_size_; }

  // Whole pages inside the media.
  void read(std::uint64_t offset, ByteSpan into) const;
  void write(std::uint64_t offset, ConstByteSpan from);
  // The range reads as zeros afterwards.
  void zero(std::uint64_t offset, std::uint64_t length);
  SharedPage page(std::uint64_t offset) const;
  void set_page(std::uint64_t offset, SharedPage page);

  // The device grew (or shrank). An open device notices on update_size(), called by the thread that
  // resized it.
  void resize(std::uint64_t size) { size_ = size; }

 private:
  static constexpr std::size_t kLeafPages = 64;
  using Leaf = std::array<SharedPage, kLeafPages>;

  void put(std::uint64_t page_number, SharedPage page);
  void copy_page(std::uint64_t page_number, std::byte* into) const;
  const SharedPage* find(std::uint64_t page_number) const;

  std::atomic<std::uint64_t> size_;
  const std::uint32_t sector_size_;
  const std::byte fill_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<Leaf>> leaves_;  // by page number / kLeafPages
};

// An operation that changed the media, or made changes durable.
struct SimulatedOperation {
  enum class Kind : std::uint8_t { write, flush, discard };
  Kind kind = Kind::flush;
  unsigned device = 0;  // number of the device
  std::uint64_t offset = 0;
  std::uint64_t length = 0;                       // bytes
  std::vector<SimulatedMedia::SharedPage> pages;  // what was written
};

// All operations of one or more devices, in the order in which they took effect.
//
// Threads: all functions may be called at the same time.
class SimulatedHistory {
 public:
  void add(SimulatedOperation operation);
  std::size_t size() const;
  std::vector<SimulatedOperation> operations() const;

 private:
  mutable std::mutex mutex_;
  std::vector<SimulatedOperation> operations_;
};

// Injects failures into operations of one or more devices.
//
// Threads: all functions may be called at the same time.
class SimulatedFaults {
 public:
  enum class Target : std::uint8_t { read, write, flush, discard };
  struct Plan {
    Target target = Target::write;
    std::uint64_t number = 1;  // the first failing operation, counted from now, starting at 1
    int code = EIO;
    bool forever = false;           // all later operations of the kind fail, too
    unsigned percent_written = 50;  // of the sectors of a failing write
  };

  void arm(const Plan& plan);
  void disarm();
  bool fired() const;

  // Called by the device: counts the operation. Returns a plan when it must fail.
  std::optional<Plan> next(Target target);

 private:
  mutable std::mutex mutex_;
  std::optional<Plan> plan_;
  std::uint64_t seen_ = 0;
  bool fired_ = false;
};

// A device on media that outlive it; several devices may use the media one after the other (a pool
// that is activated again).
class SimulatedDevice : public Device {
 public:
  struct Options {
    std::shared_ptr<SimulatedHistory> history;  // null: none is kept
    unsigned number = 0;                        // in the history
    std::shared_ptr<SimulatedFaults> faults;    // null: nothing fails
    bool discard_zeros = true;                  // false: discarded zones keep their content
  };
  using WriteHook = std::function<void(std::uint64_t offset, ConstByteSpan from)>;

  SimulatedDevice(std::string name, std::shared_ptr<SimulatedMedia> media)
      : SimulatedDevice(std::move(name), std::move(media), Options()) {}
  SimulatedDevice(std::string name, std::shared_ptr<SimulatedMedia> media, Options options);

  // Called before a write takes effect, and may throw Error to make it fail; the other hook is
  // called after a write. Null: no call. Set only while no thread writes.
  void before_write(WriteHook hook) { before_write_ = std::move(hook); }
  void after_write(std::function<void()> hook) { after_write_ = std::move(hook); }

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override;
  void write_impl(std::uint64_t offset, ConstByteSpan from) override;
  void flush_impl() override;
  void discard_impl(std::uint64_t offset, std::uint64_t length) override;
  std::uint64_t query_size() override { return media_->size(); }

 private:
  void fail_if_planned(SimulatedFaults::Target target, const char* what);
  void apply_write(std::uint64_t offset, ConstByteSpan from);

  const std::shared_ptr<SimulatedMedia> media_;
  const Options options_;
  WriteHook before_write_;
  std::function<void()> after_write_;
};

}  // namespace mpool
