"""The reaper's measurement: Zipf reads through mappings in a memory cgroup, beside a compaction."""

import contextlib
import dataclasses
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

FILES_OF_MAP = 32

OFF = {"reap_mempct": "100"}
ON = {"reap_mempct": "0", "reap_ttl": "10000000"}
ON_90 = {"reap_mempct": "90", "reap_ttl": "10000000"}
SHORT = {"reap_mempct": "0", "reap_ttl": "1000"}


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of the table.

    advice: of maps that are read in place of the files; random: MADV_RANDOM"""

    name: str
    target: str
    tunables: dict = dataclasses.field(default_factory=dict)
    advice: str = None
    random: bool = False


CASES = (
    Case("ext4", "ext4"),
    Case("off", "mpoolfs-native", OFF),
    Case("on", "mpoolfs-native", ON),
    Case("on-90", "mpoolfs-native", ON_90),
    Case("on-short", "mpoolfs-native", SHORT),
    Case("maps-off", "mpoolfs-native", OFF, advice="cold"),
    Case("maps-on", "mpoolfs-native", ON, advice="hot"),
    Case("maps-short", "mpoolfs-native", SHORT, advice="hot"),
    Case("ext4-rand", "ext4", random=True),
    Case("off-rand", "mpoolfs-native", OFF, random=True),
    Case("maps-rand-off", "mpoolfs-native", OFF, advice="cold", random=True),
    Case("maps-rand-on", "mpoolfs-native", SHORT, advice="hot", random=True),
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


def reader(cgroup, load, case, seconds, files):
    how = "read-random" if case.random else "read"
    done = cgroup.start(load, how, seconds, THREADS, *files, stdout=subprocess.PIPE)
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


@contextlib.contextmanager
def maps(mpool, root, advice, files):
    """The paths of maps of the files."""
    names = []
    try:
        for first in range(0, len(files), FILES_OF_MAP):
            name = f"bench{first}"
            machine.run(mpool, "map", "create", "--advice", advice, root, name,
                        *files[first:first + FILES_OF_MAP])
            names.append(root / ".mpool" / "map" / name)
        yield names
    finally:
        for name in names:
            name.unlink()


def measure_case(target, case, cgroup, load, settings, files):
    """Files are opened again after a warm-up, as a store opens its files in the course of time."""
    for name, value in case.tunables.items():
        (target.root / ".mpool" / "tunable" / name).write_text(f"{value}\n")
    if case.tunables:
        (target.root / ".mpool" / "tunable" / "reap_cgroup").write_text(f"{cgroup.path}\n")
    machine.drop_caches()
    with contextlib.ExitStack() as stack:
        read = files
        if case.advice:
            read = stack.enter_context(maps(settings.mpool, target.root, case.advice, files))
        stack.enter_context(compaction(cgroup, load, target.root / "compacted", files))
        reader(cgroup, load, case, settings.seconds / 2, read)
        found = reader(cgroup, load, case, settings.seconds, read)
    if case.tunables:
        status = json.loads((target.root / ".mpool" / "status.json").read_text())
        found["reaper"] = status["reaper"]
        (target.root / ".mpool" / "tunable" / "reap_cgroup").write_text("-\n")
    return found


def median(samples, name):
    values = sorted(sample[name] for sample in samples)
    return values[len(values) // 2]


def table(samples):
    lines = [f"{'case':14}{'reads/s':>10}{'ratio':>8}{'p50 us':>10}{'p99 us':>10}{'p99.99 us':>12}{'ratio':>8}"]
    base = samples["off"]
    for name, found in samples.items():
        reads, tail = median(found, "reads_per_second"), median(found, "p9999")
        lines.append(f"{name:14}{reads:10.0f}{reads / median(base, 'reads_per_second'):8.2f}"
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
    samples = {case.name: [] for case in CASES}
    for repeat in range(repeats):
        order = CASES[repeat % len(CASES):] + CASES[:repeat % len(CASES)]
        for case in order:
            samples[case.name].append(measure_case(targets[case.target], case, cgroup, load,
                                                   settings, files[case.target]))
    print(table(samples))
    return samples
