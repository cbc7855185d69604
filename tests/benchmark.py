"""Times training against the loop that most implementations of this lab train with.

    python tests/benchmark.py

Prints words decoded a second, batched and one character at a time at batch size 1, timed in turn in one process,
and the ratio of each pair with its spread.
"""

import sys
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab5_utils as lab

ROUNDS, SECONDS = 5, 2.0


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

    Row training takes one form in and spells all four; same-tense training takes one word in and spells it.
    """
    model = trainer.model
    words = [lab.words_to_tensor([form])[0][0] for form in verb]
    condition = model.encoder.condition(torch.tensor([tense]))
    h0 = F.pad(condition, (model.config.hidden_size - condition.shape[1], 0))[None]
    last = read(model.encoder.lstm, model.encoder.embedding, words[tense], (h0, torch.zeros_like(h0)))[-1]
    mu, logvar = model.encoder.mu(last), model.encoder.logvar(last)
    z = lab.reparameterize(mu, logvar, trainer.generator)
    if model.config.training == "same-tense":
        losses = [spell(model, model.tell_first(z, torch.tensor([tense])), words[tense])[0]]
    else:
        lemma, end = spell(model, model.tell_first(z, None), words[0])
        losses = [lemma] + [spell(model, model.tell_form(end, torch.tensor([t])), words[t])[0] for t in (1, 2, 3)]
    trainer._update(sum(losses) / len(losses) + 0.1 * lab.kl_divergence(mu, logvar).mean(), 1, 100)
    return len(losses)


def words_per_second(step, seconds=SECONDS):
    """Calls `step` for so many seconds; returns the words it decoded a second."""
    words, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        words += step()
    return words / spent


def rates(config, verbs):
    """Times batched training and the loop in turn; returns the words a second of each, (rounds, 2)."""
    batched, single = (lab._Trainer(config, verbs) for _ in range(2))
    batches = cycle(list(batched.table.batches(batched.generator)))
    rows = cycle((verb, tense) for verb in verbs for tense in range(4))

    def fast():
        batch = next(batches)
        batched._step(batch, 1, 100)
        return batch.target_lengths.numel()

    def slow():
        return one_at_a_time(single, *next(rows))

    words_per_second(fast, 1), words_per_second(slow, 1)
    return np.array([[words_per_second(fast), words_per_second(slow)] for _ in range(ROUNDS)])


def show(name, values):
    print(f"{name:52}{np.min(values):9.0f}{np.median(values):9.0f}{np.max(values):9.0f}")


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {ROUNDS} rounds in turn; min / median / max")
    verbs = lab.load_verbs()
    course = dict(training="same-tense", decoding="direct", starts_in="hidden", optimizer="sgd", learning_rate=0.05)
    for name, config in {
        "recommended: a verb, four words, an update": lab.Config(),
        "recommended, 64 verbs a batch": lab.Config(batch_size=64),
        "course: a word an update; 16 a batch": lab.Config(batch_size=16, **course),
        "course: a word an update; 256 a batch": lab.Config(batch_size=256, **course),
    }.items():
        batched, single = rates(config, verbs).T
        print(name)
        show("  batched, words/s", batched), show("  batch 1, a character a call, words/s", single)
        show("  ratio", batched / single)
