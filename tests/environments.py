"""Runs the fast tests in throwaway environments: the oldest versions allowed, and another Python.

    python tests/environments.py [lowest] [other]

`lowest` is the running Python with the lowest versions that requirements.txt admits, `other`
another Python of 3.11 to 3.13 with the newest; both if none is named. Each takes a few GB in the
temporary folder (TMPDIR moves it) and removes them again.
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
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
OPTIONS = {
    # the lowest of those that need no compiler: a Python younger than a release has none built
    "lowest": ["--resolution", "lowest-direct", "--only-binary", ":all:"],
    "other": [],
}


def main():
    """Tries the environments that are named; exits 1 and names those that failed."""
    names = sys.argv[1:] or list(OPTIONS)
    unknown = sorted(set(names) - set(OPTIONS))
    if unknown:
        sys.exit(f"{' '.join(unknown)}: not one of {' '.join(OPTIONS)}")
    signal.signal(signal.SIGTERM, stop)
    failed = [name for name in names if not passes(name)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def stop(*_):
    """Ends the script in order, so that a stopped CI leaves no gigabytes behind."""
    sys.exit("stopped")


def passes(name):
    """Tells whether the fast tests pass there; without a Python for it, says so and does."""
    python = sys.executable if name == "lowest" else find_other_python()
    if python is None:
        print(f"== {name}: no other Python of 3.11 to 3.13 is here, none is tried", flush=True)
        return True
    print(f"== {name}: {python}", flush=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # the cache goes with the environment: most of it is one torch that nobody asks for again
        defaults = {"UV_CACHE_DIR": str(Path(folder, "cache")), "UV_HTTP_TIMEOUT": "180"}
        environ = defaults | os.environ
        for command in commands(Path(folder), python, OPTIONS[name]):
            if subprocess.run(command, cwd=ROOT, env=environ).returncode != 0:
                return False
    return True


def commands(folder, python, options):
    """Returns the commands that make an environment in a folder and run the fast tests in it."""
    uv = folder / "uv" / BIN / "uv"
    environment = folder / "environment"
    inside = environment / BIN / "python"
    pip = [uv, "pip", "install", "--quiet", "--python", inside]
    return [
        [sys.executable, "-m", "venv", folder / "uv"],
        [uv.with_name("python"), "-m", "pip", "install", "--quiet", "uv"],
        [uv, "venv", "--quiet", "--python", python, environment],
        [*pip, *options, "-r", ROOT / "requirements.txt"],
        [uv, "pip", "list", "--python", inside],
        [inside, "-m", "pytest", "tests", "-m", "not slow", "-q"],
    ]


def find_other_python():
    """Returns the newest Python of 3.13 to 3.11 but the running one, on PATH or of pyenv."""
    for version in ("3.13", "3.12", "3.11"):
        if version == RUNNING:
            continue
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/{BIN}/python"))
        for path in [shutil.which(f"python{version}"), *pyenv]:
            if path and version_of(path) == version:
                return path
    return None


def version_of(path):
    """Returns what a Python says of itself; nothing if it does not run, as some shims of pyenv."""
    command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
