#include "engine/tree/records.h"

#include <cerrno>
#include <concepts>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <tuple>
#include <type_traits>
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

// The members of a structure, in the order of their bytes.
template <typename T, typename Structure>
constexpr bool is_a = std::same_as<std::remove_const_t<Structure>, T>;

template <typename Structure>
auto fields_of(Structure& it) {
  if constexpr (is_a<InodeAttributes, Structure>) {
    return std::tie(it.mode, it.uid, it.gid, it.atime, it.mtime, it.ctime);
  } else if constexpr (is_a<Extent, Structure>) {
    return std::tie(it.file_offset, it.object, it.position, it.length);
  } else if constexpr (is_a<Content, Structure>) {
    return std::tie(it.kind, it.size, it.extents);
  } else if constexpr (is_a<MdcEnd, Structure>) {
    return std::tie(it.generation, it.blocks, it.flush_set);
  } else if constexpr (is_a<ObjectId, Structure>) {
    return std::tie(it.value);
  } else if constexpr (is_a<BatchRecord, Structure>) {
    return std::tie(it.number, it.next_inode);
  } else if constexpr (is_a<RollbackRecord, Structure>) {
    return std::tie(it.keep);
  } else if constexpr (is_a<CreateRecord, Structure>) {
    return std::tie(it.inode, it.parent, it.name, it.attributes, it.media_class, it.choice,
                    it.target, it.content);
  } else if constexpr (is_a<ContentRecord, Structure>) {
    return std::tie(it.inode, it.replace, it.content);
  } else if constexpr (is_a<AttributesRecord, Structure>) {
    return std::tie(it.inode, it.attributes, it.media_class);
  } else if constexpr (is_a<LinkRecord, Structure>) {
    return std::tie(it.inode, it.parent, it.name);
  } else if constexpr (is_a<UnlinkRecord, Structure>) {
    return std::tie(it.parent, it.name);
  } else if constexpr (is_a<RenameRecord, Structure>) {
    return std::tie(it.parent, it.name, it.new_parent, it.new_name, it.exchange);
  } else if constexpr (is_a<OrphanRecord, Structure>) {
    return std::tie(it.objects);
  } else if constexpr (is_a<PackRecord, Structure>) {
    return std::tie(it.object);
  } else if constexpr (is_a<MoveRecord, Structure>) {
    return std::tie(it.inode, it.extents);
  } else {
    static_assert(is_a<LogSizesRecord, Structure>);
    return std::tie(it.inexact);
  }
}

template <typename T>
constexpr bool is_list = false;
template <typename Element>
constexpr bool is_list<std::vector<Element>> = true;

// Integers are little-endian; a flag or an enumeration is one byte. A string follows its length in
// 2 bytes, or in 4 (long_string), a list the number of its elements in 4.
class Writer {
 public:
  explicit Writer(std::vector<std::byte>& into) : into_(into) {}

  template <typename T>
  void put(const T& value) {
    if constexpr (std::same_as<T, bool> || std::is_enum_v<T>) {
      integer(static_cast<std::uint8_t>(value));
    } else if constexpr (std::integral<T>) {
      integer(static_cast<std::make_unsigned_t<T>>(value));
    } else if constexpr (is_list<T>) {
      integer(static_cast<std::uint32_t>(value.size()));
      for (const auto& element : value)
        put(element);
    } else {
      std::apply([&](const auto&... fields) { (put(fields), ...); }, fields_of(value));
    }
  }
  void put(const std::string& text) { string<std::uint16_t>(text); }
  void put(const OwnerRecord&) { bytes(kMagic); }
  void put(const XattrRecord& record) {
    put(record.inode);
    put(record.name);
    put(record.present);
    string<std::uint32_t>(record.value);
  }
  void put(const MdcEndsRecord& record) {
    put(record.mdcs);
    string<std::uint32_t>(std::string(record.padding, '\0'));
  }

 private:
  template <std::unsigned_integral T>
  void integer(T value) {
    const std::size_t at = into_.size();
    into_.resize(at + sizeof(T));
    store_le<T>(into_, at, value);
  }
  void bytes(std::string_view text) {
    const ConstByteSpan raw = as_bytes(text.data(), text.size());
    into_.insert(into_.end(), raw.begin(), raw.end());
  }
  template <std::unsigned_integral Length>
  void string(std::string_view text) {
    integer(static_cast<Length>(text.size()));
    bytes(text);
  }

  std::vector<std::byte>& into_;
};

// Thrown by Reader where the record ends too early or a flag is invalid; caught in decode().
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Reader {
 public:
  explicit Reader(ConstByteSpan from) : from_(from) {}

  template <typename T>
  void get(T& value) {
    if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(integer<std::uint8_t>());
    } else if constexpr (std::integral<T>) {
      value = static_cast<T>(integer<std::make_unsigned_t<T>>());
    } else if constexpr (is_list<T>) {
      using Element = typename T::value_type;
      static_assert(std::has_unique_object_representations_v<Element>, "its size is that in bytes");
      const auto count = integer<std::uint32_t>();
      if (count > from_.size() / sizeof(Element)) throw Malformed("it ends inside a list");
      value.resize(count);
      for (Element& element : value)
        get(element);
    } else {
      std::apply([&](auto&... fields) { (get(fields), ...); }, fields_of(value));
    }
  }
  void get(bool& value) {
    const auto flag = integer<std::uint8_t>();
    if (flag > 1) throw Malformed(fmt::format("a flag is {}", flag));
    value = flag == 1;
  }
  void get(std::string& text) { text = string<std::uint16_t>(); }
  void get(OwnerRecord&) {
    const ConstByteSpan magic = take(kMagic.size());
    if (std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0) {
      throw Malformed("the owner is another client");
    }
  }
  void get(XattrRecord& record) {
    get(record.inode);
    get(record.name);
    get(record.present);
    record.value = string<std::uint32_t>();
  }
  void get(MdcEndsRecord& record) {
    get(record.mdcs);
    record.padding = static_cast<std::uint32_t>(string<std::uint32_t>().size());
  }
  bool at_end() const { return from_.empty(); }

 private:
  template <std::unsigned_integral T>
  T integer() {
    return load_le<T>(take(sizeof(T)), 0);
  }
  template <std::unsigned_integral Length>
  std::string string() {
    const ConstByteSpan raw = take(integer<Length>());
    return {reinterpret_cast<const char*>(raw.data()), raw.size()};
  }
  ConstByteSpan take(std::size_t size) {
    if (size > from_.size()) throw Malformed("it ends too early");
    const ConstByteSpan taken = from_.first(size);
    from_ = from_.subspan(size);
    return taken;
  }

  ConstByteSpan from_;
};

template <std::size_t... I>
Body read_any(std::uint8_t type, Reader& in, std::index_sequence<I...>) {
  Body body;
  ((type == I + 1 ? in.get(body.emplace<I>()) : void()), ...);
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
  std::visit([&](const auto& body) { writer.put(body); }, record.body);
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
