"""A kept run survives: interrupts, kills, damaged files; and of two that ask, one trains it."""

from pathlib import Path

import own
import pytest

import lab5_runs
from conftest import VERBS, equal, fingerprint, keep, small, start, train, written

CONFIG = small(epochs=24, tf_final=0.5, training=own.Reporting)


# ---- Interrupts ----
def test_an_interrupted_run_goes_on_bit_for_bit(runs_folder, monkeypatch):
    """Even with a GRU decoder, whose dropout draws on its own."""
    changes = {"decoder": own.GRUDecoder, "training": own.Reporting}
    config = small(epochs=4, tf_final=0.3, **changes)
    epochs = []

    def interrupt(training, epoch):
        epochs.append(epoch)
        if len(epochs) in (2, 4, 6):
            raise KeyboardInterrupt

    monkeypatch.setattr(own.Reporting, "report", interrupt)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            keep(config, VERBS)
    run = keep(config, VERBS)
    assert epochs == [1, 2, 2, 3, 3, 4, 4]
    assert equal(run, train(config, VERBS))


# ---- Processes ----
ASKS = """
import sys, time
from pathlib import Path
from test_survival import CONFIG, VERBS, fingerprint, keep, own

barrier = Path(sys.argv[1])

def report(training, epoch):
    print(epoch, flush=True)
    while epoch == int(sys.argv[2]) and barrier.exists():
        time.sleep(0.05)

own.Reporting.report = report
print(fingerprint(keep(CONFIG, VERBS)))
"""


@pytest.fixture
def barrier(tmp_path):
    """Returns a file at which processes stop."""
    barrier = tmp_path / "barrier"
    barrier.touch()
    return barrier


@pytest.fixture
def ask(tmp_path, barrier):
    """Returns a function that starts a process, which asks for the run and stops in an epoch."""
    return lambda stop: start("-c", ASKS, str(barrier), str(stop), LAB5_RUNS=str(tmp_path / "runs"))


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_goes_on_bit_for_bit(ask):
    begun = 1
    for stop in (3, 9, 15):
        expected = list(range(begun, stop + 1))
        with ask(stop) as process:
            epochs = [int(process.stdout.readline()) for _ in expected]
            process.kill()
        assert epochs == expected, "no epoch that was saved is trained again"
        begun = stop
    *_, digest = ask(0).communicate()[0].split()
    assert digest == fingerprint(train(CONFIG, VERBS))


@pytest.mark.slow
def test_of_two_processes_one_trains_a_run_and_the_other_says_that_it_waits(ask, barrier):
    first = ask(1)
    first.stdout.readline()  # it trains
    second = ask(0)
    assert "another process trains this run; waiting" in second.stdout.readline()
    barrier.unlink()
    *epochs, digest = first.communicate()[0].split()
    assert len(epochs) == 23
    assert second.communicate()[0].split() == [digest], "it trained no epoch"


# ---- Files ----
def test_a_damaged_file_is_named_and_the_run_trained_anew(runs_folder, capsys):
    config = small(epochs=2)
    run = keep(config, VERBS)
    (file,) = written(runs_folder)
    content = file.read_bytes()
    flipped = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
    for damaged in (b"", content[:20], content[:-1], b"x" + content, flipped):
        file.write_bytes(damaged)
        assert equal(keep(config, VERBS), run)
        assert capsys.readouterr().out == f"{file}: damaged; the run is trained anew\n"
        assert file.read_bytes() == content, "it is whole again"


def test_a_save_that_fails_leaves_the_epoch_before(tmp_path, monkeypatch):
    lab5_runs.save({"history": [1]}, tmp_path)

    def write_half(path, content):
        with path.open("wb") as file:
            file.write(content[:99])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="disk full"):
        lab5_runs.save({"history": [1, 2]}, tmp_path)
    assert lab5_runs.load(tmp_path) == {"history": [1]}
