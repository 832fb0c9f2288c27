"""An ext4 beside the mount."""

from cleanup import on_exit
from harness import MIB, loop_device, run


def mount_ext4(directory, size=64 * MIB):
    """An ext4 to compare with or to stack on, mounted on `directory`/ext4; returns that."""
    image, point = directory / "ext4.img", directory / "ext4"
    with open(image, "wb") as file:
        file.truncate(size)
    run("mkfs.ext4", "-q", "-b", "4096", image)
    point.mkdir()
    device = loop_device(image)
    run("mount", "-t", "ext4", "-o", "nodev,nosuid", device, point)
    on_exit(run, "umount", point)
    return point
