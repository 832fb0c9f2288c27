"""Starting with little memory: the program serves, or ends with a message and no mount. It never
hangs."""

import os
import signal
import subprocess
import unittest

import harness
from harness import MIB, MPOOLFS, run

STEP = 16 * MIB if harness.LONG else 48 * MIB
MOST = 2048 * MIB
# Longer than a start takes on a busy machine.
PATIENCE = 60


class LittleMemory(unittest.TestCase):
    def setUp(self):
        self.directory = harness.temporary_directory()
        self.image = self.directory / "pool.img"
        harness.create_image(self.image, "little", "64M")
        self.point = self.directory / "mnt"
        self.point.mkdir()

    def start(self, limit, transport, native):
        """True when it serves with this limit of its address space, False when it ended."""
        daemon = subprocess.Popen(["prlimit", f"--as={limit}", MPOOLFS, "-f",
                                   *harness.data_path_options(transport, native), self.image, self.point],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        harness.on_exit(daemon.kill)
        lines = []
        # One of the two arrives, or the stream ends with the program.
        for line in daemon.stderr:
            lines.append(line)
            if b"mounted on" in line:
                break
        serves = bool(lines) and b"mounted on" in lines[-1]
        if serves:
            os.listdir(self.point)
            daemon.send_signal(signal.SIGTERM)
        daemon.stderr.close()
        status = daemon.wait(PATIENCE)
        if serves:
            self.assertEqual(status, 0, lines)
        else:
            self.assertNotEqual(status, 0)
            self.assertTrue(lines, f"no message with {limit} bytes")
        self.assertIsNone(harness.mounted_type(self.point), f"{limit}: {lines}")
        return serves

    def check_limits(self, transport, native):
        """From far too little to enough."""
        results = []
        limit = 32 * MIB
        while limit <= MOST and results[-2:] != [True, True]:
            results.append(self.start(limit, transport, native))
            limit += STEP
        self.assertIn(False, results)
        self.assertEqual(results[-2:], [True, True])

    def test_dev(self):
        """with requests from /dev/fuse"""
        self.check_limits("dev", "off")

    def test_uring(self):
        """with FUSE over io_uring and native reads"""
        self.check_limits("uring", "on")

    def test_a_signal_ends_a_start(self):
        """SIGTERM during the start ends it, at any step"""
        for _ in range(5):
            daemon = subprocess.Popen([MPOOLFS, "-f", *harness.data_path_options(), self.image, self.point],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(PATIENCE)
            self.assertIsNone(harness.mounted_type(self.point))
        run(MPOOLFS, "--version")


if __name__ == "__main__":
    harness.main()
