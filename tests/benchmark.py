"""Measures how fast training and decoding are, and how soon they reach which score.

    python tests/benchmark.py [loop] [peak] [profile] [decode] [scaling] [ladder]

Without a name, all but the ladder (four minutes; the ladder takes twenty, five seeds a rung). Whatever is compared is timed
in turn in one process; each line shows the least, the median and the most of its rounds.
"""

import random
import sys
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab5_utils as lab

ROUNDS, SECONDS = 5, 2.0
COURSE = dict(training="same-tense", decoding="direct", starts_in="hidden", optimizer="sgd", learning_rate=0.05)


def rate(step, seconds=SECONDS):
    """Calls `step` for so many seconds; returns the sum of what it returned, a second."""
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        done += step()
    return done / spent


def show(name, values, digits=0):
    low, mid, high = (f"{f(values):12,.{digits}f}" for f in (np.min, np.median, np.max))
    print(f"{name:56}{low}{mid}{high}", flush=True)


def trainer_step(config, verbs, unit):
    """Returns a function that makes one training step of full length and returns its `unit` of work."""
    trainer = lab._Trainer(config, verbs, lab.load_test_pairs())
    batches = cycle(list(trainer.table.batches(trainer.generator)))

    def step():
        batch = next(batches)
        trainer._step(batch, 1, 100)
        return unit(config, batch)

    rate(step, 1)  # warm
    return step


def words(config, batch):
    return batch.target_lengths.numel()


def operations(config, batch):
    """Counts the multiplications and additions that the letters of a batch need, forwards and back; no padding."""
    H, E = config.hidden_size, config.embedding_size
    lstm, letter = 4 * H * (E + H), H * (lab.VOCABULARY - 1)
    spelled = int(batch.target_lengths.sum())
    return 2 * 3 * (lstm * (spelled + int(batch.source_lengths.sum())) + letter * spelled)


# -- the loop that most implementations of this lab train with --------------------------------------------------------


def read(lstm, embedding, letters, state):
    """Feeds letters one LSTM call at a time; returns the hidden state (1, H) after each."""
    outputs = []
    for letter in letters:
        hidden, state = lstm(embedding(letter[None, None]), state)  # (1, 1, H)
        outputs.append(hidden[:, 0])
    return outputs


def spell(model, told, letters):
    """Spells one word, teacher-forced; returns its cross-entropy and the state it ends in."""
    inputs = [torch.tensor(lab.SOS), *letters[:-1]]
    hidden = read(model.decoder.lstm, model.decoder.embedding, inputs, model.decoder.start(told))
    ce = sum(F.cross_entropy(model.decoder.letter(h), letter[None]) for h, letter in zip(hidden, letters))
    return ce, hidden[-1]


def one_at_a_time(trainer, verb, tense):
    """Makes one update at batch size 1, one LSTM call a character; returns the number of words decoded.

    Row training takes one form in and spells the lemma and others; same-tense training takes one word in and spells it.
    """
    model = trainer.model
    forms = [lab.words_to_tensor([form])[0][0] for form in verb]
    condition = model.encoder.condition(torch.tensor([tense]))
    h0 = F.pad(condition, (model.config.hidden_size - condition.shape[1], 0))[None]
    last = read(model.encoder.lstm, model.encoder.embedding, forms[tense], (h0, torch.zeros_like(h0)))[-1]
    mu, logvar = model.encoder.mu(last), model.encoder.logvar(last)
    z = lab.reparameterize(mu, logvar, trainer.generator)
    if model.config.training == "same-tense":
        losses = [spell(model, model.tell_first(z, torch.tensor([tense])), forms[tense])[0]]
    else:
        lemma, end = spell(model, model.tell_first(z, None), forms[0])
        others = random.sample((1, 2, 3), model.config.targets - 1)
        losses = [lemma] + [spell(model, model.tell_form(end, torch.tensor([t])), forms[t])[0] for t in others]
    trainer._update(sum(losses) / len(losses) + 0.1 * lab.kl_divergence(mu, logvar).mean(), 1, 100)
    return len(losses)


def loop(verbs):
    """Compares words decoded a second: batched against one word and one character at a time."""
    recommended = lab.Config()
    for name, config in {
        f"recommended, {recommended.batch_size} verbs a batch": recommended,
        "course's model, 16 words a batch": lab.Config(batch_size=16, **COURSE),
        "course's model, 256 words a batch": lab.Config(batch_size=256, **COURSE),
    }.items():
        fast, single = trainer_step(config, verbs, words), lab._Trainer(config, verbs, lab.load_test_pairs())
        rows = cycle((verb, tense) for verb in verbs for tense in range(4))
        slow = lambda: one_at_a_time(single, *next(rows))
        rate(slow, 1)
        batched, one = np.array([[rate(fast), rate(slow)] for _ in range(ROUNDS)]).T
        print(name)
        show("  batched, words/s", batched), show("  batch 1, a character a call, words/s", one)
        show("  ratio", batched / one)


# -- how much of the machine training uses -----------------------------------------------------------------------------


def product():
    """Multiplies two matrices of the size at which this is fastest; returns the operations."""
    size = 2048
    torch.mm(product.a, product.b)
    return 2 * size**3


product.a, product.b = torch.randn(2, 2048, 2048).unbind()


def peak(verbs):
    """Compares operations a second on real letters with the machine's own float32 matrix product."""
    available = torch.get_num_threads()
    for threads in dict.fromkeys((1, available)):
        torch.set_num_threads(threads)
        for size in (lab.Config().batch_size, 128):
            step = trainer_step(lab.Config(batch_size=size), verbs, operations)
            train, mm = np.array([[rate(step), rate(product)] for _ in range(ROUNDS)]).T / 1e9
            print(f"{threads} threads, {size} verbs a batch")
            show("  training, GFLOP/s of real letters", train), show("  matrix product of 2048 × 2048, GFLOP/s", mm)
            show("  share", train / mm, 2)
    torch.set_num_threads(available)


KINDS = {
    "LSTM, fused": ("mkldnn_rnn",),
    "other matrix products": ("mm", "addmm", "bmm"),
    "update: Adam, clipping, zeroing": ("_fused_adam", "Optimizer.", "linalg_vector_norm", "mul_", "zero_", "stack"),
}


def kind_of(operator):
    name = operator.removeprefix("aten::")
    for kind, starts in KINDS.items():
        if name.startswith(starts):
            return kind
    return "everything else"


def profiled(verbs):
    """Profiles one epoch of training steps by the kind of work, and counts how much of it is padding."""
    trainer = lab._Trainer(lab.Config(), verbs, lab.load_test_pairs())
    batches = list(trainer.table.batches(trainer.generator))
    run = lambda: [trainer._step(batch, 1, 100) for batch in batches]
    run()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        run()
    spent = pd.Series({e.key: e.self_cpu_time_total for e in seen.key_averages()})
    for kind, share in (spent.groupby(kind_of).sum() / spent.sum()).sort_values(ascending=False).items():
        print(f"  {kind:54}{share:12.2f}")
    parts = [part for b in batches for part in (b.targets(slice(0, 1)), b.targets(slice(1, None)))]
    real = sum(int(part.target_lengths.sum()) for part in parts) + sum(int(b.source_lengths.sum()) for b in batches)
    fed = sum(part.target.numel() for part in parts) + sum(b.source.numel() for b in batches)
    print(f"  {'letters of those fed that are real':54}{real / fed:12.2f}")


# -- decoding, scaling ---------------------------------------------------------------------------------------------------


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def decode(verbs):
    """Times the two big evaluations on the trained model."""
    model = lab.load_or_train(lab.Config(), verbs).model
    show("10,000 draws × 4 tenses, s", [timed(lambda: lab.sample_prior(model, 10_000)) for _ in range(ROUNDS)], 2)
    show(
        f"12 × {len(verbs):,} conversions, s",
        [timed(lambda: lab.conversion_accuracy(model, verbs)) for _ in range(ROUNDS)],
        2,
    )


def invented(verbs, count):
    """Returns so many different rows of the same lengths as those of the table: shuffled letters."""
    shuffle = lambda word: "".join(random.sample(word, len(word)))
    rows = {tuple(map(shuffle, random.choice(verbs))) for _ in range(3 * count)}
    return sorted(rows)[:count]


def scaling(verbs):
    """Shows how words a second grow with batch size, hidden size, threads and table size; all else as recommended."""
    available = torch.get_num_threads()
    for threads in dict.fromkeys((1, available)):
        torch.set_num_threads(threads)
        for size in (4, 8, 16, 32, 64, 128, 256):
            step = trainer_step(lab.Config(batch_size=size), verbs, words)
            show(f"{threads} threads, {size} verbs a batch, words/s", [rate(step, 1) for _ in range(3)])
        for hidden in (64, 128, 256, 512):
            step = trainer_step(lab.Config(hidden_size=hidden), verbs, words)
            show(f"{threads} threads, hidden size {hidden}, words/s", [rate(step, 1) for _ in range(3)])
    for count in (1227, 3000, 6000):
        step = trainer_step(lab.Config(), invented(verbs, count), words)
        show(f"a table of {count:,} verbs, words/s", [rate(step, 1) for _ in range(3)])


# -- time to a score -----------------------------------------------------------------------------------------------------

LADDER = {  # a short training that is held at a higher rate spends less on the Gaussian score
    "the course's full marks, .7 / .3": {"epochs": 30, "rate_end": 7.0},
    "the best pair reported, .957 drawn / .444": {"epochs": 72, "rate_end": 7.0},
    "the recipe": {},
}


def ladder(verbs):
    """Trains from nothing with three budgets, five seeds each, and shows seconds and scores of the last epoch."""
    columns = ["bleu4", "bleu4_drawn", "conversion", "gaussian_exact", "distinct"]
    for name, change in LADDER.items():
        rows = []
        for seed in range(5):
            config = lab.Config(seed=seed, evaluate_every=1000, **change)
            start = time.perf_counter()
            model = lab.train(config, verbs, progress=False).model
            seconds = time.perf_counter() - start
            scores = lab.score(model, verbs)
            rows.append({"seconds": seconds} | {column: scores[column] for column in columns})
        table = pd.DataFrame(rows)
        print(
            f"{name}: {change or 'as it is'}\n{table.agg(['min', 'mean', 'max', 'std']).round(3).to_string()}",
            flush=True,
        )


SECTIONS = {"loop": loop, "peak": peak, "profile": profiled, "decode": decode, "scaling": scaling, "ladder": ladder}

if __name__ == "__main__":
    chosen = sys.argv[1:] or [name for name in SECTIONS if name != "ladder"]
    if unknown := set(chosen) - set(SECTIONS):
        sys.exit(f"unknown: {', '.join(unknown)}; expected some of {', '.join(SECTIONS)}")
    random.seed(0)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; least / median / most of {ROUNDS} rounds in turn"
    )
    for name in chosen:
        print(f"\n{name}: {SECTIONS[name].__doc__}")
        SECTIONS[name](lab.load_verbs())
