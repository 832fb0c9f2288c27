#!/usr/bin/env python3
"""mpoolfs beside the device it is on and beside other file systems, in one run. See README.md."""

import argparse
import contextlib
import fnmatch
import os
import pathlib
import platform
import shutil
import sys
import tempfile

import cache
import cpu
import idle
import library
import machine
import report
import suite
import targets
import workloads
from machine import MIB, BenchError

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
CALM_SECONDS = 1
SMOKE_MAPS = 20


def size_of(text):
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 1)
    if not number.isdigit() or int(number) * unit < MIB or int(number) * unit % MIB:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in whole MiB such as 512M or 1G")
    return int(number) * unit


def positive(kind):
    def parse(text):
        value = kind(text)
        if value <= 0:
            raise ValueError
        return value

    parse.__name__ = f"positive {kind.__name__}"
    return parse


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", choices=("file", "loop", "memory"), default="file",
                        help="where the images lie: files, loop devices with direct I/O over files, a tmpfs "
                             "(default file)")
    parser.add_argument("--directory", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()),
                        help="on the disk to measure; all is made below it and removed (default %(default)s)")
    parser.add_argument("--build", type=pathlib.Path,
                        help="build directory with mpool and mpoolfs (default: $MPOOL and $MPOOLFS)")
    parser.add_argument("--targets",
                        help="names or patterns, separated by commas "
                             f"(default {','.join(targets.DEFAULT_TARGETS)})")
    parser.add_argument("--workloads", default="*", help="names or patterns, separated by commas (default all)")
    parser.add_argument("--base", help="what ratios refer to (default raw, ext4 where there have to be files)")
    parser.add_argument("--repeats", type=positive(int), default=5, help="default %(default)s")
    parser.add_argument("--size", type=size_of, help="of the data (default 512M, in memory 256M)")
    parser.add_argument("--seconds", type=positive(float), default=1.0,
                        help="longest time of a read; a write may take three times that (default %(default)s)")
    parser.add_argument("--files", type=positive(int), default=1000, help="small files (default %(default)s)")
    parser.add_argument("--tree", type=positive(int), default=20000,
                        help="files for stat (default %(default)s)")
    parser.add_argument("--engine", choices=("libaio", "io_uring"),
                        help="of fio, for depths above 1 (default libaio, in memory io_uring)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write all results there, too")
    parser.add_argument("--list", action="store_true", help="show targets and workloads")
    parser.add_argument("--idle", action="store_true", help="CPU time and memory of idle daemons on an empty pool")
    parser.add_argument("--cache", action="store_true",
                        help="Zipf reads in a memory cgroup of a quarter of the data beside a compaction: the reaper")
    parser.add_argument("--library", action="store_true",
                        help="programs on objects: libmpool in the process and through a mount, beside ext4")
    parser.add_argument("--maps", type=positive(int), default=2350,
                        help="maps of 32 members, of --library (default %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="everything once and tiny: shows that the bench works")
    return parser, parser.parse_args()


def choose(everything, patterns, what):
    """The items whose name matches one of the patterns; each pattern must match at least one."""
    chosen = []
    for pattern in patterns.split(","):
        found = [one for one in everything if fnmatch.fnmatch(one.name, pattern)]
        if not found:
            raise BenchError(f"no {what} is called {pattern}: see --list")
        chosen += found
    return [one for one in everything if one in chosen]


def targets_of(options):
    return options.targets or ",".join(targets.SMOKE_TARGETS if options.smoke else targets.DEFAULT_TARGETS)


def programs_of(build):
    if build:
        found = {"MPOOL": build / "tools" / "mpool", "MPOOLFS": build / "fuse" / "mpoolfs"}
    else:
        found = {name: pathlib.Path(os.environ.get(name, "")) for name in ("MPOOL", "MPOOLFS")}
    for name, path in found.items():
        if not path.is_file():
            raise BenchError(f"no program {path}" if build else f"--build or ${name} is needed")
    return [str(path.resolve()) for path in found.values()]


def engine_of(options):
    """On tmpfs, libaio performs each request during its submission: the depth would always be 1."""
    return options.engine or ("io_uring" if options.on == "memory" else "libaio")


def settings_of(options):
    mpool, mpoolfs = programs_of(options.build)
    engine = engine_of(options)
    if options.smoke:
        return workloads.Settings(mpool, mpoolfs, size=32 * MIB, seconds=0.2, files=20, tree=300,
                                  engine=engine)
    size = options.size or (256 * MIB if options.on == "memory" else 512 * MIB)
    return workloads.Settings(mpool, mpoolfs, size=size, seconds=options.seconds, files=options.files,
                              tree=options.tree, engine=engine)


class Progress:
    """One line on a terminal; nothing in a file."""

    def __init__(self, steps):
        self._steps = steps
        self._step = 0
        self._shown = sys.stderr.isatty()

    def step(self, text):
        self._step += 1
        if self._shown:
            print(f"\r\033[K[{self._step}/{self._steps}] {text}", end="", file=sys.stderr, flush=True)

    def message(self, text):
        print(("\r\033[K" if self._shown else "") + text, file=sys.stderr, flush=True)

    def end(self):
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def check_programs(chosen, picked=()):
    targets.require_programs("fio", "losetup", *(program for one in (*chosen, *picked) for program in one.programs))


def prepare(stack, options, settings):
    """The directory of this run, below the requested one, and a tmpfs for data to copy."""
    settings.work = pathlib.Path(tempfile.mkdtemp(prefix="mpoolfs-bench-", dir=options.directory)).resolve()
    stack.callback(shutil.rmtree, settings.work)
    settings.memory = settings.work / "copies"
    settings.memory.mkdir()
    machine.mount(stack, "-t", "tmpfs", "-o", "size=90%", "mpoolfs-bench", mount_point=settings.memory)


def check_room(options, settings, chosen):
    wanted = targets.image_size(settings) * len(chosen)
    free = shutil.disk_usage(options.directory).free
    if options.on != "memory" and wanted > free:
        raise BenchError(f"{options.directory} has {free >> 20} MiB free, {wanted >> 20} are needed: "
                         "smaller --size, fewer --targets or another --directory")


def start(stack, place, settings, chosen, progress):
    """Makes all targets with their data. If that fails for one, it is reported, with the reason in
    each line."""
    failed = {}
    for target in chosen:
        progress.step(f"making {target.name}")
        try:
            target.start(stack, place, settings)
            target.make_data(settings)
            target.settle()
        except (BenchError, OSError) as error:
            failed[target.name] = str(error)
            progress.message(f"{target.name} cannot be measured: {error}")
    return failed


def measure(results, settings, repeats, failed, progress):
    """All repeats: in each, the targets of a workload one after the other, beginning with a
    different one each time."""
    for repeat in range(repeats):
        shift = repeat % len(results.targets)
        order = results.targets[shift:] + results.targets[:shift]
        for workload in results.workloads:
            for target in order:
                progress.step(f"repeat {repeat + 1}: {workload.name} on {target.name}")
                cell = results.cell(workload, target.name)
                if target.name in failed:
                    cell.error = failed[target.name]
                elif (target.root or not workload.needs_files) and cell.error is None:
                    measure_once(cell, workload, target, settings, repeat, progress)


def measure_once(cell, workload, target, settings, repeat, progress):
    try:
        cell.samples.append(workload.measure(target, settings, repeat))
    except (BenchError, OSError) as error:
        cell.error = str(error)
        progress.message(f"{workload.name} on {target.name}: {error}")


def conditions(options, settings, busy):
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "on": options.on,
        "directory": str(options.directory),
        "size": settings.size,
        "seconds": settings.seconds,
        "repeats": 1 if options.smoke else options.repeats,
        "files": settings.files,
        "tree": settings.tree,
        "engine": settings.engine,
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "cpu": model,
        "busy_before": busy,
        "fio_start_seconds": settings.fio_seconds,
    }


def header(facts):
    return (f"on {facts['on']}, {facts['size'] // MIB} MiB, {facts['repeats']} repeats, {facts['seconds']} s, "
            f"{facts['engine']}; Linux {facts['kernel']}, {facts['cpus']} x {facts['cpu']}; "
            f"machine busy before: {facts['busy_before']:.0%}\n"
            "ratio: of the medians, to raw (ext4 where raw has none) or --base; "
            "sys, daemon: CPU time for each unit; READs: requests for data to the daemon; "
            "bar: least/aim against raw, of mpoolfs-native against ext4")


def check_idle(stack, options):
    chosen = [target for target in choose(targets.all_targets(), targets_of(options), "target")
              if isinstance(target, targets.Mpoolfs)]
    if not chosen:
        raise BenchError("--idle is about mpoolfs, which is not among the targets")
    settings = settings_of(options)
    check_programs(chosen)
    prepare(stack, options, settings)
    place = targets.Place(stack, options.on, settings.work, idle.POOL_SIZE)
    return idle.check(stack, place, settings, chosen)


def load_program(options, name):
    """A program of this folder, which is built with the others."""
    if not options.build:
        raise BenchError("--build is needed")
    path = (options.build / "tests" / "bench" / name).resolve()
    if not path.is_file():
        raise BenchError(f"no program {path}")
    return path


def check_part(stack, options, chosen, measure):
    """A measurement with a table of its own: `measure` gets the place, the settings and the number
    of repeats, and returns its samples."""
    settings = settings_of(options)
    check_programs(chosen)
    check_room(options, settings, chosen)
    prepare(stack, options, settings)
    busy = cpu.busy_share(CALM_SECONDS)
    print(f"machine busy before: {busy:.0%}")
    place = targets.Place(stack, options.on, settings.work, targets.image_size(settings))
    samples = measure(place, settings, 1 if options.smoke else options.repeats)
    if options.json:
        report.write_samples(options.json, samples, conditions(options, settings, busy))
    return 0


def check_cache(stack, options):
    load = load_program(options, "cache_load")
    names = {case.target for case in cache.CASES}
    chosen = [target for target in targets.all_targets() if target.name in names]
    return check_part(stack, options, chosen, lambda place, settings, repeats: cache.check(
        stack, place, settings, chosen, load, repeats))


def check_library(stack, options):
    load = load_program(options, "library_load")
    chosen = library.all_targets()
    maps = SMOKE_MAPS if options.smoke else options.maps
    return check_part(stack, options, chosen, lambda place, settings, repeats: library.check(
        stack, place, settings, chosen, load, maps, repeats))


def bench(stack, options):
    chosen = choose(targets.all_targets(), targets_of(options), "target")
    picked = choose(suite.all_workloads(), options.workloads, "workload")
    if options.base and options.base not in [target.name for target in chosen]:
        raise BenchError(f"--base {options.base} is not among the targets")
    settings = settings_of(options)
    check_programs(chosen, picked)
    check_room(options, settings, chosen)
    prepare(stack, options, settings)
    busy = cpu.busy_share(CALM_SECONDS)
    workloads.calibrate_fio(settings)
    results = report.Results(picked, chosen, options.base, options.on)
    repeats = 1 if options.smoke else options.repeats
    progress = Progress(len(chosen) * (1 + repeats * len(picked)))
    place = targets.Place(stack, options.on, settings.work, targets.image_size(settings))
    failed = start(stack, place, settings, chosen, progress)
    measure(results, settings, repeats, failed, progress)
    progress.end()
    facts = conditions(options, settings, busy)
    print(header(facts), report.table(results), report.summary(results), sep="\n\n")
    if options.json:
        report.write_json(options.json, results, facts)
    return 1 if any(cell.error is not None for cell in results.cells.values()) else 0


def main():
    parser, options = parse_arguments()
    if options.list:
        for target in targets.all_targets():
            print(f"target    {target.name:24}{'' if target.name in targets.DEFAULT_TARGETS else 'when asked for'}")
        for workload in suite.all_workloads():
            print(f"workload  {workload.name:24}{workload.what}")
        return 0
    if os.geteuid() != 0:
        parser.error("only root can mount")
    machine.end_on_signals()
    try:
        with contextlib.ExitStack() as stack:
            try:
                parts = {check_idle: options.idle, check_cache: options.cache, check_library: options.library}
                part = next((part for part, wanted in parts.items() if wanted), bench)
                return part(stack, options)
            finally:
                machine.ignore_signals()
    except (BenchError, OSError) as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
