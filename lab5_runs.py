"""Runs of the lab: trained once, kept in runs/, resumed bit for bit, and swept over the cores.

A run in runs/ is named by what decides its bits: its configuration, its verbs, the text of
`lab5_utils`, `lab5_train` and `lab5_runs`, the text of each file in which something handed over
stands (an encoder, a decoder, a schedule, a training, and the classes that they are made of), the
versions, and whether a GPU computes. Texts are those of when a run was first asked for: after an
edit restart Python. What a notebook defines is trained each time, and a line says so beforehand.

As a program it is the demo: `python lab5_runs.py [WORD …]`.
"""

import functools
import io
import json
import platform
import sys
import tempfile
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import joblib
import pandas as pd
import torch
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

import lab5_train
import lab5_utils as lab
from lab5_train import Config, reproducible, short_name

RUNS = lab.folder_named("LAB5_RUNS", "runs")  # one folder per run


# ---- What names a run ----
def definitions(config: Config) -> list:
    """Returns the functions and classes of a configuration, and what these classes are made of."""
    parts = [type(config), *filter(callable, vars(config).values())]
    return [one for part in parts for one in getattr(part, "__mro__", [part]) if one is not object]


def file_of(part) -> str | None:
    """Returns the file that defines a function or a class under its name, or None."""
    module = sys.modules.get(getattr(part, "__module__", None))
    is_named = getattr(module, getattr(part, "__qualname__", ""), None) is part
    return getattr(module, "__file__", None) if is_named else None


@functools.cache  # so that a text is that of when it was first asked for
def text_of(file: str) -> str:
    """Returns the text of a file."""
    return Path(file).read_text("utf-8")


def described(value) -> str | float:
    """Returns a value of a configuration as JSON has it, where 1 and 1.0 are one number."""
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return value if isinstance(value, str) else float(value)


def run_name(config: Config, verbs: list[lab.Verb]) -> str:
    """Returns the name of a run, all of whose definitions stand in files."""
    files = {lab.__file__, lab5_train.__file__, __file__, *map(file_of, definitions(config))}
    decides = [
        {name: described(value) for name, value in vars(config).items()},
        verbs,
        sorted(map(text_of, files)),
        [platform.python_version(), torch.__version__, torch.cuda.is_available()],
    ]
    return sha256(json.dumps(decides).encode()).hexdigest()[:20]


# ---- Where a run is kept ----
def folders_of(configs, verbs: list[lab.Verb]) -> dict[Config, Path | None]:
    """Returns the folder of each run, or None for what isn't kept, and a line says why."""
    folders = dict.fromkeys(configs)  # equal ones are one run
    try:
        RUNS.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=RUNS).close()
    except OSError as error:
        print(f"not kept, since {RUNS} can't be written ({error.strerror})")
        return folders
    unnamed = []  # what isn't defined in a file
    for config in folders:
        own = [part for part in definitions(config) if file_of(part) is None]
        folders[config] = None if own else RUNS / run_name(config, verbs)
        unnamed += map(short_name, own)
    if unnamed:
        names = ", ".join(dict.fromkeys(unnamed))
        print(f"trained each time and not kept, since no file defines it: {names}")
    return folders


def acquired(folder: Path):
    """Returns the lock of a run, to be held by a `with`; whoever waits for it is told so."""
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"another process trains this run; waiting for it ({folder})", flush=True)
        return lock.acquire()


def save(state: dict, folder: Path) -> None:
    """Saves a state and its SHA-256, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    part = folder / "run.part"
    part.write_bytes(content + sha256(content).digest())
    part.replace(folder / "run.pt")


def load(folder: Path) -> dict | None:
    """Returns the state that was saved, or None if there is none or if it is damaged.

    Whatever the file holds, loading it runs no code.
    """
    path = folder / "run.pt"
    if not path.exists():
        return None
    content = path.read_bytes()
    if sha256(content[:-32]).digest() != content[-32:]:
        print(f"{path}: damaged; the run is trained anew")
        return None
    return torch.load(io.BytesIO(content[:-32]), map_location="cpu", weights_only=True)


def is_finished(config: Config, folder: Path | None) -> bool:
    """Tells whether a run is kept that lacks no epoch."""
    state = load(folder) if folder else None
    return state is not None and len(state["history"]) == config.epochs


# ---- Runs ----
class Run(NamedTuple):
    """A finished training: what it made, and how it went."""

    model: lab.CVAE
    history: pd.DataFrame  # one row per epoch
    config: Config


def finish(config: Config, verbs: list[lab.Verb], folder: Path | None, progress=False) -> Run:
    """Returns a run after training what is missing of it; each epoch is saved in its folder."""
    # the lock comes last, or threads could block
    with reproducible(config.seed), acquired(folder) if folder else nullcontext():
        training = config.training(config, verbs)
        if folder and (state := load(folder)):
            training.restore(state)
        done, total = len(training.history), config.epochs
        label = f"resumed at epoch {done + 1}" if done else "epochs"
        hidden = not progress or done == total
        for epoch in tqdm(
            range(done + 1, total + 1), label, total, leave=False, initial=done, disable=hidden
        ):
            try:
                training.run_epoch(epoch)
            except Exception as error:
                error.add_note(f"in epoch {epoch} of {config}")
                raise
            if folder:
                save(training.state(), folder)
    history = pd.DataFrame(training.history).set_index("epoch")
    return Run(training.model.eval(), history, config)


def train(config: Config, verbs=None, *, progress=True) -> Run:
    """Returns a run: the model after the last epoch, and a history with one row per epoch.

    It is trained on verbs, each of them once; by default, on those of `load_verbs()`. A row of the
    history holds what `Training.loss` measures, the learning rate of the last step, and what
    `Training.evaluate` returns. `progress` shows a bar. Raises the errors of `lab.check_verbs`
    before any work, FloatingPointError for a loss that isn't finite, and ValueError for a schedule
    that leaves 0..1.
    """
    return finish(config, lab.check_verbs(verbs), None, progress)


def load_or_train(config: Config, verbs=None, *, progress=True) -> Run:
    """Returns the run of this configuration and these verbs from runs/, or trains it.

    Every epoch is saved, so that the same call resumes a run, on a CPU bit for bit. Takes and
    raises what `train` does.
    """
    verbs = lab.check_verbs(verbs)
    return finish(config, verbs, folders_of([config], verbs)[config], progress)


def sweep(configs, verbs=None, *, progress=True, jobs=-1) -> list[Run]:
    """Returns the runs of configurations, in their order, each loaded from runs/ or trained.

    Equal configurations are one run. One is trained per core, or on a cluster
    (`joblib.parallel_config`). Takes and raises what `load_or_train` does. What was finished before
    an error is kept, if it is kept at all.
    """
    configs = list(configs)
    verbs = lab.check_verbs(verbs)
    folders = folders_of(configs, verbs)
    missing = [config for config, folder in folders.items() if not is_finished(config, folder)]
    calls = [joblib.delayed(finish)(config, verbs, folders[config]) for config in missing]
    jobs = min(joblib.effective_n_jobs(jobs), max(1, len(missing)))
    trained = joblib.Parallel(jobs, return_as="generator")(calls)
    bar = tqdm(trained, "runs", len(missing), leave=False, disable=not (progress and missing))
    runs = dict(zip(missing, bar, strict=True))
    for config in folders.keys() - runs.keys():
        runs[config] = finish(config, verbs, folders[config])
    # with the configurations that were given, since a worker returns copies of their functions
    return [runs[config]._replace(config=config) for config in configs]


# ---- The demo ----
OWN = ("walked", "stopping", "sleep")  # of which the last comes out wrong


def likeliest_tense(model: lab.CVAE, word: str) -> int:
    """Returns the tense in which a word costs a model least."""
    tenses = torch.arange(model.vocabulary.forms)  # (F,)
    words = lab.as_words([word] * len(tenses), tenses, model.vocabulary).to(model.device)
    mu, logvar = model.encode_words(words)  # (F, Z)
    ce = model.decoder.nats(mu, words, free_running=tenses < 0)  # (F,), with the right letters fed
    return int((ce + lab.kl_divergence(mu, logvar)).argmin())


def main() -> None:
    """Shows what the plain model makes of test.txt, of noise, and of words that are typed."""
    verbs = lab.load_verbs()
    words = sys.argv[1:] or OWN
    try:
        lab.vocabulary_of(verbs).to_tensor(lab.check_words(words))
    except ValueError as error:
        sys.exit(str(error))
    model = load_or_train(Config(), verbs).model
    print("The ten conversions of test.txt, each with its target:")
    for source, target, *tenses in lab.pairs_of(verbs):
        (output,) = model.convert([source], *tenses)
        print(f"  {source:<12} -> {output:<12} {target}")
    print(f"BLEU-4: {lab.mean_bleu4(model, lab.pairs_of(verbs)):.3f}")
    drawn = lab.sample_prior(model, 1000)
    print(f"Gaussian score of 1,000 draws: {lab.gaussian_score(drawn, verbs).official:.3f}, as in")
    print("\n".join("  " + " ".join(verb) for verb in drawn[:10]))
    print("Words of your own, and all their forms:")
    for word in words:
        mu, _ = model.encode([word], likeliest_tense(model, word))
        forms = model.generate(mu)[0]
        known = [verb for verb in verbs if word in verb]
        is_right = forms in known or not known
        wrong = "" if is_right else f"   wrong: the table has {' '.join(known[0])}"
        print(f"  {word} -> {' '.join(forms)}{wrong}")


if __name__ == "__main__":
    main()
