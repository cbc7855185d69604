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

ROUNDS, SECONDS = 7, 4.0


def one_word_at_a_time(model, optimizer, generator, verb, tense):
    """Trains on one verb at batch size 1, one LSTM call a character; returns the number of words decoded."""

    def read(lstm, embedding, letters, state):
        outputs = []
        for letter in letters:  # () each
            hidden, state = lstm(embedding(letter[None, None]), state)  # (1, 1, H)
            outputs.append(hidden[:, 0])
        return outputs

    def spell(told, letters):
        inputs = [torch.tensor(lab.SOS), *letters[:-1]]
        hidden = read(model.decoder.lstm, model.decoder.embedding, inputs, model.decoder.start(told))
        return sum(
            F.cross_entropy(model.decoder.letter(h), letter[None]) for h, letter in zip(hidden, letters)
        ), hidden[-1]

    words = [lab.words_to_tensor([form])[0][0] for form in verb]
    condition = model.encoder.condition(torch.tensor([tense]))
    h0 = F.pad(condition, (model.config.hidden_size - condition.shape[1], 0))[None]
    last = read(model.encoder.lstm, model.encoder.embedding, words[tense], (h0, torch.zeros_like(h0)))[-1]
    mu, logvar = model.encoder.mu(last), model.encoder.logvar(last)
    z = lab.reparameterize(mu, logvar, generator)
    ce, end = spell(model.tell_first(z, None), words[0])
    for t in (1, 2, 3):
        ce = ce + spell(model.tell_form(end, torch.tensor([t])), words[t])[0]
    loss = ce / 4 + 0.1 * lab.kl_divergence(mu, logvar).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return 4


def words_per_second(step, seconds=SECONDS):
    """Calls `step` for so many seconds; returns the words it decoded a second."""
    words, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        words += step()
    return words / spent


def training_ratio(verbs):
    """Times both loops in turn; returns the words a second of each, (rounds, 2)."""
    batched, single = (lab._Trainer(lab.Config(), verbs) for _ in range(2))
    batches = cycle(list(batched.table.batches(batched.generator)))
    rows = cycle((verb, tense) for verb in verbs for tense in range(4))

    def fast():
        batch = next(batches)
        batched._step(batch, 1, 100)
        return batch.target_lengths.numel()

    def slow():
        return one_word_at_a_time(single.model, single.optimizer, single.generator, *next(rows))

    words_per_second(fast, 1), words_per_second(slow, 1)
    return np.array([[words_per_second(fast), words_per_second(slow)] for _ in range(ROUNDS)])


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {ROUNDS} rounds in turn; min / median / max")
    rates = training_ratio(lab.load_verbs())
    for name, values in (
        ("batched, words/s", rates[:, 0]),
        ("batch 1, words/s", rates[:, 1]),
        ("ratio", rates[:, 0] / rates[:, 1]),
    ):
        print(f"{name:20}{np.min(values):9.0f}{np.median(values):9.0f}{np.max(values):9.0f}")
