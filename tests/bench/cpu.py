"""CPU time: of the whole machine and of one process."""

import dataclasses
import os
import pathlib
import resource
import time

_TICK = 1 / os.sysconf("SC_CLK_TCK")
# Fields of /proc/stat: user, nice, system, irq, softirq. The others are idle, waiting, stolen by
# other machines, or included in these already.
_BUSY_FIELDS = (1, 2, 3, 6, 7)


def machine_seconds():
    """CPU time spent by all CPUs since the start of the machine."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = file.readline().split()
    return sum(int(fields[i]) for i in _BUSY_FIELDS) * _TICK


def process_seconds(pid):
    """CPU time of a process and its threads, including ended threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def children_seconds():
    """CPU time of all ended child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def threads_nanoseconds(pid):
    """CPU time of the living threads of a process, finer than process_seconds."""
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0])
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


def memory_bytes(pid):
    """Resident and proportional set size."""
    values = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]:
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0]) * 1024
    return values["Rss"], values["Pss"]


def busy_share(seconds):
    """The present busy share of all CPUs, while the bench does nothing."""
    before = machine_seconds()
    time.sleep(seconds)
    return (machine_seconds() - before) / seconds / os.cpu_count()


@dataclasses.dataclass
class Usage:
    seconds: float = 0.0
    machine: float = 0.0
    daemon: float | None = None


class Meter:
    """Measures the code inside the with block."""

    def __init__(self, daemon):
        self._pid = daemon.pid if daemon else None
        self.usage = Usage()

    def __enter__(self):
        self._machine = machine_seconds()
        self._daemon = process_seconds(self._pid) if self._pid else None
        self._start = time.perf_counter()
        return self

    def __exit__(self, kind, *_):
        self.usage.seconds = time.perf_counter() - self._start
        self.usage.machine = machine_seconds() - self._machine
        if self._pid and kind is None:
            self.usage.daemon = process_seconds(self._pid) - self._daemon
