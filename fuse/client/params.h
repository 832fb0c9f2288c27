// Conversions between the parameters of C programs, the settings of a pool, and JSON.
#pragma once

#include <string>
#include <string_view>

#include <mpool/ioctl.h>
#include <nlohmann/json.hpp>

#include "engine/base/uuid.h"
#include "engine/pool/pool.h"
#include "fuse/client/api.h"

namespace libmpool {

inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
inline constexpr std::uint32_t kMaxMapShift = 30;

mpool::Uuid uuid_from(const uuid_t& bytes);
void copy_uuid(const mpool::Uuid& from, uuid_t& into);
// Cuts a text to a field, NUL-terminated.
template <std::size_t Size>
void copy_text(std::string_view from, char (&into)[Size]) {
  const std::size_t length = from.copy(into, Size - 1);
  into[length] = '\0';
}

// EINVAL, or ENAMETOOLONG, with the report's code of a bad name.
void check_name(const char* name);
// The label of given parameters; throws the same. It may lack its NUL.
std::string label_of(const mpool_params& params);

// All parameters of an active pool.
mpool_params params_of(const mpool_ioc_pool& facts);
mpool_params params_of(const mpool::Pool& pool);
// Those of uid, gid, mode, label, user type and readahead that are given.
mpool::Pool::Settings settings_from(const mpool_params& given);
// The same, and the spares.
mpool_ioc_settings changes_from(const mpool_params& given);

nlohmann::ordered_json params_to_json(const mpool_params& params);
mpool_params params_from_json(const nlohmann::ordered_json& json);

}  // namespace libmpool
