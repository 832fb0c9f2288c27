"""The workloads of many small files: made by several processes, and trees made by programs."""

import contextlib
import os
import shutil
import time

import machine
from machine import MIB, BenchError
from name_workloads import FILES_IN_DIRECTORY, make_files
from workloads import LIMIT_SECONDS, Workload, make_cold, wait_for_space


class OwnDirectory(Workload):
    """Works in a directory of its own, which is removed at the end."""

    needs_files = True

    @staticmethod
    def directory(target):
        return target.root / "many"

    def prepare(self, target, settings, repeat):
        wait_for_space(target, settings.files * MIB)
        self.directory(target).mkdir()

    def clean(self, target, settings):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.directory(target))
        target.settle()


class CreateByProcesses(OwnDirectory):
    """Files of 4 KiB, by several processes at once: in one directory, or each process in
    directories of its own."""

    def __init__(self, processes, spread):
        where = "many directories" if spread else "one directory"
        super().__init__(f"create-{processes}p-{'many' if spread else 'one'}",
                         f"create, write and close of files of 4 KiB in {where}, {processes} processes", "files/s")
        self._processes = processes
        self._spread = spread
        self._shares = []

    def prepare(self, target, settings, repeat):
        super().prepare(target, settings, repeat)
        count = max(1, settings.files // self._processes)
        self._shares = [self._paths(self.directory(target), process, count) for process in range(self._processes)]
        make_cold(target)

    def _paths(self, directory, process, count):
        """The files of one process; makes its directories."""
        if not self._spread:
            return [f"{directory}/{process}-{number:06}" for number in range(count)]
        paths = []
        for number in range(count):
            part = f"{directory}/{process}-{number // FILES_IN_DIRECTORY:04}"
            if number % FILES_IN_DIRECTORY == 0:
                os.mkdir(part)
            paths.append(f"{part}/{number:06}")
        return paths

    def run(self, target, settings, repeat):
        # The start of a process takes as long as some files: all wait until the last one is there.
        ready, start = os.pipe(), os.pipe()
        children = [self._start(share, ready, start) for share in self._shares]
        os.close(ready[1])
        os.close(start[0])
        os.read(ready[0], 1)
        begun = time.perf_counter()
        os.close(start[1])
        failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
        seconds = time.perf_counter() - begun
        os.close(ready[0])
        if failed:
            raise BenchError(f"{len(failed)} of {len(children)} processes failed")
        return sum(map(len, self._shares)), seconds

    @staticmethod
    def _start(paths, ready, start):
        """A process that closes its `ready`, and makes the files when `start` is closed."""
        child = os.fork()
        if child != 0:
            return child
        status = 1
        try:
            os.close(start[1])
            os.close(ready[1])
            os.read(start[0], 1)
            make_files(paths)
            status = 0
        finally:
            os._exit(status)


class StatMissing(OwnDirectory):
    """Names that do not exist and were not asked for before: for a file system in user space, one
    request each that does nothing."""

    TIMES = 5  # the files of other workloads

    def __init__(self):
        super().__init__("stat-missing", "stat of names that do not exist", "times/s")

    def prepare(self, target, settings, repeat):
        super().prepare(target, settings, repeat)
        make_cold(target)
        os.stat(self.directory(target))

    def run(self, target, settings, repeat):
        count = settings.files * self.TIMES
        prefix = f"{self.directory(target)}/"
        for number in range(count):
            try:
                os.stat(f"{prefix}{number}")
            except FileNotFoundError:
                continue
            raise BenchError(f"{prefix}{number} exists")
        return count, None


class Tree(OwnDirectory):
    """A tree of files of 4 KiB, FILES_IN_DIRECTORY in each directory, made or removed by a program;
    then all is synced."""

    def __init__(self, name, what, program):
        super().__init__(name, f"{what}, files of 4 KiB, with sync", "files/s")
        self.programs = (program,)

    def prepare(self, target, settings, repeat):
        super().prepare(target, settings, repeat)
        self.prepare_source(settings)
        make_cold(target)

    def prepare_source(self, settings):
        """Makes what the program reads, in settings.memory, unless it is there."""
        self.source(settings)

    @staticmethod
    def source(settings):
        """The same tree in memory; made on first use."""
        tree = settings.memory / "tree"
        if not tree.exists():
            parts = settings.memory / "tree.part"
            for start in range(0, settings.files, FILES_IN_DIRECTORY):
                part = parts / f"{start:07}"
                part.mkdir(parents=True)
                make_files(f"{part}/{number:07}" for number in range(start, min(start + FILES_IN_DIRECTORY,
                                                                                settings.files)))
            parts.rename(tree)
        return tree

    def command(self, directory, settings):
        raise NotImplementedError

    def run(self, target, settings, repeat):
        machine.run(*self.command(self.directory(target), settings), seconds=LIMIT_SECONDS)
        machine.sync_file_system(target.root)
        return settings.files, None


class TarExtract(Tree):
    def __init__(self):
        super().__init__("tar-x-sync", "tar -x", "tar")

    def prepare_source(self, settings):
        if not self._archive(settings).exists():
            machine.run("tar", "-cf", self._archive(settings), "-C", self.source(settings), ".")

    @staticmethod
    def _archive(settings):
        return settings.memory / "tree.tar"

    def command(self, directory, settings):
        return ["tar", "-xf", self._archive(settings), "-C", directory]


class Rsync(Tree):
    def __init__(self):
        super().__init__("rsync-a-sync", "rsync -a from memory", "rsync")

    def command(self, directory, settings):
        return ["rsync", "-a", f"{self.source(settings)}/", f"{directory}/"]


class Checkout(Tree):
    """The work tree alone is on the target."""

    def __init__(self):
        super().__init__("git-checkout-sync", "git checkout", "git")

    def prepare_source(self, settings):
        repository = self._repository(settings)
        if repository.exists():
            return
        parts = repository.with_name("git.part")
        machine.run("git", "init", "--quiet", "--bare", parts)
        machine.run("git", f"--git-dir={parts}", f"--work-tree={self.source(settings)}", "add", ".")
        parts.rename(repository)

    @staticmethod
    def _repository(settings):
        return settings.memory / "git"

    def command(self, directory, settings):
        return ["git", f"--git-dir={self._repository(settings)}", f"--work-tree={directory}", "checkout-index", "--all"]


class Remove(Tree):
    def __init__(self):
        super().__init__("rm-r-sync", "rm -r", "rm")

    def prepare(self, target, settings, repeat):
        super().prepare(target, settings, repeat)
        shutil.copytree(self.source(settings), self.directory(target) / "tree")
        make_cold(target)

    def command(self, directory, settings):
        return ["rm", "-r", directory / "tree"]
