"""The reaper's measurement: Zipf reads through mappings in a memory cgroup, beside a compaction."""

import contextlib
import json
import os
import pathlib
import subprocess

import machine
from machine import MIB, BenchError

FILE_SIZE = 32 * MIB
PARTS_IN_MEMORY = 4  # the limit is the data divided by this
THREADS = 2
# The memory of the programs themselves.
PROGRAM_MEMORY = 8 * MIB
CGROUPS_1 = pathlib.Path("/sys/fs/cgroup/memory")
CGROUPS_2 = pathlib.Path("/sys/fs/cgroup")

# The settings of a mount that are compared: name, target, tunables.
OFF = {"reap_mempct": "100"}
CASES = (
    ("ext4", "ext4", {}),
    ("off", "mpoolfs-native", OFF),
    ("on", "mpoolfs-native", {"reap_mempct": "0", "reap_ttl": "10000000"}),
    ("on-90", "mpoolfs-native", {"reap_mempct": "90", "reap_ttl": "10000000"}),
    ("on-short", "mpoolfs-native", {"reap_mempct": "0", "reap_ttl": "1000"}),
)


class MemoryCgroup:
    """A memory cgroup of v1 or v2; removed with the stack."""

    def __init__(self, stack, limit):
        v1 = (CGROUPS_1 / "memory.limit_in_bytes").exists()
        controllers = CGROUPS_2 / "cgroup.controllers"
        if not v1 and (not controllers.exists() or "memory" not in controllers.read_text().split()):
            raise BenchError("there is no memory cgroup: neither v1 nor v2 is mounted")
        if not v1:
            (CGROUPS_2 / "cgroup.subtree_control").write_text("+memory")
        self.path = (CGROUPS_1 if v1 else CGROUPS_2) / f"mpoolfs-bench-{os.getpid()}"
        self.path.mkdir()
        stack.callback(self.path.rmdir)
        (self.path / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(str(limit))

    def start(self, *command, **more):
        """Runs a program in it."""
        script = f'echo $$ > {self.path}/cgroup.procs && exec "$@"'
        return subprocess.Popen(["sh", "-c", script, "sh", *map(str, command)], text=True, **more)


def reader(cgroup, load, seconds, files):
    done = cgroup.start(load, "read", seconds, THREADS, *files, stdout=subprocess.PIPE)
    out, _ = done.communicate()
    if done.returncode != 0:
        raise BenchError(f"cache_load: exit {done.returncode}")
    return json.loads(out)


@contextlib.contextmanager
def compaction(cgroup, load, output, files):
    process = cgroup.start(load, "rewrite", output, *files)
    try:
        yield
        if process.poll() is not None:
            raise BenchError("the compaction has ended")
    finally:
        process.terminate()
        process.wait()
        output.unlink(missing_ok=True)


def measure_case(target, tunables, cgroup, load, seconds, files):
    """Files are opened again after a warm-up, as a store opens its files in the course of time."""
    for name, value in tunables.items():
        (target.root / ".mpool" / "tunable" / name).write_text(f"{value}\n")
    if tunables:
        (target.root / ".mpool" / "tunable" / "reap_cgroup").write_text(f"{cgroup.path}\n")
    machine.drop_caches()
    with compaction(cgroup, load, target.root / "compacted", files):
        reader(cgroup, load, seconds / 2, files)
        found = reader(cgroup, load, seconds, files)
    if tunables:
        status = json.loads((target.root / ".mpool" / "status.json").read_text())
        found["reaper"] = status["reaper"]
        (target.root / ".mpool" / "tunable" / "reap_cgroup").write_text("-\n")
    return found


def median(samples, name):
    values = sorted(sample[name] for sample in samples)
    return values[len(values) // 2]


def table(samples):
    lines = [f"{'case':12}{'reads/s':>10}{'ratio':>8}{'p50 us':>10}{'p99 us':>10}{'p99.99 us':>12}{'ratio':>8}"]
    base = samples["off"]
    for name, found in samples.items():
        reads, tail = median(found, "reads_per_second"), median(found, "p9999")
        lines.append(f"{name:12}{reads:10.0f}{reads / median(base, 'reads_per_second'):8.2f}"
                     f"{median(found, 'p50'):10.1f}{median(found, 'p99'):10.0f}"
                     f"{tail:12.0f}{tail / median(base, 'p9999'):8.2f}")
    return "\n".join(lines)


def check(stack, place, settings, chosen, load, repeats):
    """Prints the table; ratios are to the reaper switched off."""
    targets = {target.name: target for target in chosen}
    files = {}
    for target in chosen:
        target.start(stack, place, settings)
        files[target.name] = []
        for number in range(settings.size // FILE_SIZE):
            path = target.root / f"data{number}"
            machine.write_file(path, FILE_SIZE)
            files[target.name].append(path)
        target.settle()
    cgroup = MemoryCgroup(stack, settings.size // PARTS_IN_MEMORY + PROGRAM_MEMORY)
    samples = {name: [] for name, _, _ in CASES}
    for repeat in range(repeats):
        order = CASES[repeat % len(CASES):] + CASES[:repeat % len(CASES)]
        for name, target, tunables in order:
            samples[name].append(measure_case(targets[target], tunables, cgroup, load,
                                              settings.seconds, files[target]))
    print(table(samples))
    return samples
