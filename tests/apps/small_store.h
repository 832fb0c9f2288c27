// A store for tests.
#pragma once

#include "tests/apps/kv_store.h"

namespace apps {

// So small that flushes and compactions are frequent.
inline StoreOptions small_store() {
  StoreOptions options;
  options.memtable_bytes = 5000;
  options.table_bytes = 16000;
  options.block_bytes = 1000;
  options.manifest_limit = 2000;
  return options;
}

}  // namespace apps
