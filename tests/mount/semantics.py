"""The examples of mpoolfs(5) print the output in the page, each in a directory of its own."""

import os
import pathlib
import re

import harness
from harness import run

PAGE = pathlib.Path(__file__).resolve().parents[2] / "man" / "mpoolfs.5.scd"
LEAST_EXAMPLES = 30

# Comments of an example that stand for what happens to the mount.
REMOUNT = "# remount"
CRASH = "# crash"


class Example:
    """One block of the page: steps, each REMOUNT, CRASH or a list of (command, expected output)."""

    def __init__(self, promise, line, text):
        self.promise = promise
        self.line = line
        self.steps = [[]]
        for number, row in enumerate(text.split("\n"), line):
            if row in (REMOUNT, CRASH):
                self.steps += [row, []]
            elif row.startswith("$ "):
                self.steps[-1].append([row[2:], ""])
            elif row.startswith("> "):
                self.steps[-1][-1][0] += "\n" + row[2:]
            elif row.startswith("#"):
                raise AssertionError(f"{PAGE.name}:{number}: neither {REMOUNT!r} nor {CRASH!r}")
            else:
                self.steps[-1][-1][1] += row + "\n"


def examples():
    """All blocks of the page that have a command."""
    section, promise, block, start = "", "", None, 0
    for number, row in enumerate(PAGE.read_text().split("\n"), 1):
        if block is not None:
            if row == "```":
                if any(line.startswith("$ ") for line in block):
                    yield Example(f"{section}: {promise}", start, "\n".join(block))
                block = None
            else:
                # scdoc's escapes
                block.append(row.replace("\\\\", "\\"))
        elif row == "```":
            block, start = [], number + 1
        elif row.startswith("# "):
            section = row[2:]
        elif row.startswith("*"):
            promise = re.sub(r"[*_\\]", "", row)


class Semantics(harness.MountTest):
    def shell(self, commands, directory):
        """The commands in one shell; returns what each printed, errors included."""
        mark = "=== end of a command ==="
        script = "".join(f"{command}\necho; echo '{mark}'\n" for command, _ in commands)
        # As a file, so that commands can read from a here-document; descriptor 9, so that they do
        # not see it.
        path = self.mnt.directory / "sh"
        path.write_text(f"exec 2>&1\n{script}")
        done = run("sh", path, cwd=directory, check=False, env={**os.environ, "LC_ALL": "C"})
        parts = done.stdout.split(f"\n{mark}\n")
        self.assertEqual(len(parts), len(commands) + 1, done.stdout + done.stderr)
        # What the shell itself says begins with its name and the line of the script.
        return [re.sub(rf"^{re.escape(str(path))}: (?:line )?\d+: ", "sh: ", part, flags=re.M) for part in parts[:-1]]

    def check(self, example):
        harness.sync_directory(self.root)  # the directory itself is no part of the example
        for step in example.steps:
            if step == REMOUNT:
                self.mnt.remount()
            elif step == CRASH:
                self.mnt.crash()
            elif step:
                found = self.shell(step, self.root)
                wanted = [expected for _, expected in step]
                shown = [f"$ {command}\n{output}" for (command, _), output in zip(step, found)]
                self.assertEqual([output.rstrip("\n") for output in found],
                                 [output.rstrip("\n") for output in wanted],
                                 f"{PAGE.name}:{example.line}: {example.promise}\n" + "".join(shown))

    def test_page_has_examples(self):
        """the page has examples, and they were found"""
        self.assertGreaterEqual(len(list(examples())), LEAST_EXAMPLES)


def add_test(example):
    def test(self):
        self.check(example)

    test.__doc__ = f"{PAGE.name}:{example.line}: {example.promise}"
    setattr(Semantics, f"test_line_{example.line:04}", test)


for found in examples():
    add_test(found)


if __name__ == "__main__":
    harness.main()
