// Descriptors that other processes have open, from proc(5).
#pragma once

#include <cstdint>
#include <string>

#include <sys/types.h>

namespace mpoolfs {

// True if a process has an inode open for writing. Returns false also where that cannot be
// determined: the process ended, access is denied, or it has very many descriptors. Accesses no
// file system but proc, so the daemon may ask about its own mount.
//
// process: its number, or that of one of its threads. device: "MAJOR:MINOR" of the file system, as
// in MountEntry.
bool has_writing_descriptor(pid_t process, const std::string& device, std::uint64_t inode);

}  // namespace mpoolfs
