"""A kept run survives: interrupts, kills, damaged files; and of two that ask, one trains it."""

import own
import pytest
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

def report(training, epoch):
    print(epoch, flush=True)
    while Path(sys.argv[1]).exists():
        time.sleep(0.05)

own.Reporting.report = report
print(fingerprint(keep(CONFIG, VERBS)))
"""


@pytest.fixture
def held(tmp_path):
    """Returns a file; who trains waits as long as it is there."""
    held = tmp_path / "held"
    held.touch()
    return held


@pytest.fixture
def ask(tmp_path, held):
    """Returns a function that starts a process, which asks for the run."""
    return lambda: start("-c", ASKS, str(held), LAB5_RUNS=str(tmp_path / "runs"))


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_goes_on_bit_for_bit(ask, held):
    held.unlink()
    begun = 1
    for _ in range(3):
        with ask() as process:
            first = int(process.stdout.readline())
            assert first >= begun, "an epoch that was followed by another is never trained again"
            begun = first + 4
            while int(process.stdout.readline()) < begun:
                pass
            process.kill()
    *_, digest = ask().communicate()[0].split()
    assert digest == fingerprint(train(CONFIG, VERBS))


@pytest.mark.slow
def test_of_two_processes_one_trains_a_run_and_the_other_says_that_it_waits(ask, held):
    first = ask()
    first.stdout.readline()  # it trains
    second = ask()
    assert "another process trains this run; waiting" in second.stdout.readline()
    held.unlink()
    *epochs, digest = first.communicate()[0].split()
    assert len(epochs) == 23
    assert second.communicate()[0].split() == [digest], "it trained no epoch"


# ---- Files ----
def test_a_damaged_file_is_named_and_the_run_trained_anew(runs_folder, capsys):
    config = small(epochs=2)
    run = keep(config, VERBS)
    (file,) = written(runs_folder)
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[5000] ^= 1
    for damaged in (flipped, content[:-1], content[:20], b"", b"x" + content, content + content):
        file.write_bytes(damaged)
        assert equal(keep(config, VERBS), run)
        assert capsys.readouterr().out == f"{file}: damaged; the run is trained anew\n"
        assert file.read_bytes() == content, "it is whole again"
