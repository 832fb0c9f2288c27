#include "fuse/native/read_ahead.h"

#include <fstream>

namespace mpoolfs {

void set_read_ahead(const std::string& device, std::size_t bytes, const mpool::Logger& logger) {
  const std::string path = "/sys/class/bdi/" + device + "/read_ahead_kb";
  std::ofstream file(path);
  file << bytes / 1024 << std::flush;
  if (!file) logger.debug("{}: cannot be set", path);
}

}  // namespace mpoolfs
