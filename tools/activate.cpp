// mpool activate, deactivate: whether programs find a pool by name (libmpool(3)).
#include <filesystem>
#include <ostream>
#include <string>

#include "engine/base/error.h"
#include "fuse/client/api.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/print.h"

namespace mpool::tools {

namespace {

// As libmpool(3) knows it: a name, a UUID, or text with a '/'.
std::string pool_for_library(const std::string& operand) {
  constexpr std::string_view kUuidPrefix = "UUID=";
  if (operand.starts_with(kUuidPrefix)) return operand.substr(kUuidPrefix.size());
  std::error_code ignored;  // an inaccessible path is no image
  const bool is_file =
      operand.find('/') == std::string::npos && std::filesystem::is_regular_file(operand, ignored);
  return is_file ? "./" + operand : operand;
}

void check_call(mpool_err_t error, const std::string& pool, const struct mpool_devrpt& report) {
  if (error == 0) return;
  raise(mpool_errno(error), pool, "{}",
        mpool_devrpt_strerror(static_cast<mpool_rc>(report.mdr_rcode)));
}

}  // namespace

int run_activate(Context& context, Arguments arguments) {
  CommandLine line("mpool activate [OPTIONS] POOL",
                   "Makes POOL (a name, UUID=…, or device paths joined with ',') active: programs "
                   "find it by\nname, until it is deactivated or the machine restarts.",
                   {.names = "POOL", .least = 1, .most = 1});
  if (!line.parse(context, arguments)) return kSuccess;
  const std::string& pool = line.operands().front();
  mpool_params params;
  mpool_params_init(&params);
  struct mpool_devrpt report;
  check_call(mpool_activate(pool_for_library(pool).c_str(), &params, 0, &report), pool, report);
  print_escaped(context.out, "Pool {} is active.\n", params.mp_name);
  return kSuccess;
}

int run_deactivate(Context& context, Arguments arguments) {
  CommandLine line("mpool deactivate [OPTIONS] POOL",
                   "Makes POOL (a name, UUID=…, or device paths joined with ',') inactive. No "
                   "program must have\nit open.",
                   {.names = "POOL", .least = 1, .most = 1});
  if (!line.parse(context, arguments)) return kSuccess;
  const std::string& pool = line.operands().front();
  struct mpool_devrpt report;
  check_call(mpool_deactivate(pool_for_library(pool).c_str(), 0, &report), pool, report);
  print_escaped(context.out, "Pool {} is inactive.\n", pool);
  return kSuccess;
}

}  // namespace mpool::tools
