"""The transport of requests: its choice, CPUs, and ends of all kinds."""

import collections
import os
import pathlib
import signal
import subprocess
import sys
import time

import harness
import load
from harness import MIB, MPOOLFS, content, run
from load import Load, pages_of_file

CYCLES = 500 if harness.LONG else 10
KILLS = 30 if harness.LONG else 2
TERMINATIONS = 50 if harness.LONG else 3
MIXED_STEPS = 100 if harness.LONG else 10
READERS = ("buffered", "direct", "map")

# Reads at depth until it gets an error.
FIO_READERS = ("fio", "--name=read", "--rw=randread", "--bs=4k", "--direct=1", "--iodepth=32", "--numjobs=2",
               "--size=16M", "--time_based", "--runtime=300", "--minimal")
FIO_WRITERS = ("fio", "--name=write", "--rw=randwrite", "--bs=4k", "--direct=1", "--iodepth=32", "--size=300M",
               "--fallocate=none", "--rate=4m", "--minimal")
# Makes and renames directories until one of the two fails; then prints how far it came.
NAMER = """
import itertools, os, sys
for number in itertools.count():
    made, renamed = sys.argv[1] + f"-made{number}", sys.argv[1] + f"-renamed{number}"
    for step in ("mkdir", "rename"):
        try:
            os.mkdir(made) if step == "mkdir" else os.rename(made, renamed)
        except OSError:
            print(number, step)
            sys.exit()
"""


class TransportTest(harness.PoolTest):
    def mount(self, options="", **more):
        # Native reads would bypass the transport with READ requests, and continue when the daemon
        # is killed.
        return harness.Mount(pool=self.image, directory=self.directory, mount_options=options, native="off", **more)


class Choice(TransportTest):
    def tearDown(self):
        if harness.mounted_type(self.point) is not None:
            run("umount", self.point)
        self.daemons_ended()

    def transport_with(self, *options):
        """Mounts in the background, and returns from the status: the name, and the reason for not
        uring."""
        run(MPOOLFS, *options, self.image, self.point, timeout=60)
        transport = harness.status_of(self.point)["transport"]
        (self.point / "f").write_bytes(content(1, MIB))
        self.assertEqual((self.point / "f").read_bytes(), content(1, MIB))
        (self.point / "f").unlink()
        run("umount", self.point)
        self.daemons_ended()
        return transport["name"], transport["reason"]

    def test_asked_for(self):
        """a requested transport is used"""
        self.assertEqual(self.transport_with(*harness.data_path_options()), (harness.TRANSPORT, ""))

    def test_automatic(self):
        """auto, which is the default, takes uring when it is on, and else dev"""
        for on, wanted in ((True, "uring"), (False, "dev")):
            harness.switch_uring(on)
            for options in ([], ["-o", "transport=auto"]):
                name, reason = self.transport_with(*options)
                self.assertEqual(name, wanted)
                self.assertEqual("/sys/module/fuse/parameters/enable_uring" in reason, not on, reason)

    def test_dev_when_uring_is_on(self):
        """dev is used although uring is on"""
        for on in (True, False):
            harness.switch_uring(on)
            self.assertEqual(self.transport_with("-o", "transport=dev"), ("dev", ""))

    def test_uring_switched_off(self):
        """uring requested where it is switched off: the message names the switch; no mount"""
        harness.switch_uring(False)
        for more in ([], ["-f"]):
            done = run(MPOOLFS, *more, "-o", "transport=uring", self.image, self.point, check=False, timeout=60)
            print("  " + done.stderr.strip(), file=sys.stderr)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertEqual(done.stdout, "")
            self.assertIn("/sys/module/fuse/parameters/enable_uring", done.stderr)
            self.assertIsNone(harness.mounted_type(self.point))
            self.daemons_ended()

    def test_switch_while_mounted(self):
        """switching FUSE over io_uring on or off does not affect an existing mount"""
        mnt = self.mount()
        for on in (False, True):
            harness.switch_uring(on)
            (self.point / f"f{on}").write_bytes(content(1, MIB))
            self.assertEqual((self.point / f"f{on}").read_bytes(), content(1, MIB))
            self.assertEqual(harness.status_of(self.point)["transport"]["name"], harness.TRANSPORT)
        mnt.umount()


class Cpus(TransportTest):
    """Requests come from any CPU, the daemon may run on some."""

    def work_on(self, mnt, name, cpus):
        """Workers on each of the CPUs."""
        directory = self.point / name
        directory.mkdir()
        with Load([mnt]) as workers:
            for cpu in cpus:
                workers.start("mixed", directory, cpu=cpu)
                workers.start("read", directory, "direct", cpu=cpu)
                workers.start("read", directory, "buffered", cpu=cpu)
            workers.watch_until(MIXED_STEPS)
            workers.stop()

    def test_restricted(self):
        """the daemon may run on one CPU only, its users on all"""
        cpus = sorted(os.sched_getaffinity(0))
        for cpu in (cpus[0], cpus[-1]):
            mnt = self.mount(start_with=["taskset", "-c", str(cpu)])
            self.work_on(mnt, f"d{cpu}", cpus)
            mnt.umount()

    def hot_plugged(self):
        """The last CPU that can go offline; and all CPUs. It is online again at the end."""
        switches = [path for path in sorted(pathlib.Path("/sys/devices/system/cpu").glob("cpu[0-9]*/online"))
                    if path.read_text().strip() == "1"]
        cpus = sorted(os.sched_getaffinity(0))
        print(f"  CPUs {cpus}, can go offline: {[path.parent.name for path in switches]}", file=sys.stderr)
        self.assertTrue(switches, "no CPU of this machine can go offline; two CPUs and CONFIG_HOTPLUG_CPU are needed")
        switch = switches[-1]
        harness.on_exit(switch.write_text, "1")
        self.addCleanup(os.sched_setaffinity, 0, cpus)
        self.addCleanup(switch.write_text, "1")
        return switch, cpus

    def test_offline(self):
        """a CPU is offline while the mount is used, and when it is made, and comes back"""
        switch, cpus = self.hot_plugged()
        mnt = self.mount()
        self.work_on(mnt, "all", cpus)
        switch.write_text("0")
        self.work_on(mnt, "offline", sorted(os.sched_getaffinity(0)))
        mnt.remount()
        self.work_on(mnt, "offline2", sorted(os.sched_getaffinity(0)))
        switch.write_text("1")
        os.sched_setaffinity(0, cpus)
        self.work_on(mnt, "online", cpus)
        mnt.umount()

    def test_changing(self):
        """a CPU goes offline and online during requests, also of programs bound to it"""
        switch, cpus = self.hot_plugged()
        bound = int(switch.parent.name.removeprefix("cpu"))
        for number, start_with in enumerate(([], ["taskset", "-c", str(bound)])):
            mnt = self.mount(start_with=start_with)
            directory = self.point / f"d{number}"
            directory.mkdir()
            with Load([mnt]) as workers:
                for cpu in (None, bound):
                    for kind in ("mixed", "churn", "append"):
                        workers.start(kind, directory, cpu=cpu)
                    for mode in READERS:
                        workers.start("read", directory, mode, cpu=cpu)
                workers.watch_until(2)
                for value in ("0", "1", "0", "1"):
                    switch.write_text(value)
                    workers.watch_more(2)
                workers.stop()
            os.sched_setaffinity(0, cpus)
            self.work_on(mnt, f"after{number}", cpus)
            mnt.umount()


class Ends(TransportTest):
    """However a mount ends, no process hangs and the pool mounts again."""

    def start_load(self, mnt, workers):
        """Everything at depth; returns the programs besides the workers."""
        directory = self.point / "load"
        directory.mkdir()
        for index in range(4):
            load.write_file(directory / f"a{index}", pages_of_file(index, 100))
        for kind in ("churn", "append", "mixed"):
            workers.start(kind, directory)
        workers.start("replace", directory, "a", 4)
        for mode in READERS:
            workers.start("read", directory, mode)
        return [subprocess.Popen([*command, f"--ioengine={engine}", f"--filename={path}"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for engine in ("libaio", "io_uring")
                for command, path in ((FIO_READERS, self.point / "kept"),
                                      (FIO_WRITERS, self.point / f"written-{engine}"))]

    def end_under_load(self, end):
        """Calls end(mount) during requests of all kinds; checks the pool after it. Returns the
        mount."""
        mnt = self.mount()
        kept = self.point / "kept"
        if not kept.exists():
            load.write_file(kept, content(1, 16 * MIB), sync=True)
        with Load([mnt]) as workers:
            programs = self.start_load(mnt, workers)
            try:
                workers.watch_until(2)
                workers.watch(0.5)
                for program in programs:
                    self.assertIsNone(program.poll(), program.args)
                end(mnt)
                workers.wait_for_errors()
                for program in programs:
                    try:
                        self.assertNotEqual(program.wait(load.STOP_SECONDS), 0, program.args)
                    except subprocess.TimeoutExpired:
                        self.fail(f"{program.args} hangs:\n{load.describe_threads(program.pid)}")
            finally:
                for program in programs:
                    program.kill()
                    program.wait()
        mnt.kill()
        mnt.mount()
        self.assertEqual(kept.read_bytes(), content(1, 16 * MIB))
        self.remove_parts(self.point / "load")
        with Load([mnt]) as workers:
            for mode in READERS:
                workers.start("read", self.point / "load", mode)
            workers.watch_until(20)
            workers.stop()
        run("rm", "-r", *(path for path in self.point.iterdir() if path != kept))
        mnt.umount()

    def remove_parts(self, directory):
        """Removes files that were being written when the daemon ended: a part may have been
        committed."""
        for path in directory.glob("mixed-*"):  # written in two pieces
            path.unlink()
        for path in (*directory.glob("churn-*"), *directory.glob("new-*")):
            first = path.read_bytes()[:load.PAGE]
            if not first or load.check_page(first, 0, path)[1] * load.PAGE != path.stat().st_size:
                path.unlink()

    def test_kill_under_load(self):
        """kill -9 during requests of all kinds: errors, no hang; the mount can be removed"""
        for _ in range(KILLS):
            self.end_under_load(lambda mnt: mnt.kill_daemon())

    def test_terminate_under_load(self):
        """SIGTERM during requests of all kinds: the daemon ends by itself, users get errors"""
        def terminate(mnt):
            mnt.daemon.terminate()
            mnt.wait_for_end(0)
            self.assertIsNone(harness.mounted_type(self.point))

        self.end_under_load(terminate)

    def all_work(self, directory, namers):
        """Each of the programs has renamed two names at least."""
        done = collections.Counter(name.partition("-renamed")[0] for name in os.listdir(directory) if "renamed" in name)
        return len(done) == namers and min(done.values()) >= 2

    def test_what_fails_was_not_done(self):
        """SIGTERM while names are changed: failed changes did not happen, all others did"""
        namers = 4
        for number in range(TERMINATIONS):
            mnt = self.mount()
            directory = self.point / f"d{number}"
            directory.mkdir()
            programs = [subprocess.Popen([sys.executable, "-c", NAMER, directory / str(index)],
                                         stdout=subprocess.PIPE, text=True) for index in range(namers)]
            harness.wait_until(lambda: self.all_work(directory, namers), "each has changed names", 120)
            mnt.daemon.terminate()
            mnt.wait_for_end(0)
            expected = set()
            for index, program in enumerate(programs):
                changed, step = program.communicate(timeout=60)[0].split()
                expected |= {f"{index}-renamed{done}" for done in range(int(changed))}
                if step == "rename":
                    expected.add(f"{index}-made{changed}")
            self.assertGreater(len(expected), namers)
            mnt.mount()
            self.assertEqual({path.name for path in directory.iterdir()}, expected)
            run("rm", "-r", directory)
            mnt.umount()

    def test_idle(self):
        """umount and SIGTERM without requests in progress, with and without requests before"""
        mnt = self.mount()
        for number in range(6):
            if number % 3:
                (self.point / f"f{number}").write_bytes(content(number, MIB))
            time.sleep(0.1 * (number % 2))
            if number % 2:
                mnt.umount()
            else:
                mnt.daemon.send_signal(signal.SIGTERM)
                mnt.wait_for_end(0)
            self.assertIsNone(harness.mounted_type(self.point))
            mnt.mount()
            if number % 3:
                self.assertEqual((self.point / f"f{number}").read_bytes(), content(number, MIB))
        mnt.umount()

    def test_cycles(self):
        """mounted and unmounted repeatedly at full speed: no process stays, nothing fails"""
        for number in range(CYCLES):
            run(MPOOLFS, *harness.data_path_options(), self.image, self.point, timeout=60)
            self.assertEqual(harness.mounted_type(self.point), "fuse.mpoolfs")
            if number % 3 == 0:
                (self.point / f"f{number}").write_bytes(content(number, 5000))
            if number % 3 == 1:
                self.assertEqual((self.point / f"f{number - 1}").read_bytes(), content(number - 1, 5000))
            run("umount", self.point)
            self.daemons_ended()

    def test_killed_users(self):
        """users killed during their requests: the daemon continues"""
        mnt = self.mount()
        directory = self.point / "d"
        for _ in range(5):
            directory.mkdir()
            with Load([mnt]) as workers:
                for kind in ("churn", "append", "mixed"):
                    workers.start(kind, directory)
                workers.start("read", directory, "direct")
                workers.watch_until(2)
            run("rm", "-rf", directory)
        with Load([mnt]) as workers:
            workers.start("mixed", self.point)
            workers.watch_until(MIXED_STEPS)
            workers.stop()
        mnt.umount()


if __name__ == "__main__":
    harness.main()
