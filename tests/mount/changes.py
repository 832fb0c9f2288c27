"""A pool on loop devices gets a second device, room, a name and settings between mounts, and is
checked. While it is mounted it is not changed, and `mpool df` queries the mount."""

import json
import os
import subprocess

import harness
from harness import MIB, MPOOL, MPOOLFS, content, run

SUPERBLOCKS = 16384  # bytes at the front of a device
COULD_NOT_CHECK = 8  # exit status of mpool check


def loop_device_of(path, size):
    with open(path, "wb") as file:
        file.truncate(size)
    return harness.loop_device(path)


def mpool(*arguments):
    return run(MPOOL, *arguments).stdout


def usage_of(pool):
    return json.loads(mpool("df", "--json", pool))[0]


class Changes(harness.MountTest):
    @classmethod
    def setUpClass(cls):
        cls.directory = harness.temporary_directory()
        cls.capacity = loop_device_of(cls.directory / "capacity", 256 * MIB)
        mpool("create", "changing", cls.capacity)
        cls.mnt = harness.Mount(pool="changing", directory=cls.directory)

    def test_a_life(self):
        """each change is refused while mounted, made between mounts, and visible in the next"""
        self.write_file("f", content(1, 5 * MIB + 1))
        staging = loop_device_of(self.directory / "staging", 128 * MIB)
        changes = (("add", "changing", staging), ("grow", "changing"), ("set", "changing", "label=mine"),
                   ("rename", "changing", "changed"))
        for change in (*changes, ("get", "changing")):
            refused = run(MPOOL, *change, check=False)
            self.assertEqual(refused.returncode, 1)
            self.assertIn(f"pool changing: is mounted on {self.mnt.point}", refused.stderr)
            self.assertIn("umount", refused.stderr)
        with open(self.directory / "capacity", "r+b") as file:
            file.truncate(400 * MIB)
        run("losetup", "--set-capacity", self.capacity)

        self.mnt.umount()
        for change in changes:
            mpool(*change)
        self.mnt.pool = "changed"
        self.mnt.mount()
        self.assertEqual((self.root / "f").read_bytes(), content(1, 5 * MIB + 1))
        os.setxattr(self.root, "user.mpool.class", b"staging")
        self.write_file("g", content(2, 3 * MIB))
        status = json.loads(self.mnt.path(".mpool", "status.json").read_bytes())
        self.assertEqual([device["size"] for device in status["devices"]], [400 * MIB, 128 * MIB])

        self.mnt.umount()
        self.assertEqual(mpool("get", "changed", "label"), "mine\n")
        self.mnt.mount()
        self.assertEqual((self.root / "g").read_bytes(), content(2, 3 * MIB))
        self.interrupted_rename(staging)
        self.df_of_both()

    def interrupted_rename(self, staging):
        """the name has not reached the staging device: both names find the pool, which gets the new
        one"""
        self.mnt.umount()
        with open(staging, "r+b") as device:
            before = device.read(SUPERBLOCKS)
        for name in ("changed", "again"):
            mpool("rename", "UUID=" + usage_of(self.capacity + "," + staging)["pool"]["uuid"], "again")
            with open(staging, "r+b") as device:
                device.write(before)
                os.fsync(device.fileno())
            self.mnt.pool = name
            self.mnt.mount()
            self.assertEqual((self.root / "g").read_bytes(), content(2, 3 * MIB))
            self.mnt.umount()
            label = run("blkid", "-p", "-s", "LABEL", "-o", "value", staging).stdout
            self.assertEqual(label, "again\n")
        self.mnt.mount()

    def df_of_both(self):
        """the same numbers from the mount and from the devices"""
        harness.wait_until(lambda: not any(row["pending"] for row in usage_of("again")["classes"]),
                           "discards done")
        mounted = usage_of("again")
        self.assertEqual(mounted["mounted_on"], str(self.mnt.point))
        # Other programs may use other pools of the machine.
        self.assertIn(str(self.mnt.point), run(MPOOL, "df", check=False).stdout)
        self.mnt.umount()
        idle = usage_of("again")
        self.assertIsNone(idle["mounted_on"])
        self.assertEqual(mounted["total"], idle["total"])
        self.mnt.mount()

    def test_check(self):
        """mpool check refuses a mounted pool by any name; between mounts it is clean"""
        pool = usage_of(self.mnt.pool)["pool"]
        data = {}
        # Each waits a moment for the present holder of the pool to end.
        for number, words in enumerate(((pool["name"],), ("--data", "--json", "UUID=" + pool["uuid"]),
                                        ("--repair", self.capacity))):
            data[f"f{number}"] = content(number, MIB + number)
            self.write_file(f"f{number}", data[f"f{number}"])
            refused = run(MPOOL, "check", *words, check=False)
            self.assertEqual((refused.returncode, refused.stdout), (COULD_NOT_CHECK, ""))
            self.assertIn(f"pool {pool['name']}: is mounted on {self.mnt.point}", refused.stderr)
            self.assertIn("umount", refused.stderr)
        self.mnt.umount()
        found = json.loads(mpool("check", "--data", "--json", pool["name"]))
        self.assertEqual((found["pool"], found["errors"], found["repairs"]), (pool, 0, []))
        self.mnt.mount()
        for name, expected in data.items():
            self.assertEqual((self.root / name).read_bytes(), expected)


class Starting(harness.PoolTest):
    POOL_SIZE = "256M"

    def test_files_written_meanwhile(self):
        """files closed between the mount and the report of it are kept, and stop nothing"""
        written = {}
        for number in range(6):
            daemon = subprocess.Popen([MPOOLFS, "-f", *harness.data_path_options(), self.image, self.point],
                                      stderr=subprocess.PIPE, preexec_fn=harness.die_with_parent)
            harness.wait_until(lambda: harness.mounted_type(self.point) is not None, "mounted")
            for each in range(20):
                path = self.point / f"{number}-{each}"
                written[path] = content(number * 20 + each, 10000)
                path.write_bytes(written[path])
            self.assertIn(b"mounted on", daemon.stderr.readline())
            run("umount", self.point)
            self.assertEqual(daemon.wait(harness.END_SECONDS), 0)
            daemon.stderr.close()
        harness.Mount(pool=self.image, directory=self.directory)
        for path, expected in written.items():
            self.assertEqual(path.read_bytes(), expected)


if __name__ == "__main__":
    harness.main()
