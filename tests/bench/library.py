"""Programs on objects: libmpool in the process, libmpool through a mount, and files of ext4."""

import dataclasses
import json
import pathlib
import re
import subprocess

import machine
import targets
from machine import MIB, BenchError

MAX_MAP_COUNT = pathlib.Path("/proc/sys/vm/max_map_count")
# Two mappings for each member, and those of the program.
MAPPINGS = 1 << 20
PIECE = MIB  # of the data: an mblock or a file
MEMBERS = 32  # of a map
APPEND_BAR_NS = 2000  # of an asynchronous append with the engine in the process


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table. command: of library_load; cold: the caches are dropped before."""

    name: str
    what: str
    unit: str
    command: tuple
    cold: bool = False


def rows(settings, maps):
    """`maps`: their number."""
    seconds, names = str(settings.seconds), "NAMES"
    found = [Row(f"commit-{threads}", f"durable mblocks (files) of 4 KiB, {threads} threads", "1/s",
                 ("commits", str(threads), str(settings.files))) for threads in (1, 2, 4, 8, 16)]
    return found + [
        Row("append-async", "appends of 100 bytes", "1/s", ("appends", "async", "1", "100", seconds)),
        Row("append-sync", "the same, each durable", "1/s", ("appends", "sync", "1", "100", seconds)),
        Row("append-sync-8x4000", "durable appends of 4,000 bytes, 8 threads", "1/s",
            ("appends", "sync", "8", "4000", seconds)),
        Row("read-direct", "values of 1 to 4 KiB by direct reads", "1/s",
            ("read", "direct", seconds, names), cold=True),
        Row("read-mapped-cold", "the same from maps, cold", "1/s", ("read", "mapped", seconds, names), cold=True),
        Row("read-mapped-warm", "the same from maps, warm", "1/s", ("read", "warm", seconds, names)),
        Row("maps", f"{maps} maps of {MEMBERS} made", "1/s", ("maps", str(maps), names), cold=True),
    ]


class Libmpool(targets.Target):
    """The engine in the program's process, on the image."""

    def start(self, stack, place, settings):
        self.backing = place.device(self.name)
        machine.run(settings.mpool, "create", pool_of(self), self.backing)
        machine.run(settings.mpool, "activate", self.backing)
        stack.callback(machine.run, settings.mpool, "deactivate", pool_of(self))


def pool_of(target):
    return "bench-" + target.name


def all_targets():
    """In the order of the table; ratios are to the last."""
    return [Libmpool("libmpool"), targets.Mpoolfs("mpoolfs-native", "uring", "on"),
            targets.KernelFileSystem("ext4", targets.MAKE_EXT4)]


def _memory_of(pid, field):
    found = re.search(rf"^{field}:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.M)
    return int(found[1])


def _slab():
    return int(re.search(r"^Slab:\s+(\d+) kB", pathlib.Path("/proc/meminfo").read_text(encoding="ascii"), re.M)[1])


class Subject:
    """A target, and what library_load has put there."""

    def __init__(self, target, program, settings):
        self.target = target
        self._program = program
        is_pool = target.root is None or isinstance(target, targets.Mpoolfs)
        self._store = f"pool:{pool_of(target)}" if is_pool else f"files:{target.root}"
        self._names = settings.work / f"{target.name}.names"
        self._names.write_text(machine.run(program, self._store, "make", settings.size), encoding="ascii")
        target.settle()

    def _words(self, row):
        words = [str(self._names) if word == "NAMES" else word for word in row.command]
        return [str(self._program), self._store, *words]

    def measure(self, row):
        if row.cold:
            machine.drop_caches()
        if row.command[0] == "maps":
            return self._measure_maps(row)
        return json.loads(machine.run(*self._words(row)))

    def _measure_maps(self, row):
        """What the program, the daemon and the kernel take for the maps, while they are there."""
        daemon = self.target.daemon
        before = _memory_of(daemon.pid, "VmRSS") if daemon else 0
        slab = _slab()
        process = subprocess.Popen(self._words(row), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline()
            if line:
                found = json.loads(line)
                found["slab_kib"] = _slab() - slab
                found["daemon_kib"] = _memory_of(daemon.pid, "VmRSS") - before if daemon else 0
                found["program_kib"] = _memory_of(process.pid, "VmRSS")
                with open(f"/proc/{process.pid}/maps", encoding="utf-8") as mappings:
                    found["vmas"] = sum(1 for _ in mappings)
        finally:
            _, said = process.communicate()
        if not line or process.returncode != 0:
            raise BenchError(f"library_load (exit {process.returncode}): {said.strip()}")
        return found


def median(samples, name):
    values = sorted(sample[name] for sample in samples)
    return values[len(values) // 2]


def table(lines, names, samples):
    head = f"{'row':20}" + "".join(f"{name:>16}" for name in names) + "   unit"
    head += "".join(f"{name + '/' + names[-1]:>22}" for name in names[:-1])
    text = [head]
    for row in lines:
        rates = [median(samples[row.name][name], "rate") for name in names]
        line = f"{row.name:20}" + "".join(f"{rate:16,.0f}" for rate in rates) + f"   {row.unit:4}"
        text.append(line + "".join(f"{rate / rates[-1]:22.2f}" for rate in rates[:-1]))
    text.append("")
    maps = samples["maps"]
    for field in ("vmas", "slab_kib", "program_kib", "daemon_kib"):
        text.append(f"maps: {field:14}" + "".join(f"{median(maps[name], field):16,.0f}" for name in names))
    for name in names[:2]:
        spent = 1e9 / median(samples["append-async"][name], "rate")
        bar = "" if name != "libmpool" else f", bar {APPEND_BAR_NS}: {'OK' if spent < APPEND_BAR_NS else 'MISS'}"
        text.append(f"{name}: {spent:,.0f} ns for an asynchronous append{bar}")
    return "\n".join(text)


def check(stack, place, settings, chosen, program, maps, repeats):
    """Prints the table; returns the samples, by row and target."""
    machine.set_kernel_switch(stack, MAX_MAP_COUNT, str(MAPPINGS))
    subjects = []
    for target in chosen:
        target.start(stack, place, settings)
        subjects.append(Subject(target, program, settings))
    lines = rows(settings, maps)
    samples = {row.name: {target.name: [] for target in chosen} for row in lines}
    for repeat in range(repeats):
        shift = repeat % len(subjects)
        for row in lines:
            for subject in subjects[shift:] + subjects[:shift]:
                samples[row.name][subject.target.name].append(subject.measure(row))
    print(table(lines, [target.name for target in chosen], samples))
    return samples
