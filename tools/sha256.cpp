#include "tools/sha256.h"

#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/evp.h>

#include "engine/base/error.h"

namespace mpool::tools {

namespace {

void check(int result, const char* operation) {
  if (result != 1) raise(EIO, "SHA-256", "libcrypto: {} failed", operation);
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (context_ == nullptr) throw std::bad_alloc();
  try {
    check(EVP_DigestInit_ex(context_, EVP_sha256(), nullptr), "EVP_DigestInit_ex");
  } catch (const Error&) {
    EVP_MD_CTX_free(context_);
    throw;
  }
}

Sha256::~Sha256() {
  EVP_MD_CTX_free(context_);
}

void Sha256::update(ConstByteSpan data) {
  check(EVP_DigestUpdate(context_, data.data(), data.size()), "EVP_DigestUpdate");
}

std::string Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  check(EVP_DigestFinal_ex(context_, digest.data(), &length), "EVP_DigestFinal_ex");
  return fmt::format("{:02x}", fmt::join(digest.begin(), digest.begin() + length, ""));
}

void RecordHash::add(ConstByteSpan record) {
  std::array<std::byte, sizeof(std::uint32_t)> length{};
  store_le(ByteSpan(length), 0, static_cast<std::uint32_t>(record.size()));
  hash_.update(length);
  hash_.update(record);
  ++count_;
}

}  // namespace mpool::tools
