// Comparing an active pool with a manifest. Differences are reported as test failures.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/pool/pool.h"

namespace mpool::interop {

enum class Strictness {
  exact,
  // Parts of the pool were made by recovery: their zones, UUIDs and flush sets are not those of the
  // manifest.
  remade,
};

void compare_pool(Pool& pool, const nlohmann::json& expected, Strictness strictness);

// SHA-256 in hexadecimal of an mblock's content / of an mlog's records (LE32 length + bytes each).
std::string mblock_digest(const Pool& pool, const ObjectRecord& mblock);
std::string records_digest(MlogReader& reader, std::uint64_t& count);

// Opens a mlog whichever way its content asks for.
std::unique_ptr<Mlog> open_any(const Pool& pool, const ObjectRecord& mlog);

// Content of every object, by id.
std::map<ObjectId, std::string> digests(const Pool& pool);

}  // namespace mpool::interop
