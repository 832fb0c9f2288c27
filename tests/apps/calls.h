// What the programs of this folder share: calls that throw, an open pool, records as bytes. For
// their sources only: the library's `struct mpool` and `namespace mpool` exclude each other.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include <mpool/mpool.h>

#include "tests/apps/errors.h"

namespace apps {

// Throws CallError unless the call succeeded.
void check(mpool_err_t error, const char* call);

// An open pool. The objects that use it must end before it.
class Pool {
 public:
  explicit Pool(const std::string& name);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  struct mpool* get() const {
    return pool_;
  }

 private:
  struct mpool* pool_ = nullptr;
};

// Page-aligned memory of whole pages, zeroed.
class Pages {
 public:
  explicit Pages(std::size_t length);
  char* data() const { return memory_.get(); }
  std::size_t size() const { return size_; }

  static constexpr std::size_t kPage = 4096;

 private:
  struct Free {
    void operator()(char* memory) const;
  };
  std::size_t size_;
  std::unique_ptr<char, Free> memory_;
};

// The records of an open mlog or MDC one after the other, by a call that reads the next one.
class RecordReader {
 public:
  // False at the end.
  template <typename Read>
  bool next(const Read& read, std::string& record) {
    std::size_t length = 0;
    mpool_err_t error = read(buffer_.data(), buffer_.size(), &length);
    if (mpool_errno(error) == EOVERFLOW) {
      buffer_.resize(length);
      error = read(buffer_.data(), buffer_.size(), &length);
    }
    check(error, "read of a record");
    record.assign(buffer_, 0, length);
    return length != 0;
  }

 private:
  std::string buffer_ = std::string(4096, '\0');
};

// Appends numbers (little-endian) and texts to a record.
class Encoder {
 public:
  template <std::unsigned_integral Number>
  void number(Number value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(std::string_view value) {
    number(static_cast<std::uint32_t>(value.size()));
    bytes_.append(value);
  }
  std::size_t size() const { return bytes_.size(); }
  std::string& bytes() { return bytes_; }

 private:
  std::string bytes_;
};

// Reads them back; ENODATA when the record ends before.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : bytes_(bytes) {}
  template <std::unsigned_integral Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view text() { return take(number<std::uint32_t>()); }
  bool at_end() const { return bytes_.empty(); }

 private:
  std::string_view take(std::size_t length);
  std::string_view bytes_;
};

// CRC-32C; `before`: that of bytes in front of these.
std::uint32_t checksum(std::string_view bytes, std::uint32_t before = 0);

}  // namespace apps
