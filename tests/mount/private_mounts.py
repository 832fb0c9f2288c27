"""Mounts that are seen by one process and its children only, and go with them.

private_mounts.py PROGRAM [ARGUMENT...] runs a program so.
"""

import ctypes
import os
import sys
import tempfile


def make_mounts_private():
    """From now on mounts made by this process and its children are seen by them only.

    In a chroot, too, whose root is no mount point that could be made private: unshare(1) fails."""
    clone_newns, ms_rec, ms_private = 0x20000, 0x4000, 0x40000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(clone_newns) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    with tempfile.TemporaryDirectory() as deeper:
        # With this process outside of its root, ".." ends at the root of the namespace.
        os.chroot(deeper)
        while not os.path.samestat(os.stat("."), os.stat("..")):
            os.chdir("..")
        os.chroot(".")
        failed = libc.mount(b"none", b"/", None, ms_rec | ms_private, None) != 0
        code = ctypes.get_errno()
        os.fchdir(root)
        os.chroot(".")
    os.close(root)
    if failed:
        raise OSError(code, "making mounts private")


if __name__ == "__main__":
    program = os.path.abspath(sys.argv[1])
    make_mounts_private()
    os.execv(program, sys.argv[1:])
