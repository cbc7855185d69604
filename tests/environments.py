"""Runs the fast tests in throwaway environments: the oldest versions that requirements.txt admits, and another Python.

    python tests/environments.py [lowest] [other]

`lowest` is the running Python with the lowest versions, `other` another Python of 3.11 to 3.13 with the newest; both
if none is named. Each takes a few GB in the temporary folder (TMPDIR moves it) and removes them again.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = "Scripts" if os.name == "nt" else "bin"
# The lowest of those that need no compiler: on a Python younger than a release, pip would build that from source.
OPTIONS = {"lowest": ["--resolution", "lowest-direct", "--only-binary", ":all:"], "other": []}


def main():
    names = sys.argv[1:] or list(OPTIONS)
    if unknown := set(names) - set(OPTIONS):
        sys.exit(f"{' '.join(sorted(unknown))}: not one of {' '.join(OPTIONS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # else a stopped CI would leave gigabytes behind
    failed = [name for name in names if not passes(name)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def passes(name):
    """Tells whether the fast tests pass in the environment of that name; if there is no Python for it, says so."""
    python = sys.executable if name == "lowest" else find_other_python()
    print(f"== {name}: {python or 'no other Python of 3.11 to 3.13 is here, none is tried'}", flush=True)
    if python is None:
        return True
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        uv, inside = Path(folder, "uv", BIN, "uv"), Path(folder, "environment", BIN, "python")
        # The cache goes with the environment: most of it is one torch that nobody asks for again.
        environ = {"UV_CACHE_DIR": str(Path(folder, "cache")), "UV_HTTP_TIMEOUT": "180"} | os.environ
        commands = [
            [sys.executable, "-m", "venv", Path(folder, "uv")],
            [uv.with_name("python"), "-m", "pip", "install", "--quiet", "uv"],
            [uv, "venv", "--quiet", "--python", python, Path(folder, "environment")],
            [uv, "pip", "install", "--quiet", "--python", inside, *OPTIONS[name], "-r", ROOT / "requirements.txt"],
            [uv, "pip", "list", "--python", inside],
            [inside, "-m", "pytest", "tests", "-m", "not slow", "-q"],
        ]
        return all(subprocess.run(command, cwd=ROOT, env=environ).returncode == 0 for command in commands)


def find_other_python():
    """Returns the newest Python of 3.13 to 3.11 that is not the running one, on PATH or among pyenv's, or None."""
    for version in ("3.13", "3.12", "3.11"):
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/{BIN}/python"))
        for path in [shutil.which(f"python{version}"), *pyenv]:
            if path and version_of(path) == version != "%d.%d" % sys.version_info[:2]:
                return path
    return None


def version_of(path):
    """Returns what a Python says of itself, or nothing if it does not run, as pyenv's shims of absent ones."""
    command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
