"""What the end of a test program undoes, in any case."""

import sys

_cleanups = []


def on_exit(function, *arguments):
    """Calls the function at the end of the program, last registered first."""
    _cleanups.append((function, arguments))


def clean_up():
    while _cleanups:
        function, arguments = _cleanups.pop()
        try:
            function(*arguments)
        except Exception as error:  # the other steps must clean up nevertheless
            print(f"cleaning up: {error}", file=sys.stderr)
