// The directories `.mpool/mblock` and `.mpool/mlog` (mpoolfs(8), "OBJECTS").
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/format/object_id.h"
#include "engine/names/namespace.h"
#include "engine/pool/pool.h"
#include "fuse/control/object_control.h"
#include "fuse/control/provider.h"

namespace mpoolfs {

// Every committed object of one type as a file that is named by its id. Only root and the pool's
// owner may use them: content is shown whatever the mode of its file in the tree. Data that is
// written to a log of a program is appended, durable on return. Uncommitted mblocks of programs are
// found, too, and can only be written, in whole pages.
//
// An open file keeps its object. An mlog is read as the payloads of its records that were on the
// device when it was opened; its size is shown as 0, because only reading it tells.
class ObjectFiles : public ControlProvider {
 public:
  // Both must outlive it. type: mblock or mlog.
  ObjectFiles(ProgramObjects& objects, mpool::Namespace& names, mpool::ObjectType type);

  Info describe(Node node) const override;
  std::optional<Node> lookup(std::string_view name) const override;
  // The objects that are there when it begins; in ascending order of their ids.
  void list(Node after, const Take& take) const override;
  std::unique_ptr<ControlFile> open(Node node, const mpool::OpenIntent& intent) override;

 private:
  using Ids = std::shared_ptr<const std::vector<mpool::ObjectId>>;

  mpool::ObjectId id_of(Node node) const;
  bool has_node(mpool::ObjectId id) const;
  std::optional<Info> find(mpool::ObjectId id) const;
  Ids ids(Node after) const;

  ProgramObjects& objects_;
  mpool::Pool& pool_;
  mpool::Namespace& names_;
  const mpool::ObjectType type_;
  const std::uint32_t uid_;
  const std::uint32_t gid_;

  mutable std::mutex mutex_;
  mutable Ids listed_;  // of the listing that began last, until it ends
};

}  // namespace mpoolfs
