// The file `.mpool/jobs` (mpoolfs(8), "JOBS").
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/jobs/job.h"
#include "fuse/control/provider.h"

namespace mpoolfs {

// A line for each job, under a heading.
std::string jobs_text(const mpool::JobScheduler& jobs);

// "pause NAME", "resume NAME", "cancel NAME". EINVAL: another command; ENOENT: no such job.
void command_jobs(mpool::JobScheduler& jobs, std::string_view line);

// The scheduler must outlive it.
std::unique_ptr<ControlProvider> make_jobs_file(mpool::JobScheduler& jobs);

}  // namespace mpoolfs
