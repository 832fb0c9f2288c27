// The records of MDC0..255 (engine/format/README.md, "Records in MDC0..255").
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <string>
#include <variant>

#include "engine/format/media.h"
#include "engine/format/object_id.h"

namespace mpool {

inline constexpr std::size_t kMaxRecordSize = 160;

// OCREATE (1) and OUPDATE (2): the state of the object from this record on.
struct ObjectRecord {
  bool update = false;  // OUPDATE
  MediaClass media_class = MediaClass::capacity;
  Layout layout;
  ObjectId id;
  std::uint64_t generation = 0;
  std::uint64_t written_length = 0;  // bytes; mblocks only
  Uuid uuid;                         // mlogs only
  bool operator==(const ObjectRecord&) const = default;
};

struct DeleteRecord {  // ODELETE (3)
  ObjectId id;
  bool operator==(const DeleteRecord&) const = default;
};

struct CheckpointRecord {  // OIDCKPT (4)
  ObjectId id;
  bool operator==(const CheckpointRecord&) const = default;
};

struct EraseRecord {  // OERASE (5)
  ObjectId id;
  std::uint64_t generation = 0;
  bool operator==(const EraseRecord&) const = default;
};

struct DeviceRecord {  // MCCONFIG (6)
  DeviceParams device;
  bool operator==(const DeviceRecord&) const = default;
};

struct SpareRecord {  // MCSPARE (7)
  MediaClass media_class = MediaClass::capacity;
  std::uint8_t percent = 0;  // 0..100
  bool operator==(const SpareRecord&) const = default;
};

struct VersionRecord {                     // VERSION (8)
  std::array<std::uint16_t, 4> version{};  // major, minor, patch, dev
  auto operator<=>(const VersionRecord&) const = default;
};
// The version written by this program (without a record) and the latest it reads.
inline constexpr VersionRecord kMetadataVersion{{1, 0, 0, 0}};

struct ConfigRecord {  // MPCONFIG (9)
  static constexpr std::size_t kMaxLabelLength = 63;

  ObjectId root_log_1;
  ObjectId root_log_2;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t mode = 0;
  std::uint64_t mdc_capacity = 0;         // bytes: capacity target of the root MDC's mlogs
  std::uint32_t max_readahead_pages = 0;  // pages
  std::uint32_t max_map_shift = 0;        // log2 of the greatest map size in bytes
  Uuid user_type;
  std::string label;  // at most kMaxLabelLength bytes, no NUL
  bool operator==(const ConfigRecord&) const = default;
};

using MetadataRecord = std::variant<ObjectRecord, DeleteRecord, CheckpointRecord, EraseRecord,
                                    DeviceRecord, SpareRecord, VersionRecord, ConfigRecord>;

// An encoded record; no allocation.
struct EncodedRecord {
  std::array<std::byte, kMaxRecordSize> bytes{};
  std::size_t size = 0;
  ConstByteSpan span() const { return ConstByteSpan(bytes).first(size); }
};

EncodedRecord encode_record(const MetadataRecord& record);

// The error describes the fault of the record: unknown type, wrong length, a field out of range.
std::expected<MetadataRecord, std::string> decode_record(ConstByteSpan from);

}  // namespace mpool
