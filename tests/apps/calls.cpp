#include "tests/apps/calls.h"

#include <array>
#include <cerrno>
#include <cstdlib>

#include <fcntl.h>

namespace apps {

void check(mpool_err_t error, const char* call) {
  if (error == 0) return;
  std::array<char, 256> text;
  throw CallError(mpool_errno(error),
                  std::string(call) + ": " + mpool_strinfo(error, text.data(), text.size()));
}

Pool::Pool(const std::string& name) {
  check(mpool_open(name.c_str(), O_RDWR, &pool_, nullptr), "mpool_open");
}

Pool::~Pool() {
  // A log that a program could not close after a failure keeps it open.
  (void)mpool_close(pool_);
}

Pages::Pages(std::size_t length)
    : size_((length + kPage - 1) / kPage * kPage),
      memory_(static_cast<char*>(std::aligned_alloc(kPage, size_))) {
  if (memory_ == nullptr) throw CallError(ENOMEM, "no memory");
  std::memset(memory_.get(), 0, size_);
}

void Pages::Free::operator()(char* memory) const {
  std::free(memory);
}

std::string_view Decoder::take(std::size_t length) {
  if (length > bytes_.size()) throw CallError(ENODATA, "a record is too short");
  const std::string_view taken = bytes_.substr(0, length);
  bytes_.remove_prefix(length);
  return taken;
}

std::uint32_t checksum(std::string_view bytes, std::uint32_t before) {
  static constexpr auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit)
        value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78u : 0u);
      table[i] = value;
    }
    return table;
  }();
  std::uint32_t crc = ~before;
  for (const char byte : bytes)
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

}  // namespace apps
