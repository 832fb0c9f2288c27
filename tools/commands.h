// The mpool command and its sub-commands. Each sub-command takes the arguments after its name,
// writes to the context only, and returns the exit status. Failures are thrown: UsageError
// (command_line.h) and mpool::Error; run_mpool() turns them into messages and exit statuses.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tools/context.h"

namespace mpool::tools {

using Arguments = std::span<const std::string>;

int run_create(Context& context, Arguments arguments);
int run_list(Context& context, Arguments arguments);
int run_info(Context& context, Arguments arguments);
int run_destroy(Context& context, Arguments arguments);
int run_dump(Context& context, Arguments arguments);
int run_check(Context& context, Arguments arguments);
int run_add(Context& context, Arguments arguments);
int run_rename(Context& context, Arguments arguments);
int run_grow(Context& context, Arguments arguments);
int run_set(Context& context, Arguments arguments);
int run_get(Context& context, Arguments arguments);
int run_df(Context& context, Arguments arguments);
int run_stat(Context& context, Arguments arguments);
int run_activate(Context& context, Arguments arguments);
int run_deactivate(Context& context, Arguments arguments);
int run_object(Context& context, Arguments arguments);
int run_log(Context& context, Arguments arguments);
int run_mdc(Context& context, Arguments arguments);
int run_map(Context& context, Arguments arguments);

struct SubCommand {
  std::string_view name;
  std::string_view summary;  // one line
  int (*run)(Context&, Arguments);
  // Exit statuses for an Error and a UsageError.
  int failure = kFailure;
  int usage = kUsage;
};
std::span<const SubCommand> sub_commands();

// `mpool ARGUMENTS`. Never throws except std::bad_alloc.
int run_mpool(Context& context, Arguments arguments);

}  // namespace mpool::tools
