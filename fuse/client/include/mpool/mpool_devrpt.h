/* Reports about devices: part of <mpool/mpool.h>. */
#pragma once

#include <mpool/mpool.h>
