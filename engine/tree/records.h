// Namespace records: bytes <-> structures (engine/tree/records.md). Pure, thread-safe.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/format/object_id.h"
#include "engine/object/content_writer.h"
#include "engine/tree/attributes.h"

namespace mpool::names {

using Nanoseconds = std::int64_t;  // since 1970; far times in seconds: times.h

inline constexpr InodeNumber kMaxInode = INT64_MAX;
// Bytes of an extent in a record.
inline constexpr std::size_t kExtentSize = 32;

// True for an extent of a write-once file that is a record of a pack.
inline bool is_packed(const Extent& extent) {
  return extent.object.is_mlog();
}

struct InodeAttributes {
  std::uint32_t mode = 0;  // permission bits
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  Nanoseconds atime = 0, mtime = 0, ctime = 0;
  bool operator==(const InodeAttributes&) const = default;
};

struct Content {
  FileKind kind = FileKind::empty;
  std::uint64_t size = 0;
  std::vector<Extent> extents = {};
  bool operator==(const Content&) const = default;
};

// The decision of the directory's rules for a file.
enum class Choice : std::uint8_t { none = 0, mblock = 1, mlog = 2 };

struct OwnerRecord {
  bool operator==(const OwnerRecord&) const = default;
};
struct BatchRecord {
  std::uint64_t number = 0;
  InodeNumber next_inode = 0;
  bool operator==(const BatchRecord&) const = default;
};
struct RollbackRecord {
  std::uint32_t keep = 0;
  bool operator==(const RollbackRecord&) const = default;
};
struct CreateRecord {
  InodeNumber inode = 0;
  InodeNumber parent = 0;
  std::string name = {};
  InodeAttributes attributes = {};
  MediaClass media_class = MediaClass::capacity;
  Choice choice = Choice::none;
  std::string target = {};  // symlinks
  Content content = {};
  bool operator==(const CreateRecord&) const = default;
};
struct ContentRecord {
  InodeNumber inode = 0;
  bool replace = false;
  Content content;
  bool operator==(const ContentRecord&) const = default;
};
struct AttributesRecord {
  InodeNumber inode = 0;
  InodeAttributes attributes;
  MediaClass media_class = MediaClass::capacity;
  bool operator==(const AttributesRecord&) const = default;
};
struct LinkRecord {
  InodeNumber inode = 0;
  InodeNumber parent = 0;
  std::string name;
  bool operator==(const LinkRecord&) const = default;
};
struct UnlinkRecord {
  InodeNumber parent = 0;
  std::string name;
  bool operator==(const UnlinkRecord&) const = default;
};
struct RenameRecord {
  InodeNumber parent = 0;
  std::string name;
  InodeNumber new_parent = 0;
  std::string new_name;
  bool exchange = false;
  bool operator==(const RenameRecord&) const = default;
};
struct XattrRecord {
  InodeNumber inode = 0;
  std::string name;
  bool present = true;
  std::string value;
  bool operator==(const XattrRecord&) const = default;
};
struct OrphanRecord {
  std::vector<ObjectId> objects;
  bool operator==(const OrphanRecord&) const = default;
};
// The object is an mlog that holds content of small files.
struct PackRecord {
  ObjectId object;
  bool operator==(const PackRecord&) const = default;
};
// Content of a file lies elsewhere from here on: each extent takes the place of the one in a pack
// that has the same bytes of the file.
struct MoveRecord {
  InodeNumber inode = 0;
  std::vector<Extent> extents;
  bool operator==(const MoveRecord&) const = default;
};
struct LogSizesRecord {
  std::vector<InodeNumber> inexact;
  bool operator==(const LogSizesRecord&) const = default;
};

// The end of the active log of an MDC.
struct MdcEnd {
  std::uint64_t generation = 0;
  std::uint32_t blocks = 0;
  std::uint32_t flush_set = 0;  // of the last block; 0: there is none
  bool operator==(const MdcEnd&) const = default;
};
struct MdcEndsRecord {
  std::vector<MdcEnd> mdcs;   // MDC0..N
  std::uint32_t padding = 0;  // bytes without meaning
  bool operator==(const MdcEndsRecord&) const = default;
};

using Body = std::variant<OwnerRecord, BatchRecord, RollbackRecord, CreateRecord, ContentRecord,
                          AttributesRecord, LinkRecord, UnlinkRecord, RenameRecord, XattrRecord,
                          OrphanRecord, MdcEndsRecord, LogSizesRecord, PackRecord, MoveRecord>;

struct Record {
  Nanoseconds when = 0;
  Body body;
  bool operator==(const Record&) const = default;
};

// EINVAL for a record that decode() would refuse (record_faults.h).
std::vector<std::byte> encode(const Record& record);
// The same without validation: for tests of refused records.
std::vector<std::byte> encode_unchecked(const Record& record);

struct DecodeFault {
  // The record is complete but of a version or type that this program does not know.
  bool later_version = false;
  std::string detail;
};
// The record is valid by itself (record_faults.h); Replay determines whether it fits the tree.
std::expected<Record, DecodeFault> decode(ConstByteSpan from);

// True when the bytes are an OWNER record of any version.
bool is_owner_record(ConstByteSpan from);

}  // namespace mpool::names
