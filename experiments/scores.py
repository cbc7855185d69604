"""Scores that several tables have: conversions by kind of verb, and where gates open."""

from itertools import permutations

import numpy as np
import torch

import lab5_utils as lab
from experiments.words import is_regular
from lab5_selftaught import common_prefix
from lab5_train import STRATEGIES


class GateWithoutPrice(lab.GatedDecoder):
    """May open as early as it likes."""

    price = 0.0


class GateNotFlattened(lab.GatedDecoder):
    """Weighs openings by how likely they are, from the first step on."""

    flattest = 1.0


lab.DECODERS["no price"] = GateWithoutPrice
lab.DECODERS["not flattened"] = GateNotFlattened
STRATEGIES["slow monotonic"] = lambda progress, excess: min(1.0, progress / 0.3)
STRATEGIES["backwards"] = lambda progress, excess: min(1.0, 2 * (4 * (1 - progress) % 1))


# ---- Conversions ----
def by_rows(rows):
    """Returns what converts by looking words up in rows; of a word in none it makes nothing."""
    row_of = {(tense, form): row for row in rows for tense, form in enumerate(row)}

    def convert(words, source_tense, target_tense):
        found = [row_of.get((source_tense, word)) for word in words]
        return [row[target_tense] if row else "" for row in found]

    return convert


def right_conversions(convert, verbs):
    """Returns which conversions are right (N, F, F), by verb, source and target tense."""
    forms = np.array(verbs)  # (N, F)
    right = np.ones((*forms.shape, forms.shape[1]), dtype=bool)
    for source, target in permutations(range(forms.shape[1]), 2):
        converted = convert(forms[:, source].tolist(), source, target)
        right[:, source, target] = forms[:, target] == converted
    return right


def shares(right):
    """Returns the shares of right rows, from their lemmas, and of right conversions (N, F, F)."""
    different = ~np.eye(right.shape[1], dtype=bool)
    rows = right[:, lab.LEMMA].all(1)
    return {"rows": rows.mean(), "conversions": right[:, different].mean()}


def score_any(convert, verbs):
    """Returns the scores of conversions that every language has, 0..1."""
    return shares(right_conversions(convert, verbs))


def score_english(convert, verbs):
    """Returns the same, and those that only English has; of irregular verbs the pasts apart."""
    right = right_conversions(convert, verbs)
    irregular = np.array([not is_regular(verb) for verb in verbs])
    pairs = lab.known_pairs(verbs)
    bleu4 = [lab.bleu4(*convert([source], *tenses), target) for source, target, *tenses in pairs]
    return {
        **shares(right),
        "regular": shares(right[~irregular])["conversions"],
        "irregular": shares(right[irregular])["conversions"],
        "irregular_pasts": right[irregular, lab.LEMMA, lab.PAST].mean(),
        "bleu4": np.mean(bleu4),
    }


# ---- Gates ----
@torch.no_grad()
def gates(model, verbs):
    """Returns by form, (N, F), before which letter its gate is likeliest to open."""
    words = lab.words_of(verbs, model.vocabulary).to(model.device)
    mu, _ = lab.encode_verbs(model, verbs)  # (N, F, Z)
    decoder = model.decoder
    context = decoder.context(mu.flatten(0, 1).to(model.device), words.tense)
    mask = lab.up_to(words.lengths, words.letters.shape[1])
    costs = decoder.letter_costs(decoder(words.letters, context), words, mask)
    paths = lab.path_nats(*costs).masked_fill(~mask, torch.inf)
    return paths.argmin(1).view(len(verbs), -1).cpu().numpy()


def at_common_prefix(opened, verbs):
    """Returns which gates open exactly where the forms of a verb part, (N, F)."""
    ends = np.array([len(common_prefix(verb)) for verb in verbs])
    return opened == ends[:, None]
