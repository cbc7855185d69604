"""Measures how fast training is, in words decoded a second, beside the usual loop (a minute).

    python tests/experiments/benchmark.py

Prints min, median and max of five rounds. The usual loop trains on one word at a time and calls the
LSTM once a character.
"""

import sys
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import lab5_utils as lab

ROUNDS = 5
SECONDS = 2.0  # of each measurement
KL_WEIGHT = 0.1


def rate(work, seconds=SECONDS):
    """Calls `work` for so many seconds; returns the sum of what it returned, a second."""
    start = time.perf_counter()
    spent = 0.0
    done = 0
    while spent < seconds:
        done += work()
        spent = time.perf_counter() - start
    return done / spent


def whole_batches(config, verbs):
    """Returns a function that makes one update on a batch, and returns its number of words."""
    training = config.new_training(verbs)
    batches = cycle(training.make_epoch(1))

    def update():
        batch = next(batches)
        loss, _ = training.loss(batch, epoch=1)
        training.step(loss, config.learning_rate, "the benchmark")
        return len(batch.target.lengths)

    return update


def read(lstm, embedding, letters, state):
    """Feeds letters one LSTM call at a time; returns the hidden state (1, H) after each."""
    outputs = []
    for letter in letters:
        hidden, state = lstm(embedding(letter[None, None]), state)  # (1, 1, H)
        outputs.append(hidden[:, 0])
    return outputs


def encode(encoder, letters, tense):
    """Reads one word a letter at a time; returns mu and logvar, each (1, Z)."""
    condition = encoder.condition(tense)  # (1, C)
    h0 = F.pad(condition, (encoder.lstm.hidden_size - condition.shape[1], 0))[None]
    end = read(encoder.lstm, encoder.embedding, letters, (h0, torch.zeros_like(h0)))[-1]
    return encoder.mu(end), encoder.logvar(end)


def spelling_nats(decoder, z, letters, tense):
    """Spells one word a letter at a time, each fed the right one before it; returns its CE."""
    state = decoder.initial_state(decoder.context(z, tense))
    inputs = [torch.tensor(decoder.vocabulary.sos), *letters[:-1]]
    hidden = read(decoder.lstm, decoder.embedding, inputs, state)
    scores = decoder.letter(torch.cat(hidden))  # (T, V - 1)
    return F.cross_entropy(scores, letters, reduction="sum")


def one_at_a_time(config, verbs):
    """Returns a function that makes one update on one word, and returns 1."""
    training = config.new_training(verbs)
    model = training.model.cpu()
    words = [(form, tense) for verb in verbs for tense, form in enumerate(verb)]
    words = cycle(words)

    def update():
        form, tense = next(words)
        tense = torch.tensor([tense])
        letters = model.vocabulary.to_tensor([form])[0][0]
        mu, logvar = encode(model.encoder, letters, tense)
        z = lab.reparameterize(mu, logvar, training.rng)
        ce = spelling_nats(model.decoder, z, letters, tense)
        loss = ce + KL_WEIGHT * lab.kl_divergence(mu, logvar).mean()
        training.step(loss, config.learning_rate, "the benchmark")
        return 1

    return update


def show(name, values, digits=0):
    """Prints a name, and min, median and max of values."""
    numbers = [np.min(values), np.median(values), np.max(values)]
    columns = "".join(f"{number:12,.{digits}f}" for number in numbers)
    print(f"{name:48}{columns}", flush=True)


def compare(batch_size, verbs):
    """Times both loops in turn, with the same model, and prints both rates and their ratio."""
    config = lab.Config.classic(
        batch_size=batch_size, learning_rate=0.05, embedding_size=32, ce_per="word"
    )
    batched = whole_batches(config, verbs)
    single = one_at_a_time(config, verbs)
    for work in (batched, single):
        rate(work, seconds=1.0)  # warm
    rounds = np.array([[rate(batched), rate(single)] for _ in range(ROUNDS)])
    show(f"{batch_size} words a batch, words a second", rounds[:, 0])
    show("  one word, one letter a call", rounds[:, 1])
    show("  ratio", rounds[:, 0] / rounds[:, 1])


def main():
    """Compares small and large batches with the usual loop."""
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads; min, median, max of {ROUNDS} rounds")
    verbs = lab.load_verbs()
    for batch_size in (16, 256):
        compare(batch_size, verbs)


if __name__ == "__main__":
    main()
