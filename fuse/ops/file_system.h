// What the requests of one mount work on.
#pragma once

#include "engine/names/names.h"
#include "fuse/control/transport_facts.h"
#include "fuse/ops/attributes.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/ops/notifier.h"
#include "fuse/ops/open_files.h"

namespace mpoolfs {

class ControlTree;
class NativeReads;
class ReaderWatch;

// The user data of the session. Lives longer than it.
struct FileSystem {
  mpool::Namespace& names;
  Presentation presentation;
  OpenFiles open_files;
  Notifier* notifier = nullptr;  // the session's, as long as that lives
  // Answers what concerns `.mpool`; see operations_with_control().
  ControlTree* control = nullptr;
  SharedTransportFacts transport;
  NativeReads& native;  // files that the kernel reads by itself
  ReaderWatch& readers;
};

// The last close of the file has returned, which its attributes do not show yet: the size is right,
// but the commit sets its time. A FLUSH alone says nothing: programs look at what the shell has
// opened, duplicated and closed for them, and at what others wrote there before them.
inline bool is_committing(const FileSystem& file_system, const mpool::Attributes& attributes) {
  return attributes.being_written && file_system.open_files.committing(attributes.inode);
}

inline FileSystem& file_system_of(fuse_req_t request) {
  return *static_cast<FileSystem*>(fuse_req_userdata(request));
}

}  // namespace mpoolfs
