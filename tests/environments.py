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
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.13", "3.12", "3.11")
RUNNING = "%d.%d" % sys.version_info[:2]
BIN, EXE = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
# The lowest of those that need no compiler: on a Python younger than a release, pip would build that from source.
OPTIONS = {"lowest": ["--resolution", "lowest-direct", "--only-binary", ":all:"], "other": []}
PRINT_VERSIONS = """
import platform, importlib.metadata as m
names = "torch numpy pandas joblib matplotlib nltk".split()
print("python", platform.python_version(), *(f"· {name} {m.version(name)}" for name in names), flush=True)
"""


def main():
    names = sys.argv[1:] or list(OPTIONS)
    if unknown := set(names) - set(OPTIONS):
        sys.exit(f"{' '.join(sorted(unknown))}: not one of {' '.join(OPTIONS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # else a stopped CI would leave gigabytes behind
    with tempfile.TemporaryDirectory() as folder:
        uv = find_uv(Path(folder))
        failed = [name for name in names if not passes(name, uv)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def passes(name, uv):
    """Tells whether the fast tests pass in the environment of that name; if there is no Python for it, says so."""
    python = sys.executable if name == "lowest" else find_other_python()
    if python is None:
        print(f"== {name}: no other Python of {', '.join(PYTHONS)} is present here, none is tried", flush=True)
        return True
    print(f"== {name}: {python}", flush=True)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            install_and_test(Path(folder), uv, python, OPTIONS[name])
    except subprocess.CalledProcessError as error:
        print(f"== {name} FAILED: {subprocess.list2cmdline(map(str, error.cmd))}", flush=True)
        return False
    return True


def install_and_test(folder, uv, python, options):
    """Makes an environment in the folder and runs the fast tests in it."""
    # The cache goes with the environment: most of it is one torch that nobody asks for again.
    environ = {"UV_CACHE_DIR": str(folder / "cache"), "UV_HTTP_TIMEOUT": "180"} | os.environ
    inside = folder / "environment" / BIN / f"python{EXE}"
    start = time.monotonic()
    run(uv, "venv", "--quiet", "--python", python, folder / "environment", env=environ)
    install = [uv, "pip", "install", "--quiet", "--python", inside, *options, "-r", ROOT / "requirements.txt"]
    run(*install, env=environ)
    run(inside, "-c", PRINT_VERSIONS)
    installed = time.monotonic()
    print(f"installed in {installed - start:.0f} s", flush=True)
    run(inside, "-m", "pytest", "tests", "-m", "not slow", "-q")
    print(f"tested in {time.monotonic() - installed:.0f} s", flush=True)


def run(*command, **options):
    subprocess.run(command, check=True, cwd=ROOT, **options)


def find_uv(folder):
    """Returns the uv that is present, or one that is installed into the folder."""
    if found := shutil.which("uv"):
        return found
    run(sys.executable, "-m", "venv", folder)
    run(folder / BIN / f"python{EXE}", "-m", "pip", "install", "--quiet", "uv")
    return folder / BIN / f"uv{EXE}"


def find_other_python():
    """Returns the newest Python of PYTHONS that is not the running one and really runs, or None."""
    for version in PYTHONS:
        for path in candidates(version) if version != RUNNING else []:
            if version_of(path) == version:
                return path
    return None


def candidates(version):
    """Lists where a Python of that version may be: on PATH, and in the folders in which pyenv keeps its own."""
    on_path = shutil.which(f"python{version}")
    roots = [os.environ.get("PYENV_ROOT"), output_of("pyenv", "root"), Path.home() / ".pyenv"]
    kept = [path for root in roots if root for path in Path(root, "versions").glob(f"{version}.*/{BIN}/python{EXE}")]
    return [on_path, *kept] if on_path else kept


def version_of(path):
    return output_of(path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")


def output_of(*command):
    """Returns what a command prints, or nothing if it is not there or fails, as pyenv's shims of absent Pythons do."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    main()
