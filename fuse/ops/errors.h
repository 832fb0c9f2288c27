// Translates the engine's exceptions for the kernel.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/logger.h"

namespace mpoolfs {

// The subject of a request, for messages.
struct RequestName {
  std::string_view operation;  // "read"
  std::uint64_t inode = 0;
};

// The errno value (positive) of the answer for an errno value of the engine.
int errno_for_caller(int code) noexcept;

// The errno value (positive) of the answer for the exception being handled; call it inside a catch
// block. Failures of the media or of this program become EIO and are logged; errors caused by the
// caller are not logged.
int errno_of_current_exception(const RequestName& request, const mpool::Logger& logger) noexcept;

}  // namespace mpoolfs
