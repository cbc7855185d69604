"""Scores of conversions, of verbs from noise, of gates, and those of a run that tables show."""

from itertools import permutations
from os.path import commonprefix

import numpy as np
import torch

import lab5_gate
import lab5_utils as lab
from experiments.variants import hidden_forms
from experiments.words import is_regular

DRAWS = 10_000  # from noise


# ---- Conversions ----
def by_rows(rows):
    """Returns a function that converts by looking words up in rows; others become empty words."""
    row_of = {(tense, form): row for row in rows for tense, form in enumerate(row)}

    def convert(words, source_tense, target_tense):
        rows_of_words = [row_of.get((source_tense, word)) for word in words]
        return [row[target_tense] if row else "" for row in rows_of_words]

    return convert


def right_conversions(convert, verbs):
    """Returns a mask (N, F, F) of right conversions, by verb, source tense and target tense."""
    forms = np.array(verbs)  # (N, F)
    right = np.ones((*forms.shape, forms.shape[1]), dtype=bool)
    for source, target in permutations(range(forms.shape[1]), 2):
        converted = convert(forms[:, source].tolist(), source, target)
        right[:, source, target] = forms[:, target] == converted
    return right


def mean(values):
    """Returns the mean of numbers, or NaN where a table has none, such as no irregular verbs."""
    return np.mean(values) if len(values) else np.nan


def score_conversions(convert, verbs):
    """Returns, by name, the shares, 0..1, of what is right, and BLEU-4.

    A row is right if its lemma is converted to all its other forms.
    """
    right = right_conversions(convert, verbs)
    different = ~np.eye(right.shape[1], dtype=bool)
    irregular = np.array([not is_regular(verb) for verb in verbs])
    pairs = lab.test_pairs(verbs)
    bleu4 = [lab.bleu4(*convert([source], *tenses), target) for source, target, *tenses in pairs]
    return {
        "rows": right[:, lab.LEMMA].all(1).mean(),
        "conversions": right[:, different].mean(),
        "irregular_pasts": mean(right[irregular, lab.LEMMA, lab.PAST]),
        "bleu4": mean(bleu4),
    }


def score_hidden(right, hidden):
    """Returns the shares, 0..1, of right conversions between seen forms, and into hidden ones.

    Both are of verbs that have a hidden form; the arguments are masks of what is right (N, F, F),
    and of what is hidden (N, F).
    """
    lacks_one = hidden.any(1)
    right, hidden = right[lacks_one], hidden[lacks_one]
    different = ~np.eye(hidden.shape[1], dtype=bool)
    into = hidden[:, None] & different  # (M, F, F), as `right`
    between = ~hidden[:, None] & ~hidden[:, :, None] & different
    return {"seen": mean(right[between]), "hidden": mean(right[into])}


@torch.no_grad()
def nearest_are_partners(model, verbs):
    """Returns the share of words whose nearest code in another tense is that of their own verb."""
    mu, _ = lab.encode_verbs(model, verbs)  # (N, F, Z)
    own = torch.arange(len(mu))
    shares = []
    for one, other in permutations(range(mu.shape[1]), 2):
        nearest = torch.cdist(mu[:, one], mu[:, other]).argmin(1)
        shares.append((nearest == own).float().mean().item())
    return np.mean(shares)


def exact_match(answers, verbs):
    """Returns the share, 0..1, of right forms; lemmas don't count, since they were given."""
    right = np.array(answers)[:, 1:] == np.array(verbs)[:, 1:]  # (N, F − 1)
    return right.mean()


def score_drawn(drawn, verbs):
    """Returns, by name, the scores from noise of verbs that were drawn."""
    gaussian = lab.gaussian_score(drawn, verbs)
    return {
        "from_noise": gaussian.exact,
        "inconsistent": gaussian.inconsistent,
        "never": len(verbs) - gaussian.distinct,
    }


# ---- Gates ----
@torch.no_grad()
def gates(model, verbs):
    """Returns, for each form (N, F), the letter before which its gate is likeliest to open."""
    words = lab.words_of(verbs, model.vocabulary).to(model.device)
    mu, _ = model.encode_words(words)  # (N F, Z)
    decoder = model.decoder
    mask = lab.up_to(words.lengths, words.letters.shape[1])
    costs = decoder.letter_costs(decoder(mu, words.tense, words.letters), words, mask)
    paths = lab5_gate.path_nats(*costs).masked_fill(~mask, torch.inf)
    return paths.argmin(1).view(len(verbs), -1).cpu().numpy()


def at_common_prefix(opened, verbs):
    """Returns a mask (N, F) of gates that open exactly after the common prefix of a verb."""
    ends = np.array([len(commonprefix(verb)) for verb in verbs])
    return opened == ends[:, None]


# ---- Runs; each score is given a run, the verbs that it reads, and those that it writes ----
def score_model(model, verbs):
    """Returns the scores of a model, by name."""
    row = score_conversions(model.convert, verbs)
    row |= score_drawn(lab.sample_prior(model, DRAWS), verbs)
    row["lemma_first"] = lab.gaussian_score(lab.sample_lemma_first(model, DRAWS), verbs).exact
    row |= lab.information(model, verbs)
    del row["mutual_information"]  # the rest of KL
    if isinstance(model.decoder, lab5_gate.GatedDecoder):
        at_end = at_common_prefix(gates(model, verbs), verbs)
        in_ed = [verb[lab.PAST].endswith("ed") for verb in verbs]
        row["gate_ed"] = mean(at_end[in_ed])
    return row


def score_run(run, verbs, _):
    """Returns the scores of a run's model."""
    return score_model(run.model, verbs)


def score_best(run, verbs, _):
    """Returns these scores, and those of the epoch with the highest BLEU-4."""
    best = run.history["bleu4"].idxmax()
    row = score_model(run.model, verbs) | {"best_epoch": best}
    return row | {f"best_{name}": run.history[name][best] for name in ("bleu4", "gaussian")}


def score_hidden_forms(run, verbs, _):
    """Returns how many conversions are right of a model that never saw the hidden forms."""
    return score_hidden(right_conversions(run.model.convert, verbs), hidden_forms(verbs))


def score_codes(run, verbs, targets):
    """Returns what a model repeats and converts, and what its codes tell of words."""
    right = lab.convert_verbs(run.model, verbs) == np.array(targets)[:, None]  # (N, F, F)
    same = np.eye(right.shape[1], dtype=bool)
    return {
        "repeated": right[:, same].mean(),
        "conversions": right[:, ~same].mean(),
        "nearest": nearest_are_partners(run.model, verbs),
        "mutual_information": lab.information(run.model, verbs)["mutual_information"],
    }
