// Writes logs with records that the engine would not write, valid in all other respects.
#pragma once

#include <vector>

#include "engine/mlog/mdc.h"

namespace mpool::test {

using LogRecords = std::vector<std::vector<std::byte>>;

inline LogRecords read_log(const MlogLocation& location) {
  const auto log = Mlog::open(location, CompactionSemantics::on);
  LogRecords records;
  MlogReader reader(*log);
  for (std::vector<std::byte> record; reader.next(record);)
    records.push_back(record);
  return records;
}

// Makes the log one of an MDC with these records, of the same generation.
inline void write_log(const MlogLocation& location, const LogRecords& records) {
  location.device->write(location.offset, AlignedBuffer::zeroed(location.capacity).span());
  const auto log = Mlog::open(location, CompactionSemantics::on);
  log->append_compaction_start();
  log->append_compaction_end();
  for (const auto& record : records)
    log->append(record);
  log->sync();
}

}  // namespace mpool::test
