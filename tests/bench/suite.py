"""All workloads, with the bars of the project."""

from name_workloads import NameChanges, NameChangesBesideDuplicates, SmallFiles, Stat
from tree_workloads import Checkout, CreateByProcesses, Remove, Rsync, StatMissing, TarExtract
from workloads import CopyIn, CopyOut, FioRead, FioReadBesideWriter, FioWrite, OpenClose, OpenReadOnce


def all_workloads():
    """In the order of the table; bars as the project's plan has them."""
    random_direct = {"rw": "randread", "bs": "4k", "direct": 1, "kind": "direct", "unit": "IOPS"}
    sequential_direct = {"rw": "read", "bs": "1M", "direct": 1, "kind": "direct", "unit": "MiB/s"}
    cold = {"kind": "cold", "unit": "MiB/s", "rw": "read", "direct": 0}
    cold_random = {"kind": "cold", "unit": "IOPS", "rw": "randread", "bs": "4k", "direct": 0}
    return [
        FioRead("randread-4k-qd1", "random read 4k direct, QD1", ioengine="psync", bar=(0.90, 1.0),
                **random_direct),
        FioRead("randread-4k-qd32", "random read 4k direct, QD32, 1 job", ioengine="async", iodepth=32,
                bar=(0.70, 0.90), **random_direct),
        FioRead("randread-4k-qd32-2jobs", "random read 4k direct, QD32, 2 jobs", ioengine="async", iodepth=32,
                jobs=2, bar=(0.85, 0.95), memory_bar=(0.45, 0.75), **random_direct),
        FioRead("read-1m-qd1", "sequential read 1M direct, QD1", ioengine="psync", bar=(0.95, 1.0),
                **sequential_direct),
        FioRead("read-1m-qd4", "sequential read 1M direct, QD4", ioengine="async", iodepth=4, bar=(0.95, 1.0),
                **sequential_direct),
        FioRead("cold-seq-128k", "cold buffered sequential, 128k", ioengine="psync", bs="128k", bar=(0.75, 0.95),
                **cold),
        FioRead("cold-seq-1m", "cold buffered sequential, 1M", ioengine="psync", bs="1M", bar=(0.75, 0.95), **cold),
        FioRead("mmap-seq", "mmap cold sequential, 4k", ioengine="mmap", bs="4k", bar=(0.75, 0.95), **cold),
        FioRead("mmap-random", "mmap cold random 4k", ioengine="mmap", bar=(0.90, 1.0), **cold_random),
        FioRead("cold-random-4k", "buffered cold random 4k", ioengine="psync", bar=(0.90, 1.0), **cold_random),
        FioRead("warm-random-4k", "warm random 4k", kind="warm", unit="IOPS", rw="randread", bs="4k", direct=0,
                ioengine="psync", bar=(0.95, 1.0)),
        FioReadBesideWriter("randread-4k-beside-writer", "random read 4k direct, QD8, beside a writer at full speed",
                            ioengine="async", iodepth=8, **random_direct),
        OpenClose("open-close", "open and close of a committed file", "opens/s"),
        OpenReadOnce("open-read-1m", "files of 1 MiB opened, read and closed once, cold", "files/s"),
        FioWrite("write-1m-qd1", "sequential write 1M of a new file, QD1", "MiB/s", sized=False, bar=(0.95, 1.0),
                 rw="write", bs="1M", ioengine="psync"),
        FioWrite("write-1m-qd4", "sequential write 1M of a new file, QD4", "MiB/s", sized=True, bar=(0.95, 1.0),
                 rw="write", bs="1M", ioengine="async", iodepth=4),
        FioWrite("randwrite-once-4k-qd32", "random write-once 4k of a new file, QD32", "IOPS", sized=True,
                 bar=(0.60, 0.85), rw="randwrite", bs="4k", ioengine="async", iodepth=32, random_generator="lfsr"),
        CopyIn("cp-in", "cp of a large file in, with fsync", "MiB/s"),
        CopyOut("cp-out", "cp of a large file out, cold", "MiB/s"),
        SmallFiles("create-4k", "create, write and close of files of 4 KiB", "files/s", removing=False),
        *(CreateByProcesses(processes, spread) for spread in (False, True) for processes in (1, 2, 8)),
        StatMissing(),
        TarExtract(),
        Checkout(),
        Rsync(),
        Remove(),
        Stat("stat-cold", "stat of a large tree, cold", "files/s", warm=False),
        Stat("stat-warm", "stat of a large tree, warm", "files/s", warm=True),
        SmallFiles("rm", "rm -r of files of 4 KiB", "files/s", removing=True),
        NameChanges("mkdir-rename-fsync", "mkdir, rename and fsync of a directory", "times/s"),
        NameChangesBesideDuplicates("mkdir-rename-fsync-beside-duplicates",
                                    "the same while duplicates of a descriptor are written to and closed", "times/s"),
    ]
