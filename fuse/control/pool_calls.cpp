// The calls of a session that concern the pool, and those that keep objects.
#include <cstring>
#include <span>

#include "fuse/client/pool_facts.h"
#include "fuse/control/call_structures.h"
#include "fuse/control/object_session.h"

namespace mpoolfs {

namespace {

using mpool::ObjectId;

static_assert(sizeof(mpool_ioc_class) == 1144 && sizeof(mpool_ioc_pool) == 2520);
static_assert(sizeof(mpool_ioc_usage) == 64 && sizeof(mpool_ioc_settings) == 144);
static_assert(sizeof(mpool_ioc_use) == 32 && sizeof(mpool_ioc_pin) == 1056);

constexpr std::uint32_t kKnownSettings = MPOOL_IOC_SET_UID | MPOOL_IOC_SET_GID |
                                         MPOOL_IOC_SET_MODE | MPOOL_IOC_SET_LABEL |
                                         MPOOL_IOC_SET_USER_TYPE | MPOOL_IOC_SET_READAHEAD |
                                         MPOOL_IOC_SET_SPARE_STAGING | MPOOL_IOC_SET_SPARE_CAPACITY;

}  // namespace

void ObjectSession::call(mpool_ioc_pool& pool) {
  pool = libmpool::facts_of(objects_.client().pool(), objects_.holds_tree());
}

void ObjectSession::call(mpool_ioc_usage& usage) {
  usage = libmpool::usage_of(objects_.client().pool());
}

void ObjectSession::change_settings(const mpool_ioc_settings& wanted) {
  check_flags(wanted.given, kKnownSettings);
  check_zero(wanted.reserved0);
  check_zero(wanted.reserved);
  const auto check_absent = [&](std::uint32_t flag, const auto& field) {
    if ((wanted.given & flag) == 0) check_zero(field);
  };
  check_absent(MPOOL_IOC_SET_UID, wanted.uid);
  check_absent(MPOOL_IOC_SET_GID, wanted.gid);
  check_absent(MPOOL_IOC_SET_MODE, wanted.mode);
  check_absent(MPOOL_IOC_SET_READAHEAD, wanted.readahead);
  check_absent(MPOOL_IOC_SET_SPARE_STAGING, wanted.spare_percent[MPOOL_IOC_STAGING]);
  check_absent(MPOOL_IOC_SET_SPARE_CAPACITY, wanted.spare_percent[MPOOL_IOC_CAPACITY]);
  check_absent(MPOOL_IOC_SET_USER_TYPE, wanted.user_type);
  check_absent(MPOOL_IOC_SET_LABEL, wanted.label);
  check(std::memchr(wanted.label, '\0', sizeof wanted.label) != nullptr, "a label without end");
  objects_.check_writable();
  const auto is_own_group = [this](gid_t group) { return group == caller_.gid; };
  libmpool::change_settings(objects_.client().pool(), wanted,
                            {.uid = caller_.uid, .is_in_group = is_own_group},
                            objects_.holds_tree());
  objects_.settings_changed();
}

void ObjectSession::use_pool(const mpool_ioc_use& wanted) {
  check_zero(wanted.reserved0);
  check_zero(wanted.reserved);
  check(wanted.mode <= MPOOL_IOC_EXCLUSIVE, "no such use");
  // What a program that has ended leaves is gone before another one begins.
  if (wanted.mode != MPOOL_IOC_UNUSED) objects_.settle();
  const std::lock_guard lock(use_mutex_);
  objects_.use(use_, wanted.mode);
}

void ObjectSession::call(mpool_ioc_pin& pin) {
  check_zero(pin.reserved);
  check(pin.count > 0 && pin.count <= MPOOL_IOC_PINS, "no such number of mblocks");
  for (const std::uint64_t id : std::span(pin.objid).subspan(pin.count))
    check_zero(id);
  mpool::Pool& pool = objects_.client().pool();
  std::memset(pin.written, 0, sizeof pin.written);
  const auto opened = std::make_shared<Opened>();
  for (std::uint32_t i = 0; i < pin.count; ++i) {
    const ObjectId id{pin.objid[i]};
    check(id.is_mblock(), "not the id of an mblock");
    opened->pins.emplace_back(pool, id);
    pin.written[i] = pool.find(id)->written_length;
  }
  pin.handle = add(opened);
}

}  // namespace mpoolfs
