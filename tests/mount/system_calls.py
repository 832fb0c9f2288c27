"""System calls that Python lacks."""

import ctypes
import os

AT_EMPTY_PATH = 0x1000
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
_AT_FDCWD, _AT_SYMLINK_FOLLOW = -100, 0x400

_libc = ctypes.CDLL(None, use_errno=True)


def fallocate(descriptor, mode, offset, length):
    """fallocate(2)."""
    if _libc.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def link_descriptor(descriptor, new, flags=AT_EMPTY_PATH):
    """linkat(2) of an open file: with AT_EMPTY_PATH; without it, by its path in /proc."""
    path = b"" if flags == AT_EMPTY_PATH else os.fsencode(f"/proc/self/fd/{descriptor}")
    if _libc.linkat(descriptor, path, _AT_FDCWD, os.fsencode(new), flags or _AT_SYMLINK_FOLLOW) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(new))


def rename(old, new, flags):
    """renameat2(2)."""
    done = _libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags)
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(new))
