// Where MDC0..N end, written down in the root MDC, so that a later mount notices when the end of
// one is gone (engine/tree/records.md, "Ends of MDCs").
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/mlog/mdc.h"
#include "engine/tree/records.h"

namespace mpool::names {

MdcEnd end_of(const Mdc::State& state);

// Describes the loss since the record was written, one sentence for each MDC; `now`: the present
// ends of MDC0..N.
std::vector<std::string> lost_since(const MdcEndsRecord& record, std::span<const MdcEnd> now);

}  // namespace mpool::names
