"""Nothing is lost: runs that are killed, interrupted, or find the disk full or their folder gone."""

import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path
from queue import Empty
from unittest import mock

import pytest
from conftest import ROOT, equal, fingerprint, lab, small
from jupyter_client.manager import start_new_kernel

POSIX = sys.platform != "win32"
if POSIX:
    import resource
PROCESSES = multiprocessing.get_context("forkserver" if POSIX else "spawn")
CONFIG = small(epochs=12, finish=0.25, tf_final=0.5)


@pytest.fixture(scope="module", autouse=True)
def nursery():
    """Starts the process that all others are forked from: it has the module, so they start in no time, and no threads."""
    if POSIX:
        # torch imports its compiler when the first optimizer is made
        PROCESSES.set_forkserver_preload(["lab5_utils", "conftest", "jupyter_client.manager", "torch._dynamo"])
        with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "tests")])):
            forkserver.ensure_running()


@pytest.fixture(scope="module")
def table():
    return lab.load_verbs()[:40]


@pytest.fixture(scope="module")
def whole(table):
    """Returns the run that nobody disturbed."""
    return lab.train(CONFIG, table, progress=False)


def started(target, *args, **kwargs):
    process = PROCESSES.Process(target=target, args=args, kwargs=kwargs, daemon=True)
    process.start()
    return process


def resumed(table, folder):
    return lab.train(CONFIG, table, run_dir=folder, progress=False)


def files(folder):
    return {path.name for path in folder.iterdir()}


# -- killed ---------------------------------------------------------------------------------------------------------


def tell_and_train(begun, table, folder):
    begun.set()
    lab.train(CONFIG, table, run_dir=folder, progress=False)


@pytest.mark.slow
def test_killed_at_random_moments(table, whole, tmp_path, capsys):
    def start(folder):
        begun = PROCESSES.Event()
        process = started(tell_and_train, begun, table, folder)
        begun.wait()
        return process

    process, start_time = start(tmp_path / "undisturbed"), time.perf_counter()
    process.join()
    seconds = time.perf_counter() - start_time
    lot, kills, runs, epochs = random.Random(0), 0, 0, set()
    while kills < 60:
        folder = tmp_path / str(runs)
        process = start(folder)
        process.join(lot.uniform(0, 0.7 * seconds))
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
            if (folder / lab.CHECKPOINT).exists():
                epochs.add(lab.unseal(folder / lab.CHECKPOINT)["epoch"])
        else:
            assert process.exitcode == 0 and equal(whole, resumed(table, folder))
            runs += 1
    assert equal(whole, resumed(table, folder))
    with capsys.disabled():
        print(f"\n{kills} kills over {runs + 1} runs, found at epochs {sorted(epochs)}")
    assert len(epochs) > 5


TINY = small(epochs=2, finish=0.5, hidden_size=16)


def train_and_die_at(line, table, folder):
    """Trains, and kills its own process when that many lines of what writes a file have been executed."""
    seen = 0

    def trace(frame, event, _):
        nonlocal seen
        if frame.f_code.co_name not in ("keep", "write_whole", "seal"):
            return None
        seen += event == "line"
        if seen == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    lab.train(TINY, table, run_dir=folder, progress=False)


@pytest.mark.slow
@pytest.mark.skipif(not POSIX, reason="SIGKILL is POSIX'")
def test_killed_at_every_line_of_every_write(table, tmp_path, capsys):
    undisturbed = lab.train(TINY, table[:8], progress=False)
    for line in range(1, 1000):
        folder = tmp_path / str(line)
        process = started(train_and_die_at, line, table[:8], folder)
        process.join()
        finished = process.exitcode == 0
        assert finished or process.exitcode == -signal.SIGKILL
        assert equal(undisturbed, lab.train(TINY, table[:8], run_dir=folder, progress=False)), line
        if finished:
            break
    with capsys.disabled():
        print(f"\n{line - 1} lines of {TINY.epochs} writes, killed at each")
    assert line > 20 * TINY.epochs


def train_on_a_disk_of(size, deadly, table, folder):
    """Trains where no file can grow past a size; what is too much kills the process or, as usual, raises OSError."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)
    try:
        lab.train(CONFIG, table, run_dir=folder, progress=False)
    except OSError as error:
        (folder / "said").write_text(str(error))


@pytest.mark.skipif(not POSIX, reason="the limit on files is POSIX'")
@pytest.mark.parametrize("deadly", [True, False])
def test_stopped_in_the_middle_of_a_write(table, whole, tmp_path, deadly):
    lab.train(CONFIG, table, run_dir=tmp_path / "measure", progress=False)
    size = (tmp_path / "measure" / lab.FINISHED).stat().st_size  # checkpoints, with their optimizer, are larger
    folder = tmp_path / "run"
    process = started(train_on_a_disk_of, size, deadly, table, folder)
    process.join()
    if deadly:
        assert process.exitcode == -signal.SIGXFSZ
        (half,) = folder.glob("*.part")
        assert 0 < half.stat().st_size <= size
    else:
        assert process.exitcode == 0 and files(folder) == {"lock", "said"}
        assert "epoch 1 is lost; no epoch is kept" in (folder / "said").read_text()
        (folder / "said").unlink()
    assert equal(whole, resumed(table, folder)) and files(folder) == {"lock", lab.FINISHED}


# -- stopped by hand ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, dict(finish=0.5), dict(tf_final=0.3, decoding="direct"), dict(made_up=2)])
def test_an_interrupted_run_equals_an_uninterrupted_one(table, tmp_path, monkeypatch, changes):
    config = small(**changes)
    undisturbed = lab.train(config, table, progress=False)
    train_epoch = lab._Trainer.train_epoch

    def stop_before(last):
        def epoch_or_stop(self, epoch):
            if epoch == last:
                raise KeyboardInterrupt
            train_epoch(self, epoch)

        return epoch_or_stop

    for last in (2, 4, 5):
        monkeypatch.setattr(lab._Trainer, "train_epoch", stop_before(last))
        with pytest.raises(
            KeyboardInterrupt, match=f"stopped; epoch {last - 1} of 6 is kept in .*run, and the same call"
        ):
            lab.train(config, table, run_dir=tmp_path / "run", progress=False)
        assert files(tmp_path / "run") == {"lock", lab.CHECKPOINT}
    monkeypatch.setattr(lab._Trainer, "train_epoch", train_epoch)
    assert equal(undisturbed, lab.train(config, table, run_dir=tmp_path / "run", progress=False))
    assert files(tmp_path / "run") == {"lock", lab.FINISHED}
    monkeypatch.setattr(lab._Trainer, "train_epoch", None)  # a finished run trains nothing
    assert equal(undisturbed, lab.train(config, table, run_dir=tmp_path / "run", progress=False))


def test_stopped_with_nothing_kept(table, tmp_path, monkeypatch):
    monkeypatch.setattr(lab, "mean_bleu4", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="stopped; nothing is kept, for train was given no run_dir"):
        lab.train(CONFIG, table, progress=False)
    with pytest.raises(KeyboardInterrupt, match="stopped; no epoch is kept"):
        lab.train(CONFIG, table, run_dir=tmp_path, progress=False)


@pytest.mark.parametrize("function", ["seal", "_replace"])
def test_stopped_while_an_epoch_is_kept(table, whole, tmp_path, monkeypatch, function):
    """What is said to be kept is what is kept: the epoch before, for this one's file was not renamed in."""
    calls, original = 0, getattr(lab, function)

    def stop_at_the_third(*args):
        nonlocal calls
        calls += 1
        return original(*args) if calls != 3 else signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(lab, function, stop_at_the_third)
    with pytest.raises(KeyboardInterrupt, match="epoch 2 of 12 is kept"):
        resumed(table, tmp_path)
    assert lab.unseal(tmp_path / lab.CHECKPOINT)["epoch"] == 2 and files(tmp_path) == {"lock", lab.CHECKPOINT}
    monkeypatch.undo()
    assert equal(whole, resumed(table, tmp_path))


class Kernel:
    """Runs cells as a notebook does."""

    def __init__(self):
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def run(self, code, meanwhile=lambda: None):
        """Returns what a cell printed, and its error as `name: value`."""
        request = self.client.execute(code)
        meanwhile()
        self.client.get_shell_msg(timeout=120)
        said = []
        while True:
            message = self.client.get_iopub_msg(timeout=10)
            content = message["content"]
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                said.append(content["text"])
            elif message["msg_type"] == "error":
                said.append(f"{content['ename']}: {content['evalue']}")
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return "".join(said)

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.run(
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'tests')]}\nfrom conftest import fingerprint, lab, small"
    )
    yield kernel
    kernel.close()


@pytest.mark.slow
def test_interrupted_in_a_notebook(kernel, table, whole, tmp_path):
    config = small(epochs=150)
    call = f"run = lab.train(small(epochs=150), lab.load_verbs()[:40], run_dir={str(tmp_path)!r})"

    def interrupt():
        wait_for(lambda: (tmp_path / lab.CHECKPOINT).exists())
        kernel.manager.interrupt_kernel()

    said = kernel.run(call, interrupt)
    found = re.search(r"KeyboardInterrupt: stopped; epoch (\d+) of 150 is kept in .*the same call goes on", said)
    assert found and int(found[1]) == lab.unseal(tmp_path / lab.CHECKPOINT)["epoch"] < 150, said
    said = kernel.run(call + "\nprint(fingerprint(run))")
    assert said.strip() == fingerprint(lab.train(config, table, progress=False))


def wait_for(holds, seconds=60):
    for _ in range(seconds * 100):
        if holds():
            return
        time.sleep(0.01)
    raise TimeoutError


# -- the disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk that holds one checkpoint and not two; returns its folder and a function that mounts it otherwise."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True).returncode

    if not shutil.which("mount") or mount("size=1m"):
        pytest.skip("only root on Linux can mount a small disk")
    yield disk, lambda options: mount("remount," + options)
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_keeps_the_last_good_epoch(table, whole, small_disk):
    disk, remount = small_disk
    with pytest.raises(OSError, match="No space left on device: epoch 2 is lost; epoch 1 of 12 is kept in") as caught:
        resumed(table, disk / "run")
    assert caught.value.filename == str(disk / "run" / lab.CHECKPOINT)
    assert files(disk / "run") == {"lock", lab.CHECKPOINT} and lab.unseal(disk / "run" / lab.CHECKPOINT)["epoch"] == 1
    remount("size=4m")
    assert equal(whole, resumed(table, disk / "run"))


def test_a_read_only_folder_is_refused_before_any_work(table, whole, small_disk, monkeypatch):
    disk, remount = small_disk
    (disk / "run").mkdir()
    remount("ro")
    monkeypatch.setattr(lab._Trainer, "train_epoch", None)
    with pytest.raises(OSError, match="Read-only file system.*run"):
        resumed(table, disk / "run")
    monkeypatch.undo()
    remount("rw,size=4m")
    assert equal(whole, resumed(table, disk / "run"))
    remount("ro")
    monkeypatch.setattr(lab._Trainer, "train_epoch", None)
    assert equal(whole, resumed(table, disk / "run")), "what is done can be read"


def test_a_figure_that_finds_the_disk_full_leaves_the_old_one(small_disk, monkeypatch):
    disk, _ = small_disk
    monkeypatch.setattr(lab, "FIGURES", disk)
    fig, ax = lab.plt.subplots(figsize=(2, 2))
    lab.save_fig(fig, "00_small")
    before = {path.name: path.read_bytes() for path in disk.iterdir()}
    with pytest.raises(OSError, match="No space left"):
        (disk / "rest").write_bytes(bytes(2**20))
    ax.imshow(lab.np.random.default_rng(0).random((300, 300)))
    with pytest.raises(OSError, match="No space left"):
        lab.save_fig(fig, "00_small")
    lab.plt.close(fig)
    assert {name: (disk / name).read_bytes() for name in before} == before and files(disk) == {*before, "rest"}


def test_a_folder_deleted_underneath(table, whole, tmp_path, monkeypatch):
    train_epoch = lab._Trainer.train_epoch

    def delete_and_train(self, epoch):
        if epoch == 4:
            shutil.rmtree(tmp_path / "run")
        train_epoch(self, epoch)

    monkeypatch.setattr(lab._Trainer, "train_epoch", delete_and_train)
    with pytest.raises(FileNotFoundError, match="epoch 4 is lost; no epoch is kept in"):
        resumed(table, tmp_path / "run")
    monkeypatch.undo()
    assert equal(whole, resumed(table, tmp_path / "run"))


def test_a_file_in_the_folders_place(table, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OSError, match="run"):
        resumed(table, tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


def test_a_file_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    """A rename that the disk has and a content that it lacks would be a half file after a power cut."""
    order, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: order.append(os.fstat(file).st_size) or fsync(file))
    monkeypatch.setattr(os, "replace", lambda *paths: order.append("rename") or replace(*paths))
    lab.write_whole(tmp_path / "file", b"x" * 1234)
    assert order[:2] == [1234, "rename"] and len(order) == (3 if POSIX else 2), "then the folder, where it can be"


def test_a_refused_rename_is_tried_again(tmp_path, monkeypatch):
    replace, refusals = os.replace, [PermissionError, PermissionError]

    def refuse_twice(*paths):
        if refusals:
            raise refusals.pop()
        replace(*paths)

    monkeypatch.setattr(os, "replace", refuse_twice)
    lab.write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new" and files(tmp_path) == {"file"}
    refusals.extend([PermissionError] * 99)
    with pytest.raises(PermissionError):
        lab.write_whole(tmp_path / "file", b"newer")
    assert (tmp_path / "file").read_bytes() == b"new" and files(tmp_path) == {"file"}


@pytest.mark.skipif(not POSIX, reason="elsewhere a folder cannot be opened")
def test_a_folder_that_knows_no_fsync(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(file):
        if os.fstat(file).st_mode & 0o040000:
            raise OSError(22, "Invalid argument")
        fsync(file)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    lab.write_whole(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_what_is_not_ours_stays(table, tmp_path):
    (tmp_path / "film.part").write_text("mine")
    (tmp_path / f"{lab.CHECKPOINT}.99.part").write_text("left by a killed process")
    resumed(table, tmp_path)
    assert files(tmp_path) == {"lock", lab.FINISHED, "film.part"}


def test_no_open_file_is_renamed_or_renamed_over(table, tmp_path, monkeypatch):
    """Windows refuses both."""
    proc = Path("/proc/self/fd")
    if not proc.exists():
        pytest.skip("open files are listed on Linux alone")
    replace, renamed = os.replace, []

    def strict_replace(source, target):
        opened = {os.path.realpath(link) for link in proc.iterdir()}
        assert not {os.path.realpath(source), os.path.realpath(target)} & opened
        renamed.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", strict_replace)
    resumed(table, tmp_path)
    assert len(renamed) == CONFIG.epochs


# -- two at once ----------------------------------------------------------------------------------------------------


def load_and_tell(runs, table, told):
    """Asks for the run as a notebook does, and tells which epochs this process trained, and what came out."""
    lab.RUNS = runs
    train_epoch = lab._Trainer.train_epoch

    def tell_and_train(self, epoch):
        train_epoch(self, epoch)
        told.put(epoch)

    lab._Trainer.train_epoch = tell_and_train
    told.put(fingerprint(lab.load_or_train(CONFIG, table, progress=False)))


def all_told(told):
    said = []
    while True:
        try:
            said.append(told.get(timeout=0.5))
        except Empty:
            return [x for x in said if isinstance(x, int)], [x for x in said if isinstance(x, str)]


def test_of_two_that_ask_for_a_run_one_trains_it(table, whole, tmp_path):
    told = PROCESSES.Queue()
    processes = [started(load_and_tell, tmp_path, table, told) for _ in range(3)]
    for process in processes:
        process.join()
    epochs, results = all_told(told)
    assert epochs == list(range(1, CONFIG.epochs + 1))
    assert results == [fingerprint(whole)] * 3


def test_who_waits_goes_on_when_the_other_is_killed(table, whole, tmp_path):
    told, other = PROCESSES.Queue(), PROCESSES.Queue()
    first = started(load_and_tell, tmp_path, table, told)
    wait_for(lambda: list(tmp_path.glob(f"*/{lab.CHECKPOINT}")))
    second = started(load_and_tell, tmp_path, table, other)
    first.kill()
    first.join()
    kept = lab.unseal(next(tmp_path.glob(f"*/{lab.CHECKPOINT}")))["epoch"]
    second.join()
    epochs, results = all_told(other)
    assert results == [fingerprint(whole)]
    assert epochs == list(range(kept + 1, CONFIG.epochs + 1)), "what the other had kept is used, and nothing blocks"


def test_a_second_thread_waits_its_turn(table, whole, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda name: resumed(table, tmp_path / name), ["a", "a", "b"]))
    assert all(equal(whole, run) for run in runs)


# -- a loss that is not finite --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_stops_the_run(table, tmp_path, monkeypatch, what):
    kl_divergence, calls = lab.kl_divergence, 0

    def spoiled(mu, logvar):
        nonlocal calls
        calls += 1
        # the root of 0 is 0, and its slope is not finite
        extra = 0 if calls != 13 else mu.sum(1) * lab.torch.nan if what == "loss" else (mu.sum(1) * 0).sqrt()
        return kl_divergence(mu, logvar) + extra

    monkeypatch.setattr(lab, "kl_divergence", spoiled)
    with pytest.raises(
        FloatingPointError, match=f"the {what} is nan in epoch 3, step 3; epoch 2 of 6 is kept in .*run"
    ):
        lab.train(small(strategy="constant"), table, run_dir=tmp_path / "run", progress=False)
    kept = lab.unseal(tmp_path / "run" / lab.CHECKPOINT)
    assert kept["epoch"] == 2 and all(weight.isfinite().all() for weight in kept["model"].values())
    monkeypatch.undo()
    undisturbed = lab.train(small(strategy="constant"), table, progress=False)
    assert equal(undisturbed, lab.train(small(strategy="constant"), table, run_dir=tmp_path / "run", progress=False))
