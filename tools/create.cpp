// mpool create: makes a pool on block devices or in files.
#include <ostream>

#include <fmt/format.h>
#include <unistd.h>

#include "engine/base/size.h"
#include "engine/pool/path_list.h"
#include "engine/pool/pool.h"
#include "tools/claim.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_access.h"
#include "tools/print.h"
#include "tools/settings.h"

namespace mpool::tools {

namespace {

// A device or file of the new pool.
struct NewDevice {
  std::string path;
  std::optional<std::uint64_t> new_size;  // bytes: the file must be created
};

struct Request {
  CreateOptions options;
  std::vector<NewDevice> devices;  // capacity, then staging
  bool force = false;
  bool json = false;
};

CommandLine create_command_line() {
  CommandLine line(
      "mpool create [OPTIONS] NAME DEV",
      "Makes a pool called NAME on the block device or in the file DEV. A device or file on which\n"
      "anything is recognised is refused. SIZE is in bytes, or with K, M, G, T, P (powers of "
      "1024).",
      {.names = "NAME DEV", .least = 2, .most = 2});
  line.add_value("size", "SIZE", "make DEV as an image file of this size; it must not exist");
  line.add_value("zone-size", "SIZE",
                 "zone size, a power of two from 4K to 1G; default by the size of the device, at "
                 "most 32M");
  line.add_value("staging", "DEV", "a second device or file, for the staging media class");
  line.add_value("staging-size", "SIZE",
                 "make the staging DEV as an image file of this size; it must not exist");
  line.add_value("mdc-count", "N",
                 "number of metadata containers, 1 to 255; default 16, "
                 "fewer on small devices");
  line.add_value("spare", "PCT", "percent of the zones kept as spares, 0 to 100; default 5");
  line.add_value("label", "TEXT", "a label kept in the pool's settings, at most 63 bytes");
  line.add_value("uid", "USER",
                 "owner of the root directory, a number or a name; default: the calling user");
  line.add_value("gid", "GROUP",
                 "group of the root directory, a number or a name; default: that of the caller");
  line.add_value("mode", "MODE", "permissions of the root directory, octal; default 0755");
  line.add_switch("json", "print what was made as JSON");
  line.add_switch(
      "force",
      "overwrite what is on the devices, and allow a name that is taken; devices in use "
      "are refused all the same");
  return line;
}

Request request_from(const CommandLine& line) {
  Request request;
  CreateOptions& options = request.options;
  options.name = line.operands()[0];
  options.zone_size = line.size("zone-size");
  if (const auto count = line.number("mdc-count", 1, kMaxMdcs)) options.mdc_count = *count;
  if (const auto spare = line.number("spare", 0, 100)) options.spare_percent = *spare;
  if (const auto label = line.text("label")) {
    if (label->size() > ConfigRecord::kMaxLabelLength) {
      throw UsageError(fmt::format("--label: {} bytes, at most {} are possible", label->size(),
                                   ConfigRecord::kMaxLabelLength));
    }
    options.label = *label;
  }
  const auto user = line.text("uid");
  options.uid = user ? parse_user("--uid", *user) : ::getuid();
  const auto group = line.text("gid");
  options.gid = group ? parse_group("--gid", *group) : ::getgid();
  if (const auto mode = line.text("mode")) options.mode = parse_mode("--mode", *mode);
  request.devices.push_back({line.operands()[1], line.size("size")});
  const auto staging = line.text("staging");
  const auto staging_size = line.size("staging-size");
  if (staging) {
    request.devices.push_back({*staging, staging_size});
  } else if (staging_size) {
    throw UsageError("--staging-size without --staging");
  }
  request.force = line.has("force");
  request.json = line.has("json");
  return request;
}

// Makes the pool and reads it back. Removes created images on failure.
std::unique_ptr<Pool> make_pool(const Request& request) {
  std::vector<std::unique_ptr<NewImage>> images;
  for (const NewDevice& device : request.devices) {
    if (device.new_size)
      images.push_back(std::make_unique<NewImage>(device.path, *device.new_size));
  }
  // All are claimed before the first is changed.
  std::vector<std::unique_ptr<Device>> devices;
  for (const NewDevice& device : request.devices) {
    devices.push_back(claim_device(device.path, request.force));
  }
  if (request.force) {
    for (auto& device : devices)
      wipe_device(device);
  }
  Pool::create(*devices[0], devices.size() > 1 ? devices[1].get() : nullptr, request.options);
  auto pool = Pool::activate(std::move(devices),
                             {.mdc_count = request.options.mdc_count, .logger = engine_logger()});
  for (auto& image : images)
    image->keep();
  return pool;
}

void print_summary(std::ostream& out, const Pool& pool) {
  std::vector<std::string> paths;
  print_escaped(out, "Pool {} is made.\n  UUID      {}\n", pool.name(), pool.uuid().to_string());
  for (const MediaClass media_class : pool.classes()) {
    const Pool::ClassInfo info = pool.class_info(media_class);
    const std::uint64_t zone_size = info.params.zone_size();
    paths.push_back(info.device_name);
    print_escaped(out, "  {:<9} {}, {}, zones of {}, {} free\n", to_string(media_class),
                  info.device_name, format_size(info.params.device_size), format_size(zone_size),
                  format_size(info.space.free_usable * zone_size));
  }
  const ConfigRecord config = pool.config();
  print_escaped(out, "  root      owner {}:{}, mode {:04o}\n", config.uid, config.gid, config.mode);
  print_escaped(out, "Mount it with:\n  mpoolfs {} MOUNTPOINT\n", join_paths(paths));
}

}  // namespace

int run_create(Context& context, Arguments arguments) {
  CommandLine line = create_command_line();
  if (!line.parse(context, arguments)) return kSuccess;
  const Request request = request_from(line);
  if (request.devices.size() > 1 && same_file(request.devices[0].path, request.devices[1].path)) {
    throw UsageError("--staging: the same device as DEV");
  }
  if (!request.force) {
    std::vector<std::string> paths;
    for (const NewDevice& device : request.devices)
      paths.push_back(device.path);
    refuse_taken_name(request.options.name, paths);
  }

  const auto pool = make_pool(request);
  if (request.json) {
    print_json(context.out, summary_json(*pool));
  } else {
    print_summary(context.out, *pool);
  }
  return kSuccess;
}

}  // namespace mpool::tools
