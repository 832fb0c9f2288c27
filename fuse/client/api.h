// The public header for C++: its `struct mpool` is `mpool_handle` here, because it and the
// namespace of the engine exclude each other. All functions have C linkage, which does not know the
// name.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/param.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uuid/uuid.h>

#define mpool mpool_handle
#include <mpool/mpool.h>
#undef mpool

static_assert(sizeof(mpool_params) == 248);
static_assert(sizeof(mpool_devprops) == 88);
static_assert(sizeof(mpool_usage) == 96);
static_assert(sizeof(mpool_mclass_xprops) == 128);
static_assert(sizeof(mpool_mclass_props) == 48);
static_assert(sizeof(mpool_xprops) == 328);
static_assert(sizeof(mblock_props) == 40);
static_assert(sizeof(mlog_capacity) == 16);
static_assert(sizeof(mlog_props) == 56);
static_assert(sizeof(mdc_capacity) == 16);
static_assert(sizeof(mdc_props) == 32);
static_assert(sizeof(pd_prop) == 128);
static_assert(sizeof(struct mpool_devrpt) == 128);
