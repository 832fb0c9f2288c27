#include "fuse/control/jobs_file.h"

#include <cerrno>
#include <iterator>

#include <fmt/format.h>

#include "engine/base/error.h"

namespace mpoolfs {

std::string jobs_text(const mpool::JobScheduler& jobs) {
  constexpr const char* kLine = "{:<18} {:<8} {:<9} {:>9} {:>9} {:>15} {:>12}\n";
  std::string text =
      fmt::format(kLine, "name", "state", "priority", "done", "total", "bytes", "bytes/s");
  for (const mpool::JobInfo& job : jobs.list()) {
    const std::uint64_t budget = job.options.bytes_per_second;
    fmt::format_to(std::back_inserter(text), kLine, job.options.name, to_string(job.state),
                   to_string(job.options.priority), job.done, job.total, job.bytes,
                   budget == 0 ? "-" : std::to_string(budget));
  }
  return text;
}

void command_jobs(mpool::JobScheduler& jobs, std::string_view line) {
  const std::size_t blank = line.find(' ');
  const std::string_view verb = line.substr(0, blank);
  const std::string_view name =
      blank == std::string_view::npos ? std::string_view() : line.substr(blank + 1);
  if (verb == "pause") return jobs.pause(name);
  if (verb == "resume") return jobs.resume(name);
  if (verb == "cancel") return jobs.cancel(name);
  mpool::raise(EINVAL, "jobs", "'{}' is not 'pause', 'resume' or 'cancel' and a name", line);
}

std::unique_ptr<ControlProvider> make_jobs_file(mpool::JobScheduler& jobs) {
  return std::make_unique<TextFile>([&jobs] { return jobs_text(jobs); },
                                    [&jobs](std::string_view line) { command_jobs(jobs, line); });
}

}  // namespace mpoolfs
