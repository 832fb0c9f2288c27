"""The switch of FUSE over io_uring, shared by test programs that run at the same time."""

import contextlib
import fcntl
import pathlib

from cleanup import on_exit

_URING_SWITCH = pathlib.Path("/sys/module/fuse/parameters/enable_uring")
# Locked by the programs that use the switch; holds what it was before them.
_URING_LOCK = pathlib.Path("/run/mpoolfs-test-uring")
_uring_lock = []


def uring_is_on():
    return _URING_SWITCH.exists() and _URING_SWITCH.read_text().strip() == "Y"


def switch_uring(wanted):
    """Lets later mounts use FUSE over io_uring, or not, until the end of the program.

    Concurrent programs that need the same setting share the switch, other programs wait; the last
    one restores it.
    """
    if not _URING_SWITCH.exists():
        raise AssertionError(f"{_URING_SWITCH} does not exist: FUSE over io_uring needs kernel 6.14 or later, "
                             "with CONFIG_FUSE_IO_URING and the fuse module loaded")
    if not _uring_lock:
        _uring_lock.append(open(_URING_LOCK, "a+", encoding="ascii"))
        on_exit(_put_uring_back)
    fcntl.flock(_uring_lock[0], fcntl.LOCK_SH if wanted else fcntl.LOCK_EX)
    if uring_is_on() == wanted:
        return
    _uring_lock[0].seek(0)
    if not _uring_lock[0].read():
        _uring_lock[0].write("N" if wanted else "Y")
        _uring_lock[0].flush()
    _URING_SWITCH.write_text("Y" if wanted else "N")


def _put_uring_back():
    with _uring_lock.pop() as lock, contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.seek(0)
        if before := lock.read(1):
            _URING_SWITCH.write_text(before)
            lock.truncate(0)
