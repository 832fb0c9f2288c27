/* Structures and constants of pools and objects: part of <mpool/mpool.h>. */
#pragma once

#include <mpool/mpool.h>
