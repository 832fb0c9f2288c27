#include "fuse/ops/errors.h"

#include <cerrno>
#include <exception>
#include <new>

#include "engine/base/error.h"

namespace mpoolfs {

namespace {

// Error codes of the engine for damaged or failing media: POSIX callers know EIO only.
bool is_media_failure(int code) {
  switch (code) {
    case EIO:
    case EBADMSG:
    case ENOTRECOVERABLE:
    case EUCLEAN:
    case EREMOTEIO:
    case ENXIO:
      return true;
    default:
      return false;
  }
}

void log_failure(const mpool::Logger& logger, const RequestName& request, const char* what) {
  logger.error("{} of inode {}: {}", request.operation, request.inode, what);
}

}  // namespace

int errno_for_caller(int code) noexcept {
  return is_media_failure(code) ? EIO : code;
}

int errno_of_current_exception(const RequestName& request, const mpool::Logger& logger) noexcept {
  try {
    try {
      throw;
    } catch (const mpool::Error& error) {
      if (!is_media_failure(error.code())) return error.code();
      log_failure(logger, request, error.what());
    } catch (const std::bad_alloc&) {
      return ENOMEM;
    } catch (const std::exception& error) {
      log_failure(logger, request, error.what());
    }
  } catch (...) {
    // Logging failed, or the exception has an unknown type: the answer is the same.
  }
  return EIO;
}

}  // namespace mpoolfs
