// Where a record of a pack lies in its log, and reading it there without the records before it
// (engine/tree/records.md, "Packs"). Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "engine/base/bytes.h"
#include "engine/mlog/mlog.h"

namespace mpool {

// The content of a file in a record of a pack: all of the record, or its first bytes where the file
// was cut after an fsync. All in bytes.
struct PackedRecord {
  std::uint64_t position = 0;  // of the descriptor of the first chunk, from the start of the log
  std::uint64_t length = 0;    // of the content, from 1
  bool operator==(const PackedRecord&) const = default;
};

// An upper bound of the bytes of a log that a record of that length takes.
std::uint64_t max_packed_size(std::uint32_t sector_size, std::uint64_t length);
// The bytes of content that a log of that size holds if its records are large.
std::uint64_t packed_capacity(std::uint32_t sector_size, std::uint64_t log_size);

// The bytes from the start of the log to the end of the last block with content. nullopt: a log of
// that size cannot have such a record.
std::optional<std::uint64_t> end_of_packed(std::uint32_t sector_size, std::uint64_t log_size,
                                           const PackedRecord& record);

// The pages of the log that have bytes [offset, offset + length) of the record's content, which
// must lie in the record, and that must lie in the log.
struct PackedPages {
  std::uint64_t begin = 0;  // bytes from the start of the log; a multiple of kPageSize
  std::size_t length = 0;   // bytes; a multiple of kPageSize
};
PackedPages pages_of_packed(std::uint32_t sector_size, const PackedRecord& record,
                            std::uint64_t offset, std::size_t length);

// Takes these bytes of the content from `pages`, the content of pages_of_packed(). Every block is
// checked: that it belongs to the log, follows the one before it, and has this part of this record.
// Throws EIO where it does not, or the record is shorter: the log is damaged.
void unpack(const MlogLocation& log, const PackedRecord& record, std::uint64_t offset,
            ConstByteSpan pages, ByteSpan into);

// Reads bytes [offset, offset + into.size()) of the content from the device. Errors: EIO as
// unpack(), and for a record that the log cannot have; those of the device.
void read_packed(const MlogLocation& log, const PackedRecord& record, std::uint64_t offset,
                 ByteSpan into);

}  // namespace mpool
