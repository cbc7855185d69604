"""Measures how fast training is, in words decoded a second: min, median, max of its rounds (a minute)."""

import sys
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab5_utils as lab

ROUNDS, STEPS = 5, 8  # steps that are timed at a time


def rate(work, seconds=2.0):
    """Calls `work` for so many seconds; returns the sum of what it returned, a second."""
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        done += work()
    return done / spent


def show(name, values, digits=0):
    low, mid, high = (f"{f(values):12,.{digits}f}" for f in (np.min, np.median, np.max))
    print(f"{name:56}{low}{mid}{high}", flush=True)


def training(config, verbs):
    """Returns a function that trains for some steps of full length and returns the number of words it decoded."""
    model, rng = lab.CVAE(config), torch.Generator().manual_seed(0)
    optimizer = lab.make_optimizer(model, refining=False)
    size = config.batch_size * STEPS // 4  # of four words each
    parts = cycle([verbs[i : i + size] for i in range(0, len(verbs) - size + 1, size)] or [verbs])

    def steps():
        lab.train_epoch(model, optimizer, part := next(parts), 1, rng)
        return 4 * len(part)

    rate(steps, 1)  # warm
    return steps


def read(lstm, embedding, letters, state):
    """Feeds letters one LSTM call at a time; returns the hidden state (1, H) after each."""
    outputs = []
    for letter in letters:
        hidden, state = lstm(embedding(letter[None, None]), state)  # (1, 1, H)
        outputs.append(hidden[:, 0])
    return outputs


def one_at_a_time(config, verbs):
    """Returns a function that makes one update on one word, one LSTM call a character, and returns 1."""
    model, rng = lab.CVAE(config), torch.Generator().manual_seed(0)
    optimizer = lab.make_optimizer(model, refining=False)
    words = cycle((form, torch.tensor([tense])) for verb in verbs for tense, form in enumerate(verb))

    def update():
        form, tense = next(words)
        letters = lab.words_to_tensor([form])[0][0]
        condition = model.encoder.condition(tense)
        h0 = F.pad(condition, (config.hidden_size - condition.shape[1], 0))[None]
        end = read(model.encoder.lstms[0], model.encoder.embedding, letters, (h0, torch.zeros_like(h0)))[-1]
        mu, logvar = model.encoder.mu(end), model.encoder.logvar(end)
        context = model.context(lab.reparameterize(mu, logvar, rng), tense)
        inputs = [torch.tensor(lab.SOS), *letters[:-1]]
        hidden = read(model.decoder.lstm, model.decoder.embedding, inputs, model.decoder.initial_state(context))
        ce = sum(F.cross_entropy(model.decoder.letter(h), letter[None]) for h, letter in zip(hidden, letters))
        optimizer.zero_grad()
        (ce + 0.1 * lab.kl_divergence(mu, logvar).mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return 1

    rate(update, 1)  # warm
    return update


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; min / median / max of {ROUNDS} rounds")
    for size in (16, 256):
        changes = dict(batch_size=size, optimizer="sgd", learning_rate=0.05, embedding_size=32, ce_per="word")
        fast, slow = (make(lab.Config.classic(**changes), lab.load_verbs()) for make in (training, one_at_a_time))
        batched, one = np.array([[rate(fast), rate(slow)] for _ in range(ROUNDS)]).T
        show(f"course's model, {size} words a batch: words/s", batched)
        show("  batch 1, a character a call, words/s", one), show("  ratio", batched / one)
