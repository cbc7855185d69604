"""Scores of conversions and of verbs from noise, what codes tell, and what tables show of a run."""

import math
from itertools import permutations

import numpy as np
import torch

import lab5_utils as lab
from experiments.baselines import is_regular
from experiments.variants import hidden_forms

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
    right = np.zeros((*forms.shape, forms.shape[1]), dtype=bool)
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
    irregular = np.array([not is_regular(verb) for verb in verbs])
    pairs = lab.pairs_of(verbs)
    bleu4 = [lab.bleu4(*convert([source], *tenses), target) for source, target, *tenses in pairs]
    return {
        "rows": right[:, lab.LEMMA, 1:].all(1).mean(),
        "conversions": lab.shares(right)[1],
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


def score_drawn(drawn, verbs):
    """Returns, by name, the scores from noise of verbs that were drawn."""
    gaussian = lab.gaussian_score(drawn, verbs)
    return {
        "from_noise": gaussian.exact,
        "inconsistent": gaussian.inconsistent,
        "never": len(verbs) - gaussian.distinct,
    }


# ---- What codes tell ----
def information(model, verbs):
    """Returns the mean KL of all M forms and its two parts, in nats per word.

    - `kl_table`: the mean KL of a form, which is the sum of the other two
    - `mutual_information`: I(x; z), at most ln M
    - `marginal_kl`: KL(q(z) ‖ p(z)), where q(z) is the aggregate posterior

    Both parts are estimated from one draw of each posterior. Source: Hoffman & Johnson 2016.
    """
    mu, logvar = (x.flatten(0, 1).double() for x in lab.encode_verbs(model, verbs))  # (M, Z)
    z = lab.reparameterize(mu, logvar, torch.Generator().manual_seed(0))  # (M, Z)
    precision = (-logvar).exp()  # (M, Z), 1 / σ²
    peak = -0.5 * (logvar + math.log(2 * math.pi)).sum(1)  # (M,), the log density at μ
    # log q(z | x) = peak − ½ Σ_d (z_d − μ_d)² / σ_d²
    log_own = peak - 0.5 * ((z - mu) ** 2 * precision).sum(1)  # (M,)
    log_marginal = torch.empty_like(log_own)
    for n, code in enumerate(z):
        log_q = peak - 0.5 * ((code - mu) ** 2 * precision).sum(1)  # (M,), in all posteriors
        # log q(z) = log 1/M Σ_x q(z | x)
        log_marginal[n] = log_q.logsumexp(0) - math.log(len(z))
    # I(x; z) = E[log q(z | x) − log q(z)]
    mutual_information = (log_own - log_marginal).mean().item()
    kl = lab.kl_divergence(mu, logvar).mean().item()
    return {
        "kl_table": kl,
        "mutual_information": mutual_information,
        "marginal_kl": kl - mutual_information,
    }


@torch.no_grad()
def ce_and_kl(model, verbs):
    """Returns the mean CE and KL of all words in nats, with the right letters fed."""
    words = lab.words_of(verbs, model.vocabulary).to(model.device)
    mu, logvar = model.encode_words(words)
    z = lab.reparameterize(mu, logvar, torch.Generator().manual_seed(0))
    free_running = torch.zeros(len(z), dtype=torch.bool, device=model.device)  # no word
    ce = model.decoder.nats(z, words, free_running)
    return ce.mean().item(), lab.kl_divergence(mu, logvar).mean().item()


# ---- Runs; each score is given a run and its verbs ----
def score_model(model, verbs):
    """Returns the scores of a model, by name."""
    row = score_conversions(model.convert, verbs)
    row |= score_drawn(lab.sample_prior(model, DRAWS), verbs)
    row["lemma_first"] = lab.gaussian_score(lab.sample_lemma_first(model, DRAWS), verbs).exact
    measured = information(model, verbs)
    return row | {name: measured[name] for name in ("kl_table", "marginal_kl")}


def score_run(run, verbs):
    """Returns the scores of a run's model."""
    return score_model(run.model, verbs)


def score_best(run, verbs):
    """Returns these scores, and those of the epoch with the highest BLEU-4."""
    best = run.history["bleu4"].idxmax()
    row = score_model(run.model, verbs) | {"best_epoch": best}
    return row | {f"best_{name}": run.history[name][best] for name in ("bleu4", "gaussian")}


def score_hidden_forms(run, verbs):
    """Returns how many conversions are right of a model that never saw the hidden forms."""
    return score_hidden(right_conversions(run.model.convert, verbs), hidden_forms(verbs))


def score_codes(run, verbs):
    """Returns what a model repeats and converts, and what its codes tell of words."""
    right = lab.convert_verbs(run.model, verbs) == np.array(verbs)[:, None]  # (N, F, F)
    repeated, converted = lab.shares(right)
    return {
        "repeated": repeated,
        "conversions": converted,
        "nearest": nearest_are_partners(run.model, verbs),
        "mutual_information": information(run.model, verbs)["mutual_information"],
    }
