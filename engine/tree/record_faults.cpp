#include "engine/tree/record_faults.h"

#include <algorithm>

#include <fmt/format.h>

namespace mpool::names {
namespace {

constexpr std::uint64_t kMaxSize = INT64_MAX;  // bytes, of a file and inside an object

template <typename Enum>
bool in_range(Enum value, Enum first, Enum last) {
  return value >= first && value <= last;
}

std::string fault_of_inode(InodeNumber inode, const char* what) {
  if (inode == 0 || inode > kMaxInode) return fmt::format("{} {} is out of range", what, inode);
  return {};
}

std::string fault_of_class(MediaClass media_class) {
  if (in_range(media_class, MediaClass::staging, MediaClass::capacity)) return {};
  return fmt::format("media class {} is unknown", static_cast<unsigned>(media_class));
}

std::string fault_of_attributes(const InodeAttributes& attributes) {
  if ((attributes.mode & ~kPermissionBits) == 0) return {};
  return fmt::format("mode {:#o} has more than permission bits", attributes.mode);
}

std::string fault_of_object(ObjectId object) {
  if (is_metadata_log(object))
    return fmt::format("object {} is the pool's own", object.to_string());
  if (object.is_mblock() || object.is_mlog()) return {};
  return fmt::format("object {} is neither mblock nor mlog", object.to_string());
}

std::string fault_of_mlog(ObjectId object) {
  if (auto fault = fault_of_object(object); !fault.empty()) return fault;
  return object.is_mlog() ? "" : fmt::format("object {} is no mlog", object.to_string());
}

std::string fault_of_extent(const Extent& extent) {
  const std::string id = extent.object.to_string();
  if (extent.file_offset > kMaxSize || extent.length > kMaxSize - extent.file_offset ||
      extent.position > kMaxSize || extent.length > kMaxSize - extent.position) {
    return fmt::format("an extent has {} bytes at {}, from byte {} of object {} on", extent.length,
                       extent.file_offset, extent.position, id);
  }
  return {};
}

std::string fault_of_pieces(const Content& content) {
  std::vector<Extent> extents = content.extents;
  std::ranges::sort(extents, {}, &Extent::file_offset);
  std::uint64_t end = 0;
  for (const Extent& extent : extents) {
    if (extent.length == 0) return "an extent has no bytes";
    if (extent.file_offset < end) {
      return fmt::format("two extents overlap at byte {}", extent.file_offset);
    }
    end = extent.file_offset + extent.length;
  }
  if (end <= content.size) return {};
  return fmt::format("its extents end at byte {}, its size is {}", end, content.size);
}

std::string fault_of_chain(const Content& content) {
  std::vector<ObjectId> mlogs;
  for (const Extent& extent : content.extents)
    mlogs.push_back(extent.object);
  std::ranges::sort(mlogs);
  const auto twice = std::ranges::adjacent_find(mlogs);
  if (twice == mlogs.end()) return {};
  return fmt::format("mlog {} is named twice", twice->to_string());
}

std::string fault_of_content(const Content& content) {
  if (!in_range(content.kind, FileKind::directory, FileKind::block_device)) {
    return fmt::format("file kind {} is unknown", static_cast<unsigned>(content.kind));
  }
  if (content.size > kMaxSize) return fmt::format("size {} is out of range", content.size);
  const bool log = content.kind == FileKind::log;
  if (!log && content.kind != FileKind::write_once && !content.extents.empty()) {
    return "it has extents, but no content";
  }
  const bool is_device = in_range(content.kind, FileKind::character_device, FileKind::block_device);
  if (!is_regular(content.kind) && !is_device && content.size != 0) {
    return fmt::format("it has a size of {} bytes, but no content", content.size);
  }
  for (const Extent& extent : content.extents) {
    auto fault = log ? fault_of_mlog(extent.object) : fault_of_object(extent.object);
    if (fault.empty()) fault = fault_of_extent(extent);
    if (!fault.empty()) return fault;
  }
  if (log) return fault_of_chain(content);
  return fault_of_pieces(content);
}

std::string fault_of_target(FileKind kind, std::string_view target) {
  if (kind != FileKind::symlink) return target.empty() ? "" : "it has a target, but is no symlink";
  if (target.empty() || target.size() > kMaxSymlinkLength ||
      target.find('\0') != std::string_view::npos) {
    return fmt::format("its target of {} bytes can be none", target.size());
  }
  return {};
}

// The first that is not empty.
template <typename... Faults>
std::string first_of(Faults... faults) {
  std::string first;
  ((first.empty() ? first.swap(faults) : void()), ...);
  return first;
}

struct FaultOfBody {
  std::string operator()(const OwnerRecord&) const { return {}; }
  std::string operator()(const BatchRecord& record) const {
    if (record.number > INT64_MAX) return fmt::format("batch {} is out of range", record.number);
    return fault_of_inode(record.next_inode, "next inode");
  }
  std::string operator()(const RollbackRecord&) const { return {}; }
  std::string operator()(const CreateRecord& record) const {
    if (record.choice > Choice::mlog) {
      return fmt::format("choice {} is unknown", static_cast<unsigned>(record.choice));
    }
    return first_of(fault_of_inode(record.inode, "inode"), fault_of_entry(record),
                    fault_of_attributes(record.attributes), fault_of_class(record.media_class),
                    fault_of_target(record.content.kind, record.target),
                    fault_of_content(record.content));
  }
  std::string operator()(const ContentRecord& record) const {
    if (!is_regular(record.content.kind)) return "the content is that of no regular file";
    return first_of(fault_of_inode(record.inode, "inode"), fault_of_content(record.content));
  }
  std::string operator()(const AttributesRecord& record) const {
    return first_of(fault_of_inode(record.inode, "inode"), fault_of_attributes(record.attributes),
                    fault_of_class(record.media_class));
  }
  std::string operator()(const LinkRecord& record) const {
    return first_of(fault_of_inode(record.inode, "inode"),
                    fault_of_inode(record.parent, "parent inode"), fault_of_name(record.name));
  }
  std::string operator()(const UnlinkRecord& record) const {
    return first_of(fault_of_inode(record.parent, "parent inode"), fault_of_name(record.name));
  }
  std::string operator()(const RenameRecord& record) const {
    return first_of(fault_of_inode(record.parent, "parent inode"),
                    fault_of_inode(record.new_parent, "new parent inode"),
                    fault_of_name(record.name), fault_of_name(record.new_name));
  }
  std::string operator()(const XattrRecord& record) const {
    if (record.name.empty() || record.name.size() > kMaxNameLength ||
        record.name.find('\0') != std::string::npos) {
      return fmt::format("an attribute's name of {} bytes can be none", record.name.size());
    }
    if (record.value.size() > (record.present ? kMaxXattrSize : 0)) {
      return fmt::format("an attribute's value has {} bytes", record.value.size());
    }
    return fault_of_inode(record.inode, "inode");
  }
  std::string operator()(const LogSizesRecord& record) const {
    for (const InodeNumber inode : record.inexact) {
      if (auto fault = fault_of_inode(inode, "inode"); !fault.empty()) return fault;
    }
    return {};
  }
  std::string operator()(const OrphanRecord& record) const {
    for (const ObjectId object : record.objects) {
      if (auto fault = fault_of_object(object); !fault.empty()) return fault;
    }
    return {};
  }
  std::string operator()(const PackRecord& record) const { return fault_of_mlog(record.object); }
  std::string operator()(const MoveRecord& record) const {
    if (record.extents.empty()) return "nothing is moved";
    for (const Extent& extent : record.extents) {
      if (auto fault = fault_of_mlog(extent.object); !fault.empty()) return fault;
      if (auto fault = fault_of_extent(extent); !fault.empty()) return fault;
    }
    return fault_of_inode(record.inode, "inode");
  }
  std::string operator()(const MdcEndsRecord& record) const {
    if (record.mdcs.size() <= kMaxMdcs + 1) return {};
    return fmt::format("it lists {} MDCs", record.mdcs.size());
  }

 private:
  static std::string fault_of_entry(const CreateRecord& record) {
    if (record.inode != kRootInode) {
      return first_of(fault_of_inode(record.parent, "parent inode"), fault_of_name(record.name));
    }
    return record.parent == 0 && record.name.empty() ? "" : "the root directory has a name";
  }
};

}  // namespace

std::string fault_of_name(std::string_view name) {
  if (name.empty()) return "a name is empty";
  if (name.size() > kMaxNameLength) return fmt::format("a name has {} bytes", name.size());
  if (name == "." || name == "..") return fmt::format("a name is '{}'", name);
  if (name.find('/') != std::string_view::npos) return "a name has a slash in it";
  if (name.find('\0') != std::string_view::npos) return "a name has a NUL in it";
  return {};
}

std::string fault_of(const Record& record) {
  return std::visit(FaultOfBody{}, record.body);
}

}  // namespace mpool::names
