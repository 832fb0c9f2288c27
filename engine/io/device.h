// The device interface: the only access of the engine to the media.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "engine/base/aligned_buffer.h"
#include "engine/base/bytes.h"
#include "engine/base/clock.h"
#include "engine/base/logger.h"
#include "engine/base/metrics.h"

namespace mpool {

class DeviceTransfer;
class Error;
class IoRing;

enum class ZonedModel : std::uint8_t { none, host_aware, host_managed };

// Properties of a device as the system reports them. Sizes in bytes.
struct DeviceProperties {
  std::uint64_t size = 0;
  std::uint32_t logical_sector_size = 512;   // smallest unit of an I/O
  std::uint32_t physical_sector_size = 512;  // smallest unit written without read-modify-write
  std::uint32_t optimal_io_size = 0;         // 0: not stated
  std::uint32_t discard_granularity = 0;     // 0: cannot discard
  std::uint64_t discard_max = 0;             // greatest discard in one command; 0: no limit stated
  bool volatile_cache = true;                // completed writes need a flush to be durable
  bool fua = false;                          // forced unit access
  bool rotational = false;
  bool is_file = false;    // a regular file, not a block device
  bool in_memory = false;  // a file of tmpfs or ramfs: I/O is a copy and does not block
  ZonedModel zoned = ZonedModel::none;
  bool read_only = false;      // opened for reading only: write, flush and discard throw EROFS
  bool keeps_nothing = false;  // written data is lost with the Device: it overlays another one
  std::string model;           // vendor's model string, or empty
};

// A device or file opened for direct I/O.
//
// I/O: offset and length are multiples of kPageSize and lie inside the device (EINVAL otherwise).
// Memory aligned to kPageSize is transferred without a copy. A call returns when all bytes are
// transferred, or throws Error with the errno of the failure; after a failed write the content of
// the range is undefined. flush() makes every write durable that returned before the flush() was
// called; nothing is durable earlier. Flushes requested during a flush share the next one.
//
// Threads: all functions may be called at the same time from any number of threads.
//
// A device opened for reading only refuses write, flush and discard with EROFS. A failed write or
// flush takes the device offline for writing: every later write, flush or discard throws EIO at
// once; reads continue. The first failure is logged. Exception: where the file system of an image
// file, or a thin-provisioned device, has no block for the write (the system returns ENOSPC, EDQUOT
// or EFBIG), the write throws ENOSPC and the device stays online; later writes succeed when there
// is room again. Memory that cannot be accessed (EFAULT) fails only the transfer.
class Device {
 public:
  Device(std::string name, DeviceProperties properties);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  // The path by which it was opened; messages use it.
  const std::string& name() const noexcept { return name_; }
  const DeviceProperties& properties() const noexcept { return properties_; }
  // Receives the messages about this device. Set before other threads use it, as the next.
  void set_logger(Logger logger) { logger_ = std::move(logger); }
  // Must outlive the device. The system's, unless set.
  void set_clock(Clock& clock) { clock_ = &clock; }
  const Logger& log() const { return logger_; }
  // Usable bytes: properties().size, or more since update_size() found the device grown.
  std::uint64_t size() const noexcept { return size_.load(std::memory_order_acquire); }
  // Queries the present size of the device and returns it. If the device grew, size() grows too;
  // size() never shrinks.
  std::uint64_t update_size();

  void read(std::uint64_t offset, ByteSpan into);
  void write(std::uint64_t offset, ConstByteSpan from);
  // The same from and to several pieces of memory, one behind the other on the device, in as few
  // system calls as possible. Each has whole pages.
  void read(std::uint64_t offset, std::span<const ByteSpan> parts);
  void write(std::uint64_t offset, std::span<const ConstByteSpan> parts);
  void flush();
  // Tells the device that the range is no longer needed. Advisory: the range may then read as
  // before, as zeros or as anything else. Throws only when the device reports a failure other than
  // "not supported".
  void discard(std::uint64_t offset, std::uint64_t length);
  // Allocates the blocks of the range where the device is a sparse file, so that later writes to it
  // find room; the content stays. No effect on other devices, or where the file system of the file
  // does not support it. Throws ENOSPC, EROFS, EIO.
  void reserve(std::uint64_t offset, std::uint64_t length);
  // True if a write deferred for a second will find room. False for a sparse file whose file system
  // has little room left. Takes a microsecond at most.
  bool room_is_certain() { return room_is_certain_impl(); }

  // The exclusive claim on a block device that is open for activation. While it is held, an
  // exclusive open (O_EXCL) of the device by another program, through any device node, fails with
  // EBUSY. claim() returns 0 when no other holder is left and the claim is held, EBUSY, or the
  // errno of open(2). A file cannot be claimed. For a file, and for a loop device over a file,
  // claim() also requires that no other loop device over that file is held. Not thread-safe.
  virtual int claim() { return 0; }
  virtual void release_claim() {}

  // Asynchronous read and write: the call returns when the transfer is prepared on `ring`; the
  // caller is the ring's thread. transfer.done() (transfer.h) receives the result, never from
  // within this call. Errors known at once (EINVAL, EROFS, EIO of an offline device) and a ring
  // that accepts nothing are thrown; done() is then not called. Failures are counted and take the
  // device offline as for read() and write(). Each is logged, since done() receives an errno
  // without a message. Devices that are not files of the system or in front of one, and memory that
  // is not aligned to kPageSize, are served before the call returns.
  void start_read(IoRing& ring, DeviceTransfer& transfer, std::uint64_t offset, ByteSpan into);
  void start_write(IoRing& ring, DeviceTransfer& transfer, std::uint64_t offset,
                   ConstByteSpan from);

  bool offline() const noexcept { return offline_.load(std::memory_order_acquire); }

  // I/O since the device was opened. Reads, writes and so on are counted when they begin,
  // bytes and durations when they have succeeded.
  struct Counters {
    std::uint64_t reads, read_bytes, writes, written_bytes, flushes, discards, errors;
  };
  Counters counters() const noexcept;
  // Has them shown with these labels. The device must outlive `metrics`.
  void add_to(Metrics& metrics, const Metrics::Labels& labels) const;

 protected:
  // The I/O itself, with checked arguments. Throw Error on failure.
  virtual void read_impl(std::uint64_t offset, ByteSpan into) = 0;
  virtual void write_impl(std::uint64_t offset, ConstByteSpan from) = 0;
  // Of several pieces of memory. Here: one after the other.
  virtual void read_parts_impl(std::uint64_t offset, std::span<const ByteSpan> parts);
  virtual void write_parts_impl(std::uint64_t offset, std::span<const ConstByteSpan> parts);
  virtual void flush_impl() = 0;
  virtual void discard_impl(std::uint64_t offset, std::uint64_t length) = 0;
  // The present size of the device in bytes. Here: the size at open.
  virtual std::uint64_t query_size() { return properties_.size; }
  // Here: no effect; no range lacks blocks.
  virtual void reserve_impl(std::uint64_t, std::uint64_t) {}
  virtual bool room_is_certain_impl() { return true; }
  Clock& clock() const { return *clock_; }
  // Begins the rest of a transfer: prepares it on its ring, whose result (bytes, or a negative
  // errno) then goes to DeviceTransfer::completed(). Here: transfers everything at once and posts
  // the result. Throws Error when it cannot begin.
  virtual void start_impl(DeviceTransfer& transfer);
  // For a device in front of another: calls start_impl() of the device behind.
  static void start_on(Device& behind, DeviceTransfer& transfer) { behind.start_impl(transfer); }

 private:
  friend class DeviceTransfer;
  void start(IoRing& ring, DeviceTransfer& transfer, std::uint64_t offset, ByteSpan memory);
  void go_on(DeviceTransfer& transfer, std::int32_t result) noexcept;
  void finish(DeviceTransfer& transfer, int error, const char* cause) noexcept;
  // The numbers of one kind of I/O.
  struct Activity {
    Counter begun;
    Counter bytes;  // not of flushes
    LatencyHistogram durations;
  };
  Activity& activity_of(const DeviceTransfer& transfer);
  template <typename Io>
  void timed(Activity& activity, const Io& io);
  template <typename Io>
  void count_read(std::uint64_t length, const Io& io);
  template <typename Io>
  void count_write(std::uint64_t offset, std::uint64_t length, const Io& io);
  void check_range(const char* operation, std::uint64_t offset, std::uint64_t length) const;
  void check_writable(const char* operation) const;
  void flush_for_all(std::unique_lock<std::mutex>& lock);
  [[noreturn]] void go_offline(const Error& error);
  void note_no_room(const char* operation, std::uint64_t offset, std::uint64_t length) noexcept;

  std::string name_;
  Logger logger_;
  Clock* clock_ = &system_clock();
  DeviceProperties properties_;
  std::atomic<std::uint64_t> size_;
  std::atomic<bool> offline_ = false;
  std::atomic<std::int64_t> no_room_told_ = 0;  // nanoseconds of the clock; 0: never
  std::mutex flush_mutex_;  // not held during the flush itself; no lock is taken under it
  // A caller that needs flush n blocks on element n % 2. The end of flush n wakes all of them, and
  // one caller that needs flush n + 1, which begins it.
  std::array<std::condition_variable, 2> flush_ended_;
  std::uint64_t flushes_begun_ = 0;
  std::uint64_t flushes_ended_ = 0;  // equal to flushes_begun_, or one less during a flush
  Activity reads_;
  Activity writes_;
  alignas(64) Activity flushes_;
  Activity discards_;
  Counter errors_;
};

}  // namespace mpool
