#include "engine/tree/records.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "engine/tree/record_faults.h"

namespace mpool::names {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kSpecialFileVersion = 2;
constexpr std::uint8_t kCreateType = 4;
constexpr std::size_t kTypeAt = 1;
constexpr std::size_t kChecksumAt = 4;
constexpr std::size_t kWhenAt = 8;
constexpr std::size_t kHeaderSize = 16;
constexpr std::string_view kMagic{"mpoolfs\0", 8};

// The type number of each alternative of Body is its index plus one.
constexpr std::uint8_t kOwnerType = 1;

class Writer {
 public:
  explicit Writer(std::vector<std::byte>& into) : into_(into) {}

  template <std::unsigned_integral T>
  void integer(T value) {
    const std::size_t at = into_.size();
    into_.resize(at + sizeof(T));
    store_le<T>(into_, at, value);
  }
  void time(Nanoseconds value) { integer(static_cast<std::uint64_t>(value)); }
  void bytes(std::string_view text) {
    const ConstByteSpan raw = as_bytes(text.data(), text.size());
    into_.insert(into_.end(), raw.begin(), raw.end());
  }
  template <std::unsigned_integral Length = std::uint16_t>
  void string(std::string_view text) {
    integer(static_cast<Length>(text.size()));
    bytes(text);
  }
  void attributes(const InodeAttributes& attributes) {
    integer(attributes.mode);
    integer(attributes.uid);
    integer(attributes.gid);
    time(attributes.atime);
    time(attributes.mtime);
    time(attributes.ctime);
  }
  void content(const Content& content) {
    integer(static_cast<std::uint8_t>(content.kind));
    integer(content.size);
    integer(static_cast<std::uint32_t>(content.extents.size()));
    for (const Extent& extent : content.extents) {
      integer(extent.file_offset);
      integer(extent.object.value);
      integer(extent.position);
      integer(extent.length);
    }
  }

 private:
  std::vector<std::byte>& into_;
};

// Thrown by Reader where the record ends too early or a flag is invalid; caught in decode().
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Reader {
 public:
  explicit Reader(ConstByteSpan from) : from_(from) {}

  template <std::unsigned_integral T>
  T integer() {
    const T value = load_le<T>(take(sizeof(T)), 0);
    return value;
  }
  Nanoseconds time() { return static_cast<Nanoseconds>(integer<std::uint64_t>()); }
  template <std::unsigned_integral Length = std::uint16_t>
  std::string string() {
    const ConstByteSpan raw = take(integer<Length>());
    return {reinterpret_cast<const char*>(raw.data()), raw.size()};
  }
  InodeAttributes attributes() {
    InodeAttributes attributes;
    attributes.mode = integer<std::uint32_t>();
    attributes.uid = integer<std::uint32_t>();
    attributes.gid = integer<std::uint32_t>();
    attributes.atime = time();
    attributes.mtime = time();
    attributes.ctime = time();
    return attributes;
  }
  template <typename Enum>
  Enum enumeration() {
    return static_cast<Enum>(integer<std::uint8_t>());
  }
  MediaClass media_class() { return enumeration<MediaClass>(); }
  bool flag() {
    const auto value = integer<std::uint8_t>();
    if (value > 1) throw Malformed(fmt::format("a flag is {}", value));
    return value == 1;
  }
  // A count of elements of `element_size` bytes; the record must still contain them.
  std::uint32_t count(std::size_t element_size) {
    const auto count = integer<std::uint32_t>();
    if (count > from_.size() / element_size) throw Malformed("it ends inside a list");
    return count;
  }
  Content content() {
    Content content;
    content.kind = enumeration<FileKind>();
    content.size = integer<std::uint64_t>();
    content.extents.resize(count(kExtentSize));
    for (Extent& extent : content.extents) {
      extent.file_offset = integer<std::uint64_t>();
      extent.object.value = integer<std::uint64_t>();
      extent.position = integer<std::uint64_t>();
      extent.length = integer<std::uint64_t>();
    }
    return content;
  }
  ConstByteSpan take(std::size_t size) {
    if (size > from_.size()) throw Malformed("it ends too early");
    const ConstByteSpan taken = from_.first(size);
    from_ = from_.subspan(size);
    return taken;
  }
  bool at_end() const { return from_.empty(); }

 private:
  ConstByteSpan from_;
};

struct BodyWriter {
  Writer& out;

  void operator()(const OwnerRecord&) const { out.bytes(kMagic); }
  void operator()(const BatchRecord& record) const {
    out.integer(record.number);
    out.integer(record.next_inode);
  }
  void operator()(const RollbackRecord& record) const { out.integer(record.keep); }
  void operator()(const CreateRecord& record) const {
    out.integer(record.inode);
    out.integer(record.parent);
    out.string(record.name);
    out.attributes(record.attributes);
    out.integer(static_cast<std::uint8_t>(record.media_class));
    out.integer(static_cast<std::uint8_t>(record.choice));
    out.string(record.target);
    out.content(record.content);
  }
  void operator()(const ContentRecord& record) const {
    out.integer(record.inode);
    out.integer(static_cast<std::uint8_t>(record.replace));
    out.content(record.content);
  }
  void operator()(const AttributesRecord& record) const {
    out.integer(record.inode);
    out.attributes(record.attributes);
    out.integer(static_cast<std::uint8_t>(record.media_class));
  }
  void operator()(const LinkRecord& record) const {
    out.integer(record.inode);
    out.integer(record.parent);
    out.string(record.name);
  }
  void operator()(const UnlinkRecord& record) const {
    out.integer(record.parent);
    out.string(record.name);
  }
  void operator()(const RenameRecord& record) const {
    out.integer(record.parent);
    out.string(record.name);
    out.integer(record.new_parent);
    out.string(record.new_name);
    out.integer(static_cast<std::uint8_t>(record.exchange));
  }
  void operator()(const XattrRecord& record) const {
    out.integer(record.inode);
    out.string(record.name);
    out.integer(static_cast<std::uint8_t>(record.present));
    out.string<std::uint32_t>(record.value);
  }
  void operator()(const OrphanRecord& record) const {
    out.integer(static_cast<std::uint32_t>(record.objects.size()));
    for (const ObjectId object : record.objects)
      out.integer(object.value);
  }
  void operator()(const MdcEndsRecord& record) const {
    out.integer(static_cast<std::uint32_t>(record.mdcs.size()));
    for (const MdcEnd& end : record.mdcs) {
      out.integer(end.generation);
      out.integer(end.blocks);
      out.integer(end.flush_set);
    }
    out.string<std::uint32_t>(std::string(record.padding, '\0'));
  }
  void operator()(const LogSizesRecord& record) const {
    out.integer(static_cast<std::uint32_t>(record.inexact.size()));
    for (const InodeNumber inode : record.inexact)
      out.integer(inode);
  }
};

template <typename T>
T read_body(Reader& in);

template <>
OwnerRecord read_body(Reader& in) {
  const ConstByteSpan magic = in.take(kMagic.size());
  if (std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0) {
    throw Malformed("the owner is another client");
  }
  return {};
}
template <>
BatchRecord read_body(Reader& in) {
  BatchRecord record;
  record.number = in.integer<std::uint64_t>();
  record.next_inode = in.integer<std::uint64_t>();
  return record;
}
template <>
RollbackRecord read_body(Reader& in) {
  return {in.integer<std::uint32_t>()};
}
template <>
CreateRecord read_body(Reader& in) {
  CreateRecord record;
  record.inode = in.integer<std::uint64_t>();
  record.parent = in.integer<std::uint64_t>();
  record.name = in.string();
  record.attributes = in.attributes();
  record.media_class = in.media_class();
  record.choice = in.enumeration<Choice>();
  record.target = in.string();
  record.content = in.content();
  return record;
}
template <>
ContentRecord read_body(Reader& in) {
  ContentRecord record;
  record.inode = in.integer<std::uint64_t>();
  record.replace = in.flag();
  record.content = in.content();
  return record;
}
template <>
AttributesRecord read_body(Reader& in) {
  AttributesRecord record;
  record.inode = in.integer<std::uint64_t>();
  record.attributes = in.attributes();
  record.media_class = in.media_class();
  return record;
}
template <>
LinkRecord read_body(Reader& in) {
  LinkRecord record;
  record.inode = in.integer<std::uint64_t>();
  record.parent = in.integer<std::uint64_t>();
  record.name = in.string();
  return record;
}
template <>
UnlinkRecord read_body(Reader& in) {
  UnlinkRecord record;
  record.parent = in.integer<std::uint64_t>();
  record.name = in.string();
  return record;
}
template <>
RenameRecord read_body(Reader& in) {
  RenameRecord record;
  record.parent = in.integer<std::uint64_t>();
  record.name = in.string();
  record.new_parent = in.integer<std::uint64_t>();
  record.new_name = in.string();
  record.exchange = in.flag();
  return record;
}
template <>
XattrRecord read_body(Reader& in) {
  XattrRecord record;
  record.inode = in.integer<std::uint64_t>();
  record.name = in.string();
  record.present = in.flag();
  record.value = in.string<std::uint32_t>();
  return record;
}
template <>
OrphanRecord read_body(Reader& in) {
  OrphanRecord record;
  record.objects.resize(in.count(sizeof(std::uint64_t)));
  for (ObjectId& object : record.objects)
    object.value = in.integer<std::uint64_t>();
  return record;
}

template <>
MdcEndsRecord read_body(Reader& in) {
  constexpr std::size_t kEndSize = 16;
  MdcEndsRecord record;
  record.mdcs.resize(in.count(kEndSize));
  for (MdcEnd& end : record.mdcs) {
    end.generation = in.integer<std::uint64_t>();
    end.blocks = in.integer<std::uint32_t>();
    end.flush_set = in.integer<std::uint32_t>();
  }
  record.padding = static_cast<std::uint32_t>(in.string<std::uint32_t>().size());
  return record;
}

template <>
LogSizesRecord read_body(Reader& in) {
  LogSizesRecord record;
  record.inexact.resize(in.count(sizeof(InodeNumber)));
  for (InodeNumber& inode : record.inexact)
    inode = in.integer<InodeNumber>();
  return record;
}

template <std::size_t... I>
Body read_any(std::uint8_t type, Reader& in, std::index_sequence<I...>) {
  Body body;
  ((type == I + 1 ? static_cast<void>(body = read_body<std::variant_alternative_t<I, Body>>(in))
                  : void()),
   ...);
  return body;
}

std::uint32_t checksum(ConstByteSpan record) {
  std::vector<std::byte> copy(record.begin(), record.end());
  store_le<std::uint32_t>(copy, kChecksumAt, 0);
  return crc32c(copy);
}

// Programs without support for special files refuse the tree as one of a later version.
std::uint8_t version_of(const Record& record) {
  const auto* create = std::get_if<CreateRecord>(&record.body);
  return create != nullptr && is_special(create->content.kind) ? kSpecialFileVersion : kVersion;
}

auto fault(bool later_version, std::string detail) {
  return std::unexpected(DecodeFault{later_version, std::move(detail)});
}

}  // namespace

std::vector<std::byte> encode(const Record& record) {
  if (const std::string fault = fault_of(record); !fault.empty()) {
    raise(EINVAL, "namespace", "record type {}: {}", record.body.index() + 1, fault);
  }
  return encode_unchecked(record);
}

std::vector<std::byte> encode_unchecked(const Record& record) {
  std::vector<std::byte> bytes(kHeaderSize);
  store_le<std::uint8_t>(bytes, 0, version_of(record));
  store_le<std::uint8_t>(bytes, kTypeAt, static_cast<std::uint8_t>(record.body.index() + 1));
  store_le<std::uint64_t>(bytes, kWhenAt, static_cast<std::uint64_t>(record.when));
  Writer writer(bytes);
  std::visit(BodyWriter{writer}, record.body);
  store_le<std::uint32_t>(bytes, kChecksumAt, crc32c(bytes));
  return bytes;
}

std::expected<Record, DecodeFault> decode(ConstByteSpan from) {
  if (from.size() < kHeaderSize) return fault(false, "it is shorter than a record's header");
  const auto stored = load_le<std::uint32_t>(from, kChecksumAt);
  if (const auto computed = checksum(from); stored != computed) {
    return fault(false,
                 fmt::format("its checksum is {:#010x}, expected {:#010x}", stored, computed));
  }
  const auto version = load_le<std::uint8_t>(from, 0);
  const auto type = load_le<std::uint8_t>(from, kTypeAt);
  const bool known = version == kVersion || (version == kSpecialFileVersion && type == kCreateType);
  if (!known || type == 0 || type > std::variant_size_v<Body>) {
    return fault(true,
                 fmt::format("it has version {} and type {}, this program knows version {} and "
                             "types 1 to {}",
                             version, type, kVersion, std::variant_size_v<Body>));
  }
  Record record;
  record.when = static_cast<Nanoseconds>(load_le<std::uint64_t>(from, kWhenAt));
  Reader reader(from.subspan(kHeaderSize));
  try {
    record.body = read_any(type, reader, std::make_index_sequence<std::variant_size_v<Body>>{});
  } catch (const Malformed& malformed) {
    return fault(false, fmt::format("type {}: {}", type, malformed.what()));
  }
  if (!reader.at_end()) return fault(false, fmt::format("type {}: it has bytes left over", type));
  if (version != version_of(record)) {
    return fault(false, fmt::format("type {}: it has version {}, expected {}", type, version,
                                    version_of(record)));
  }
  if (std::string invalid = fault_of(record); !invalid.empty()) {
    return fault(false, fmt::format("type {}: {}", type, invalid));
  }
  return record;
}

bool is_owner_record(ConstByteSpan from) {
  return from.size() >= kHeaderSize + kMagic.size() &&
         load_le<std::uint8_t>(from, kTypeAt) == kOwnerType &&
         std::memcmp(from.data() + kHeaderSize, kMagic.data(), kMagic.size()) == 0;
}

}  // namespace mpool::names
