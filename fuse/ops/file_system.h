// The state shared by all requests of one mount.
#pragma once

#include "engine/cache/reaper.h"
#include "engine/names/namespace.h"
#include "engine/pool/pool.h"
#include "fuse/ops/attributes.h"
#include "fuse/ops/fuse_api.h"
#include "fuse/ops/handle_table.h"
#include "fuse/ops/notifier.h"

namespace mpoolfs {

class ControlTree;
class NativeReads;
class ReaderWatch;
class ServedFiles;

// The user data of the session; outlives it.
struct FileSystem {
  mpool::Pool& pool;
  mpool::Namespace& names;
  Presentation presentation;
  HandleTable handles;
  Notifier* notifier = nullptr;  // the session's, valid during its lifetime
  // Answers requests for `.mpool`; see operations_with_control().
  ControlTree* control = nullptr;
  NativeReads& native;  // files that the kernel reads natively
  ReaderWatch& readers;
  mpool::Reaper& reaper;
  // Files whose pages the reaper evicts; the session's, valid during its lifetime.
  ServedFiles* served = nullptr;
};

inline FileSystem& file_system_of(fuse_req_t request) {
  return *static_cast<FileSystem*>(fuse_req_userdata(request));
}

}  // namespace mpoolfs
