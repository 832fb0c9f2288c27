"""How requests come in: choosing it, CPUs, ends of all kinds, and what it costs when there is nothing to do."""

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

CYCLES = 500 if harness.LONG else 20
KILLS = 30 if harness.LONG else 2
MIXED_STEPS = 100 if harness.LONG else 10
IDLE_SECONDS = 10
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
READERS = ("buffered", "direct", "map")

# Reads at depth until it gets an error.
FIO_READERS = ("fio", "--name=read", "--rw=randread", "--bs=4k", "--direct=1", "--iodepth=32", "--numjobs=2",
               "--size=16M", "--time_based", "--runtime=300", "--minimal")
FIO_WRITERS = ("fio", "--name=write", "--rw=randwrite", "--bs=4k", "--direct=1", "--iodepth=32", "--size=300M",
               "--fallocate=none", "--rate=20m", "--minimal")


class TransportTest(harness.PoolTest):
    def mount(self, options="", **more):
        # Native reads would keep READ requests from the transport, and go on when the daemon is killed.
        return harness.Mount(pool=self.image, directory=self.directory, mount_options=options, native="off", **more)


class Choice(TransportTest):
    def tearDown(self):
        if harness.mounted_type(self.point) is not None:
            run("umount", self.point)
        self.daemons_ended()

    def transport_with(self, *options):
        """Mounts in the background, and returns what the status says."""
        run(MPOOLFS, *options, self.image, self.point, timeout=60)
        name = harness.status_of(self.point)["transport"]["name"]
        (self.point / "f").write_bytes(content(1, MIB))
        self.assertEqual((self.point / "f").read_bytes(), content(1, MIB))
        (self.point / "f").unlink()
        run("umount", self.point)
        self.daemons_ended()
        return name

    def test_asked_for(self):
        """a transport that is asked for is used"""
        self.assertEqual(self.transport_with(*harness.data_path_options()), harness.TRANSPORT)

    def test_automatic(self):
        """auto, which is the default, takes uring when it is on, and else dev"""
        for on, name in ((True, "uring"), (False, "dev")):
            harness.switch_uring(on)
            self.assertEqual(self.transport_with(), name)
            self.assertEqual(self.transport_with("-o", "transport=auto"), name)

    def test_dev_when_uring_is_on(self):
        """dev is used although uring is on"""
        for on in (True, False):
            harness.switch_uring(on)
            self.assertEqual(self.transport_with("-o", "transport=dev"), "dev")

    def test_uring_switched_off(self):
        """uring asked for where it is switched off: says how to switch it on; nothing is mounted"""
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
        """switching FUSE over io_uring on or off changes nothing for a mount that is there"""
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

    def test_offline(self):
        """CPUs go offline and come back, before and after mounting and while requests are under way"""
        switches = [path for path in sorted(pathlib.Path("/sys/devices/system/cpu").glob("cpu[0-9]*/online"))
                    if path.read_text().strip() == "1"]
        cpus = sorted(os.sched_getaffinity(0))
        print(f"  CPUs {cpus}, can go offline: {[path.parent.name for path in switches]}", file=sys.stderr)
        last = switches[-1:]
        for path in last:
            harness.on_exit(path.write_text, "1")
        mnt = self.mount()
        self.work_on(mnt, "all", cpus)
        try:
            for path in last:
                path.write_text("0")
            self.work_on(mnt, "offline", sorted(os.sched_getaffinity(0)))
            mnt.remount()
            self.work_on(mnt, "offline2", sorted(os.sched_getaffinity(0)))
        finally:
            for path in last:
                path.write_text("1")
        os.sched_setaffinity(0, cpus)
        self.work_on(mnt, "online", cpus)
        with Load([mnt]) as workers:
            (self.point / "changing").mkdir()
            for kind in ("mixed", "churn", "append"):
                workers.start(kind, self.point / "changing")
            for mode in READERS:
                workers.start("read", self.point / "changing", mode)
            workers.watch_until(2)
            for value in ("0", "1", "0", "1"):
                for path in last:
                    path.write_text(value)
                workers.watch(0.5)
            workers.watch_until(min(workers.progress()) + 2)
            workers.stop()
        mnt.umount()


class Ends(TransportTest):
    """However a mount ends, nobody hangs and the pool mounts again."""

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
        """Calls end(mount) while all kinds of requests are under way; checks the pool after it. Returns the mount."""
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
        # Of a file that was synced before it was whole there may be a part.
        for path in (self.point / "load").glob("mixed-*"):
            path.unlink()
        with Load([mnt]) as workers:
            for mode in READERS:
                workers.start("read", self.point / "load", mode)
            workers.watch_until(20)
            workers.stop()
        run("rm", "-r", *(path for path in self.point.iterdir() if path != kept))
        mnt.umount()

    def test_kill_under_load(self):
        """kill -9 with requests of all kinds under way: errors, no hanging; the mount can be removed"""
        for _ in range(KILLS):
            self.end_under_load(lambda mnt: mnt.kill_daemon())

    def test_terminate_under_load(self):
        """SIGTERM with requests of all kinds under way: the daemon ends by itself, its users get errors"""
        def terminate(mnt):
            mnt.daemon.terminate()
            mnt.wait_for_end(0)
            self.assertIsNone(harness.mounted_type(self.point))

        self.end_under_load(terminate)

    def test_idle(self):
        """umount and SIGTERM when nothing is under way, with and without requests before"""
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
        """mounted and unmounted many times, as fast as it goes: no process stays, nothing fails"""
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
        """users killed while their requests are under way: the daemon goes on"""
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


class Costs(TransportTest):
    def used_ticks(self, pid):
        """CPU time of all threads, user and system, in clock ticks."""
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def test_idle_cpu(self):
        """after some load, a mount that nobody uses takes no CPU time"""
        mnt = self.mount()
        with Load([mnt]) as workers:
            for kind in ("churn", "append", "mixed"):
                workers.start(kind, self.point)
            for mode in READERS:
                workers.start("read", self.point, mode)
            workers.watch_until(MIXED_STEPS)
            workers.stop()
        time.sleep(3)  # what is done in the background ends
        before = self.used_ticks(mnt.daemon.pid)
        time.sleep(IDLE_SECONDS)
        used = self.used_ticks(mnt.daemon.pid) - before
        print(f"  {used} ticks of 1/{TICKS_PER_SECOND} s in {IDLE_SECONDS} s", file=sys.stderr)
        # The end of a tick may come between.
        self.assertLessEqual(used, 1)
        mnt.umount()

    def test_memory(self):
        """with an empty pool the daemon takes at most 64 MiB and 20 MiB for each core"""
        mnt = self.mount()
        os.listdir(self.point)
        status = pathlib.Path(f"/proc/{mnt.daemon.pid}/status").read_text()
        kib = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
        print(f"  {kib // 1024} MiB", file=sys.stderr)
        self.assertLessEqual(kib // 1024, 64 + 20 * os.cpu_count())
        mnt.umount()


if __name__ == "__main__":
    harness.main()
