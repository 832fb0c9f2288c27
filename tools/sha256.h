// SHA-256, by libcrypto (no other library in use has it).
#pragma once

#include <string>

#include "engine/base/bytes.h"

using EVP_MD_CTX = struct evp_md_ctx_st;

namespace mpool::tools {

// Hashes the concatenation of all update() arguments. Errors: Error EIO when libcrypto fails.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(ConstByteSpan data);
  // 64 hexadecimal digits; no update() may follow.
  std::string finish();

 private:
  EVP_MD_CTX* context_;
};

// Hashes log records such that the digest depends on the end of each: the length as 32 bits
// little-endian, then the bytes.
class RecordHash {
 public:
  void add(ConstByteSpan record);
  std::uint64_t count() const { return count_; }
  std::string finish() { return hash_.finish(); }

 private:
  Sha256 hash_;
  std::uint64_t count_ = 0;
};

}  // namespace mpool::tools
