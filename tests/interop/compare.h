// Comparing an active pool with a manifest. Differences are reported as test failures.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/pool/pool.h"

namespace mpool::interop {

enum class Strictness {
  exact,
  // Recovery made parts of the pool: their zones, UUIDs and flush sets differ from the manifest.
  remade,
};

void compare_pool(Pool& pool, const nlohmann::json& expected, Strictness strictness);

// SHA-256 in hexadecimal of an mblock's content / of an mlog's records (LE32 length + bytes each).
std::string mblock_digest(const Pool& pool, const ObjectRecord& mblock);
std::string records_digest(MlogReader& reader, std::uint64_t& count);

// Opens an mlog with the semantics that its content requires.
std::unique_ptr<Mlog> open_any(const Pool& pool, const ObjectRecord& mlog);

// Content of every object, by id.
std::map<ObjectId, std::string> digests(const Pool& pool);

}  // namespace mpool::interop
