// From what the engine throws to what the kernel is told.
#pragma once

#include <cstdint>
#include <string_view>

namespace mpoolfs {

// What a request was about, for messages.
struct RequestName {
  std::string_view operation;  // "read"
  std::uint64_t inode = 0;
};

// The errno value (positive) to answer with for one that the engine gave.
int errno_for_caller(int code) noexcept;

// The errno value (positive) to answer with for the exception being handled; call it inside a catch
// block. Failures of the media or of this program become EIO and are logged; everything else is the
// caller's own doing and is not.
int errno_of_current_exception(const RequestName& request) noexcept;

}  // namespace mpoolfs
