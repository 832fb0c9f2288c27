#include "engine/base/error.h"

#include <system_error>

namespace mpool {

Error::Error(int code, std::string subject, std::string detail)
    : code_(code),
      subject_(std::move(subject)),
      detail_(std::move(detail)),
      message_(subject_.empty() ? detail_ : subject_ + ": " + detail_) {}

void raise_system(int code, std::string subject, const std::string& operation) {
  throw Error(code, std::move(subject), operation + ": " + errno_text(code));
}

std::string errno_text(int code) {
  return std::generic_category().message(code);
}

}  // namespace mpool
