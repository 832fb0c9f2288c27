// What descriptors other processes have open, as proc(5) tells.
#pragma once

#include <cstdint>
#include <string>

#include <sys/types.h>

namespace mpoolfs {

// Whether a process has an inode open for writing. False also where that is not to be found out:
// the process is gone, must not be looked at, or has very many descriptors. Asks no file system but
// proc, so that one may ask about itself.
//
// process: its number, or that of one of its threads. device: "MAJOR:MINOR" of the file system, as
// MountEntry has it.
bool has_writing_descriptor(pid_t process, const std::string& device, std::uint64_t inode);

}  // namespace mpoolfs
