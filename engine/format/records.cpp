#include "engine/format/records.h"

#include <cassert>
#include <cstring>

#include <fmt/format.h>

namespace mpool {
namespace {

enum Type : std::uint8_t {
  kObjectCreate = 1,
  kObjectUpdate = 2,
  kObjectDelete = 3,
  kIdCheckpoint = 4,
  kObjectErase = 5,
  kDevice = 6,
  kSpare = 7,
  kVersion = 8,
  kConfig = 9,
};

constexpr std::size_t kMblockSize = 40;
constexpr std::size_t kMlogSize = 56;
constexpr std::size_t kIdSize = 16;  // ODELETE and OIDCKPT
constexpr std::size_t kEraseSize = 24;
constexpr std::size_t kDeviceSize = 56;
constexpr std::size_t kSpareSize = 3;
constexpr std::size_t kVersionSize = 10;
constexpr std::size_t kConfigSize = 160;
constexpr std::size_t kLabelAt = 96;

EncodedRecord begin(Type type, std::size_t size) {
  EncodedRecord record;
  record.size = size;
  record.bytes[0] = static_cast<std::byte>(type);
  return record;
}

struct Encoder {
  EncodedRecord operator()(const ObjectRecord& object) const {
    EncodedRecord out = begin(object.update ? kObjectUpdate : kObjectCreate,
                              object.id.is_mlog() ? kMlogSize : kMblockSize);
    const ByteSpan bytes(out.bytes);
    store_le<std::uint8_t>(bytes, 1, static_cast<std::uint8_t>(object.media_class));
    object.layout.store(bytes, 4);
    store_le<std::uint64_t>(bytes, 16, object.id.value);
    store_le<std::uint64_t>(bytes, 24, object.generation);
    store_le<std::uint64_t>(bytes, 32, object.written_length);
    if (object.id.is_mlog()) object.uuid.store(bytes, 40);
    return out;
  }
  EncodedRecord operator()(const DeleteRecord& record) const {
    return with_id(kObjectDelete, kIdSize, record.id);
  }
  EncodedRecord operator()(const CheckpointRecord& record) const {
    return with_id(kIdCheckpoint, kIdSize, record.id);
  }
  EncodedRecord operator()(const EraseRecord& record) const {
    EncodedRecord out = with_id(kObjectErase, kEraseSize, record.id);
    store_le<std::uint64_t>(out.bytes, 16, record.generation);
    return out;
  }
  EncodedRecord operator()(const DeviceRecord& record) const {
    EncodedRecord out = begin(kDevice, kDeviceSize);
    record.device.store(out.bytes, 8);
    return out;
  }
  EncodedRecord operator()(const SpareRecord& record) const {
    EncodedRecord out = begin(kSpare, kSpareSize);
    store_le<std::uint8_t>(out.bytes, 1, static_cast<std::uint8_t>(record.media_class));
    store_le<std::uint8_t>(out.bytes, 2, record.percent);
    return out;
  }
  EncodedRecord operator()(const VersionRecord& record) const {
    EncodedRecord out = begin(kVersion, kVersionSize);
    for (std::size_t i = 0; i < record.version.size(); ++i) {
      store_le<std::uint16_t>(out.bytes, 2 + 2 * i, record.version[i]);
    }
    return out;
  }
  EncodedRecord operator()(const ConfigRecord& config) const {
    assert(config.label.size() <= ConfigRecord::kMaxLabelLength);
    EncodedRecord out = begin(kConfig, kConfigSize);
    const ByteSpan bytes(out.bytes);
    store_le<std::uint64_t>(bytes, 8, config.root_log_1.value);
    store_le<std::uint64_t>(bytes, 16, config.root_log_2.value);
    store_le<std::uint32_t>(bytes, 24, config.uid);
    store_le<std::uint32_t>(bytes, 28, config.gid);
    store_le<std::uint32_t>(bytes, 32, config.mode);
    store_le<std::uint64_t>(bytes, 40, config.mdc_capacity);
    store_le<std::uint32_t>(bytes, 48, config.max_readahead_pages);
    store_le<std::uint32_t>(bytes, 52, config.max_map_shift);
    config.user_type.store(bytes, 80);
    std::memcpy(out.bytes.data() + kLabelAt, config.label.data(), config.label.size());
    return out;
  }

 private:
  static EncodedRecord with_id(Type type, std::size_t size, ObjectId id) {
    EncodedRecord out = begin(type, size);
    store_le<std::uint64_t>(out.bytes, 8, id.value);
    return out;
  }
};

using Decoded = std::expected<MetadataRecord, std::string>;

Decoded wrong_length(std::string_view name, std::size_t found, std::size_t expected) {
  return std::unexpected(fmt::format("{} record has {} bytes, expected {}", name, found, expected));
}

bool known_class(std::uint8_t media_class) {
  return media_class < kMediaClassCount;
}

Decoded decode_object(ConstByteSpan from, bool update) {
  const std::string_view name = update ? "OUPDATE" : "OCREATE";
  if (from.size() != kMblockSize && from.size() != kMlogSize) {
    return wrong_length(name, from.size(), kMblockSize);
  }
  ObjectRecord object;
  object.update = update;
  object.id.value = load_le<std::uint64_t>(from, 16);
  if (object.id.type() == ObjectType::undefined) {
    return std::unexpected(
        fmt::format("{} record for {} of an unknown type", name, object.id.to_string()));
  }
  const std::size_t expected = object.id.is_mlog() ? kMlogSize : kMblockSize;
  if (from.size() != expected) return wrong_length(name, from.size(), expected);
  const auto media_class = load_le<std::uint8_t>(from, 1);
  if (!known_class(media_class)) {
    return std::unexpected(fmt::format("{} record for {} with unknown media class {}", name,
                                       object.id.to_string(), media_class));
  }
  object.media_class = static_cast<MediaClass>(media_class);
  object.layout = Layout::load(from, 4);
  object.generation = load_le<std::uint64_t>(from, 24);
  object.written_length = load_le<std::uint64_t>(from, 32);
  if (object.id.is_mlog()) object.uuid = Uuid::load(from, 40);
  return object;
}

Decoded decode_config(ConstByteSpan from) {
  ConfigRecord config;
  config.root_log_1.value = load_le<std::uint64_t>(from, 8);
  config.root_log_2.value = load_le<std::uint64_t>(from, 16);
  config.uid = load_le<std::uint32_t>(from, 24);
  config.gid = load_le<std::uint32_t>(from, 28);
  config.mode = load_le<std::uint32_t>(from, 32);
  config.mdc_capacity = load_le<std::uint64_t>(from, 40);
  config.max_readahead_pages = load_le<std::uint32_t>(from, 48);
  config.max_map_shift = load_le<std::uint32_t>(from, 52);
  config.user_type = Uuid::load(from, 80);
  const char* label = reinterpret_cast<const char*>(from.data() + kLabelAt);
  config.label.assign(label, strnlen(label, ConfigRecord::kMaxLabelLength));
  return config;
}

Decoded decode_device(ConstByteSpan from) {
  DeviceRecord record{DeviceParams::load(from, 8)};
  if (const auto reason = record.device.invalid_reason()) {
    return std::unexpected(fmt::format("MCCONFIG record: {}", *reason));
  }
  return record;
}

Decoded decode_spare(ConstByteSpan from) {
  const auto media_class = load_le<std::uint8_t>(from, 1);
  const auto percent = load_le<std::uint8_t>(from, 2);
  if (!known_class(media_class) || percent > 100) {
    return std::unexpected(
        fmt::format("MCSPARE record with media class {} and {} percent", media_class, percent));
  }
  return SpareRecord{static_cast<MediaClass>(media_class), percent};
}

Decoded decode_version(ConstByteSpan from) {
  VersionRecord record;
  for (std::size_t i = 0; i < record.version.size(); ++i) {
    record.version[i] = load_le<std::uint16_t>(from, 2 + 2 * i);
  }
  return record;
}

}  // namespace

EncodedRecord encode_record(const MetadataRecord& record) {
  return std::visit(Encoder{}, record);
}

Decoded decode_record(ConstByteSpan from) {
  if (from.empty()) return std::unexpected("record without a type");
  const auto type = load_le<std::uint8_t>(from, 0);
  const auto sized = [&](std::string_view name, std::size_t size, auto decode) -> Decoded {
    if (from.size() != size) return wrong_length(name, from.size(), size);
    return decode(from);
  };
  const auto id = [](ConstByteSpan bytes) { return ObjectId{load_le<std::uint64_t>(bytes, 8)}; };
  switch (type) {
    case kObjectCreate:
      return decode_object(from, false);
    case kObjectUpdate:
      return decode_object(from, true);
    case kObjectDelete:
      return sized("ODELETE", kIdSize, [&](auto bytes) { return DeleteRecord{id(bytes)}; });
    case kIdCheckpoint:
      return sized("OIDCKPT", kIdSize, [&](auto bytes) { return CheckpointRecord{id(bytes)}; });
    case kObjectErase:
      return sized("OERASE", kEraseSize, [&](auto bytes) {
        return EraseRecord{id(bytes), load_le<std::uint64_t>(bytes, 16)};
      });
    case kDevice:
      return sized("MCCONFIG", kDeviceSize, decode_device);
    case kSpare:
      return sized("MCSPARE", kSpareSize, decode_spare);
    case kVersion:
      return sized("VERSION", kVersionSize, decode_version);
    case kConfig:
      return sized("MPCONFIG", kConfigSize, decode_config);
    default:
      return std::unexpected(fmt::format("unknown record type {}", type));
  }
}

}  // namespace mpool
