"""The targets of measurements: the device itself, file systems of the kernel and in user space."""

import json
import os
import pathlib
import shutil
import time

import machine
from machine import MIB, BenchError

# Longest time until the kernel reads written files natively.
NATIVE_SECONDS = 30

PACKAGES = {
    "c++": "g++",
    "cc": "gcc",
    "fio": "fio",
    "fuse2fs": "fuse2fs",
    "git": "git",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkntfs": "ntfs-3g",
    "ntfs-3g": "ntfs-3g",
    "pkg-config": "pkg-config",
    "rm": "coreutils",
    "rsync": "rsync",
    "tar": "tar",
}


def require_programs(*names):
    for name in names:
        if shutil.which(name) is None:
            raise BenchError(f"{name} is missing: apt-get install {PACKAGES[name]}")


class Place:
    """The location of all images: in files, on loop devices over files, or in memory."""

    def __init__(self, stack, kind, directory, image_size):
        self.kind = kind
        self.directory = directory
        self._stack = stack
        self._image_size = image_size
        if kind == "memory":
            self.directory = directory / "memory"
            self.directory.mkdir()
            machine.mount(stack, "-t", "tmpfs", "-o", "size=90%", "mpoolfs-bench", mount_point=self.directory)

    def image(self, name):
        """A file of the size of all images. On a disk every block is allocated and was written
        once."""
        path = self.directory / f"{name}.img"
        self._stack.callback(path.unlink, missing_ok=True)
        with open(path, "wb") as file:
            os.truncate(file.fileno(), self._image_size)
            if self.kind != "memory":
                os.posix_fallocate(file.fileno(), 0, self._image_size)
        if self.kind != "memory":
            machine.write_file(path, self._image_size)
        return path

    def device(self, name):
        """The file or device for programs in user space: the image, or a loop device over it."""
        image = self.image(name)
        return machine.loop_device(self._stack, image) if self.kind == "loop" else image

    def block_device(self, name):
        """The block device that the kernel mounts."""
        return machine.loop_device(self._stack, self.image(name))


class Target:
    """One way to store data.

    data: a file (or device) of settings.size bytes to read
    root: a directory to make files in; None for the raw device, which is overwritten instead
    daemon: a machine.Daemon, None without one
    backing: the file or device under it
    """

    programs = ()

    def __init__(self, name):
        self.name = name
        self.root = None
        self.data = None
        self.daemon = None
        self.backing = None

    def start(self, stack, place, settings):
        """Makes everything; the undo is registered with the stack."""
        raise NotImplementedError

    def _mount_point(self, settings):
        self.root = settings.work / f"mnt-{self.name}"
        self.root.mkdir()
        return self.root

    def make_data(self, settings):
        self.data = self.root / "data"
        machine.write_file(self.data, settings.size)

    def settle(self):
        """Writes data in memory to the device, so that it is not written during a measurement."""
        if self.root:
            machine.sync_file_system(self.root)
        descriptor = os.open(self.backing, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read_requests(self):
        """The daemon's READ requests so far; None where that is unknown."""
        return None

    def _serve(self, stack, settings, *command):
        self.daemon = machine.Daemon(stack, command, self.root, settings.work / f"{self.name}.log")


class Raw(Target):
    def start(self, stack, place, settings):
        self.backing = self.data = place.device(self.name)

    def make_data(self, settings):
        machine.write_file(self.data, settings.size)


class KernelFileSystem(Target):
    """On a loop device with direct I/O, for the kernel mounts no files."""

    def __init__(self, name, make):
        super().__init__(name)
        self._make = make
        self.programs = (make[0], "losetup")

    def start(self, stack, place, settings):
        known = pathlib.Path("/proc/filesystems").read_text(encoding="ascii").split()
        if self.name not in known:
            raise BenchError(f"this kernel has no {self.name}")
        self.backing = place.block_device(self.name)
        machine.run(*self._make, self.backing)
        machine.mount(stack, "-t", self.name, "-o", "noatime", self.backing,
                      mount_point=self._mount_point(settings))


class Fuse2fs(Target):
    programs = ("fuse2fs", "mkfs.ext4")

    def start(self, stack, place, settings):
        self.backing = place.device(self.name)
        machine.run(*MAKE_EXT4, self.backing)
        self._serve(stack, settings, "fuse2fs", self.backing, self._mount_point(settings), "-f")


class Ntfs3g(Target):
    programs = ("ntfs-3g", "mkntfs")

    def start(self, stack, place, settings):
        self.backing = place.device(self.name)
        machine.run("mkntfs", "--quick", "--force", "--quiet", self.backing)
        self._serve(stack, settings, "ntfs-3g", "-o", "no_detach,big_writes,noatime", self.backing,
                    self._mount_point(settings))


class Mpoolfs(Target):
    """transport, native: mount options; None for the daemon's own choice."""

    def __init__(self, name, transport, native):
        super().__init__(name)
        self._transport = transport
        self._native = native

    def start(self, stack, place, settings):
        if self._transport == "uring":
            machine.set_kernel_switch(stack, machine.ENABLE_URING, "Y")
        self.backing = place.device(self.name)
        machine.run(settings.mpool, "create", "bench-" + self.name, self.backing)
        chosen = {"transport": self._transport, "native": self._native}
        words = [f"{name}={value}" for name, value in chosen.items() if value]
        options = ("-o", ",".join(words)) if words else ()
        self._serve(stack, settings, settings.mpoolfs, "-f", *options, self.backing,
                    self._mount_point(settings))

    def _status(self):
        return json.loads((self.root / ".mpool" / "status.json").read_text(encoding="utf-8"))

    def read_requests(self):
        return self._status()["requests"]["read"]

    def settle(self):
        super().settle()
        if self._native == "on":
            self._wait_until_shown()

    def _wait_until_shown(self):
        """The kernel reads files natively a moment after they are on the device."""
        deadline = time.monotonic() + NATIVE_SECONDS
        last = None
        while (files := self._status()["native"]["files"]) != last:
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name}: the number of native files does not settle")
            last = files
            time.sleep(0.2)


class Passthrough(Target):
    """An example of libfuse over a directory: /dev/fuse with minimal work behind it.

    programs: the compiler first
    """

    definitions = ()

    def start(self, stack, place, settings):
        program = self._compile(settings)
        behind = self._directory_behind(stack, place, settings)
        self._serve(stack, settings, *self._command(program, behind, self._mount_point(settings)))

    def _source(self):
        """The path of the program's source; raises when it is missing."""
        raise NotImplementedError

    def _command(self, program, behind, mount_point):
        raise NotImplementedError

    def _compile(self, settings):
        source = self._source()
        program = settings.work / source.stem
        flags = machine.run("pkg-config", "--cflags", "--libs", "fuse3").split()
        machine.run(self.programs[0], "-O2", "-w", *self.definitions, "-o", program, source, *flags, "-pthread")
        return program

    def _directory_behind(self, stack, place, settings):
        if place.kind != "loop":
            behind = place.directory / f"behind-{self.name}"
            stack.callback(shutil.rmtree, behind, True)
            behind.mkdir()
            self.backing = behind
            return behind
        self.backing = place.block_device(self.name)
        machine.run(*MAKE_EXT4, self.backing)
        behind = settings.work / f"behind-{self.name}"
        behind.mkdir()
        machine.mount(stack, "-t", "ext4", "-o", "noatime", self.backing, mount_point=behind)
        return behind


class PassthroughLl(Passthrough):
    programs = ("cc", "pkg-config")
    SOURCE = pathlib.Path("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c")

    def _source(self):
        if not self.SOURCE.exists():
            raise BenchError(f"{self.SOURCE} is missing: apt-get install libfuse3-dev")
        return self.SOURCE

    def _command(self, program, behind, mount_point):
        return [program, "-f", "-o", f"source={behind},cache=always", mount_point]


class PassthroughHp(Passthrough):
    """The one with caches of its own and splice; not in Debian's packages, only in their source."""

    programs = ("c++", "pkg-config")
    VARIABLE = "PASSTHROUGH_HP"
    HEADER = "cxxopts.hpp"
    # The configuration of libfuse's own build: without the first, times of files cannot be stored,
    # so that syncfs(2) fails.
    definitions = ("-DHAVE_UTIMENSAT", "-DHAVE_POSIX_FALLOCATE", "-DHAVE_SETXATTR")

    def _source(self):
        """It needs a header that lies beside it or is installed."""
        value = os.environ.get(self.VARIABLE)
        if not value:
            raise BenchError(f"${self.VARIABLE} must be the path of libfuse's example/passthrough_hp.cc: see README.md")
        source = pathlib.Path(value).resolve()
        if not source.is_file():
            raise BenchError(f"${self.VARIABLE}: no file {source}")
        if not any((place / self.HEADER).exists() for place in (source.parent, pathlib.Path("/usr/include"))):
            raise BenchError(f"{self.HEADER} is missing beside {source}: take it from there, too, or apt-get install "
                             "libcxxopts-dev")
        return source

    def _command(self, program, behind, mount_point):
        # By default later versions leave reading and writing to the kernel.
        known = machine.run(program, "--help")
        plain = ["--nopassthrough"] if "--nopassthrough" in known else []
        return [program, "--foreground", *plain, behind, mount_point]


# No initialisation may run in the background while other targets are measured.
MAKE_EXT4 = ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0")
MAKE_XFS = ("mkfs.xfs", "-q", "-f", "-K")


def all_targets():
    """In the order of the table."""
    return [
        Raw("raw"),
        KernelFileSystem("ext4", MAKE_EXT4),
        KernelFileSystem("xfs", MAKE_XFS),
        Fuse2fs("fuse2fs"),
        Ntfs3g("ntfs-3g"),
        PassthroughLl("passthrough"),
        PassthroughHp("passthrough_hp"),
        Mpoolfs("mpoolfs-native", "uring", "on"),
        Mpoolfs("mpoolfs-uring", "uring", "off"),
        Mpoolfs("mpoolfs-dev", "dev", "off"),
        Mpoolfs("mpoolfs", None, None),
    ]


DEFAULT_TARGETS = ("raw", "ext4", "xfs", "fuse2fs", "ntfs-3g", "mpoolfs-native", "mpoolfs-uring",
                   "mpoolfs-dev")
SMOKE_TARGETS = ("ext4", "mpoolfs")
PEERS = ("fuse2fs", "ntfs-3g")
JUDGED = "mpoolfs-uring"  # against the raw device
JUDGED_NATIVE = "mpoolfs-native"  # compared with ext4


def image_size(settings):
    """Room for the data, and also for new files of that size, or for small files, each in a zone.
    """
    small_files = settings.files * MIB * 11 // 10  # a pool keeps spare zones
    return settings.size + max(settings.size * 5 // 4, small_files) + 512 * MIB
