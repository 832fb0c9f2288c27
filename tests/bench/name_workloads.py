"""The workloads of many files and of changes of names."""

import contextlib
import os
import pathlib
import shutil
import sys
import time

import machine
from machine import MIB, BenchError
from workloads import LIMIT_SECONDS, Workload, make_cold, wait_for_space

SMALL_FILE = b"mpoolfs bench..." * 256


def make_files(paths):
    """Creates, writes and closes each."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for path in paths:
        descriptor = os.open(path, flags, 0o644)
        try:
            if os.write(descriptor, SMALL_FILE) != len(SMALL_FILE):
                raise BenchError(f"{path}: a small file was written in part")
        finally:
            os.close(descriptor)


def make_small_files(directory, count):
    directory.mkdir()
    prefix = f"{directory}/file-"
    make_files(f"{prefix}{number:06}" for number in range(count))


class SmallFiles(Workload):
    """Creating files is timed, or removing the same files."""

    needs_files = True

    def __init__(self, name, what, unit, removing):
        super().__init__(name, what, unit)
        self._removing = removing

    def prepare(self, target, settings, repeat):
        wait_for_space(target, settings.files * MIB)
        if self._removing:
            make_small_files(target.root / "small", settings.files)
        make_cold(target)

    def run(self, target, settings, repeat):
        if self._removing:
            machine.run("rm", "-r", target.root / "small", seconds=LIMIT_SECONDS)
        else:
            make_small_files(target.root / "small", settings.files)
        return settings.files, None

    def clean(self, target, settings):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(target.root / "small")
        target.settle()


FILES_IN_DIRECTORY = 100


class Stat(Workload):
    """find stats every file of a tree of empty files. The tree is made on first use."""

    needs_files = True

    def __init__(self, name, what, unit, warm):
        super().__init__(name, what, unit)
        self._warm = warm

    def prepare(self, target, settings, repeat):
        tree = target.root / "tree"
        if not tree.exists():
            self._make_tree(tree, settings.tree)
        if self._warm:
            self._find(tree)
        else:
            make_cold(target)

    def run(self, target, settings, repeat):
        found = self._find(target.root / "tree").count("\n")
        if found != settings.tree:
            raise BenchError(f"find saw {found} files of {settings.tree}")
        return settings.tree, None

    @staticmethod
    def _find(tree):
        return machine.run("find", tree, "-type", "f", "-printf", "%s\\n", seconds=LIMIT_SECONDS)

    @staticmethod
    def _make_tree(tree, count):
        # Under another name until it is complete.
        parts = tree.with_name("tree.part")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(parts)
        parts.mkdir()
        for start in range(0, count, FILES_IN_DIRECTORY):
            directory = parts / f"{start:07}"
            directory.mkdir()
            for number in range(start, min(start + FILES_IN_DIRECTORY, count)):
                os.close(os.open(f"{directory}/file-{number:07}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        parts.rename(tree)


class NameChanges(Workload):
    """Makes a directory, renames it and fsyncs it, again and again."""

    needs_files = True

    def prepare(self, target, settings, repeat):
        self._directory(target).mkdir()
        make_cold(target)

    @staticmethod
    def _directory(target):
        return target.root / "names"

    def run(self, target, settings, repeat):
        directory = self._directory(target)
        end = time.monotonic() + settings.seconds
        count = 0
        while time.monotonic() < end:
            made, renamed = directory / f"new{count}", directory / f"{count}"
            made.mkdir()
            made.rename(renamed)
            descriptor = os.open(renamed, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            count += 1
        return count, None

    def clean(self, target, settings):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory(target))
        target.settle()


class NameChangesBesideDuplicates(NameChanges):
    """The same while another process writes to a file and closes duplicates of its descriptor."""

    def run(self, target, settings, repeat):
        with machine.Background(sys.executable, pathlib.Path(__file__).with_name("duplicates.py"), self._path(target)):
            return super().run(target, settings, repeat)

    @staticmethod
    def _path(target):
        return target.root / "duplicated"

    def clean(self, target, settings):
        self._path(target).unlink(missing_ok=True)
        super().clean(target, settings)
