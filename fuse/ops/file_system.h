// The state shared by all requests of one mount.
#pragma once

#include "engine/names/names.h"
#include "fuse/control/transport_info.h"
#include "fuse/ops/attributes.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/ops/handle_table.h"
#include "fuse/ops/notifier.h"

namespace mpoolfs {

class ControlTree;
class NativeReads;
class ReaderWatch;

// The user data of the session; outlives it.
struct FileSystem {
  mpool::Namespace& names;
  Presentation presentation;
  HandleTable handles;
  Notifier* notifier = nullptr;  // the session's, valid during its lifetime
  // Answers requests for `.mpool`; see operations_with_control().
  ControlTree* control = nullptr;
  SharedTransportInfo transport;
  NativeReads& native;  // files that the kernel reads natively
  ReaderWatch& readers;
};

// True if the last close of the file has returned, but its attributes do not show the commit yet:
// the size is right, but the commit sets the time. A FLUSH alone is no evidence: programs inspect
// descriptors that the shell opened, duplicated and closed for them, and content that other
// processes wrote before them.
inline bool is_committing(const FileSystem& file_system, const mpool::Attributes& attributes) {
  return attributes.being_written && file_system.handles.committing(attributes.inode);
}

inline FileSystem& file_system_of(fuse_req_t request) {
  return *static_cast<FileSystem*>(fuse_req_userdata(request));
}

}  // namespace mpoolfs
