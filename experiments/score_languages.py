"""Trains the lab's recipe on tables of other languages and writes figures/05_languages.csv.

    python tests/experiments/score_languages.py             # English, and all of tables/
    python tests/experiments/score_languages.py a_folder    # what make_table.py made

By the lab's rules, `lab.Config()`, nothing tuned, one seed a language (--seeds 3: three), and once
more with room for a prefix where PREFIXES says so. Scores are of the last epoch, with 10,000 draws.
Trained models are kept in runs/, so that a second call goes on.
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from words import common_prefix

import lab5_utils as lab
from lab5_beyond import common_part

TABLES = sorted(Path(__file__).resolve().parent.glob("tables/*"))
PREFIXES = {"german": 2, "swahili": 4}  # letters
ENDINGS = {  # of a lemma: where a linguist would cut it
    "english": "",
    "german": "e?n",
    "spanish": "[aeií]r",
    "italian": "[aeio]r?re",
    "turkish": "m[ae]k",
    "swahili": "a",
}
EXAMPLES = {  # lemmas whose cut forms are kept
    "english": "stop",
    "german": "suchen",
    "spanish": "hablar",
    "italian": "parlare",
    "finnish": "sanoa",
    "turkish": "batmak",
    "russian": "думать",
    "swahili": "kulala",
    "hebrew": "לבטא",
}
SCORES = ("bleu4", "conversion", "gaussian_exact", "gaussian_inconsistent", "distinct")


# ---- Cuts ----
@torch.no_grad()
def cuts(model, verbs):
    """Returns where each form's prefix ends and where its gate opens, (N, F): likeliest path."""
    words = lab.words_of(verbs, model.vocabulary)
    forms = [form for verb in verbs for form in verb]
    z, _ = model.encode(forms, words.tense)
    decoder = model.decoder
    context = decoder.context(z, words.tense)
    width = words.letters.shape[1]
    mask = lab.up_to(words.lengths, width)
    if model.config.prefix_letters:
        gate = lab.Gate(inverse_temperature=1.0, price=0.0)
        paths, _ = decoder.all_paths(context, words, words.letters, mask, gate)
    else:
        costs = decoder.letter_costs(decoder(words.letters, context), words, mask)
        paths = lab.path_nats(*costs).masked_fill(~mask, torch.inf)
    best = paths.argmin(1).view(len(verbs), -1).numpy()  # (N, F)
    prefix = best // width
    return prefix, prefix + best % width


def show_cuts(verb, prefix, opened):
    """Returns the forms of a verb with · behind the prefix, if any, and | where the gate opens."""
    shown = []
    for form, i, k in zip(verb, prefix, opened, strict=True):
        front = form[:i] + "·" if i else ""
        shown.append(f"{front}{form[i:k]}|{form[k:]}")
    return " ".join(shown)


def cut_scores(language, model, verbs):
    """Returns how often the gate opens where a row or a linguist would cut, 0..1 by name."""
    prefix, opened = cuts(model, verbs)
    parts = [common_part(verb) for verb in verbs]
    ends = []
    for verb, part in zip(verbs, parts, strict=True):
        ends.append([form.find(part) + len(part) for form in verb])
    prefix_ends = np.array([len(common_prefix(verb)) for verb in verbs])
    found = {
        "gate_at_common_prefix": (opened == prefix_ends[:, None]).mean(),
        "gate_at_common_part": (opened == np.array(ends)).mean(),
        "words_with_prefix": (prefix > 0).mean(),
    }
    if language in ENDINGS:
        stems = [re.sub(f"({ENDINGS[language]})$", "", verb[0]) for verb in verbs]
        found["gate_at_linguists_cut"] = (opened[:, 0] == [len(stem) for stem in stems]).mean()
    if language == "german":
        ge = np.array([verb[3].startswith("ge") > verb[0].startswith("ge") for verb in verbs])
        found["ge_split_off"] = (prefix[ge, 3] == 2).mean()
        others = np.concatenate([prefix[:, :3].flatten(), prefix[~ge, 3]])
        found["prefix_where_none_is"] = (others > 0).mean()
    for n, verb in enumerate(verbs):
        if verb[0] == EXAMPLES.get(language):
            found["example"] = show_cuts(verb, prefix[n], opened[n])
    return found


# ---- Scores ----
def conversion_scores(language, model, verbs):
    """Returns the share of right conversions to or from each form, 0..1 by name."""
    right = lab.convert_verbs(model, verbs) == np.array(verbs)[:, None]  # (N, F, F)
    forms = right.shape[1]
    found = {}
    for form in range(forms):
        others = np.arange(forms) != form
        both = np.concatenate([right[:, form, others], right[:, others, form]])
        found[f"conversion_form_{form + 1}"] = both.mean()
    if language == "german":
        weak = np.array([verb[2].endswith("te") for verb in verbs])
        different = ~np.eye(forms, dtype=bool)
        found["conversion_weak"] = right[weak][:, different].mean()
    return found


def score(language, run, verbs, pairs):
    """Returns a row of the table: what a run scores."""
    scores = lab.score(run.model, verbs, pairs)
    return {
        "language": language,
        "prefix_letters": run.config.prefix_letters,
        "seed": run.config.seed,
        "verbs": len(verbs),
        **{name: scores[name] for name in SCORES},
        **conversion_scores(language, run.model, verbs),
        **cut_scores(language, run.model, verbs),
    }


def score_language(folder, seeds, jobs):
    """Returns the rows of a language: each number of prefix letters, each seed."""
    language = "english" if folder == lab.HERE else folder.name
    verbs = lab.distinct_verbs(lab.load_verbs(folder / "train.txt"))
    pairs = lab.load_test_pairs(folder / "test.txt")
    prefixes = {0, PREFIXES.get(language, 0)}
    configs = [
        lab.Config(seed=seed, prefix_letters=letters)
        for letters in sorted(prefixes)
        for seed in range(seeds)
    ]
    runs = lab.sweep(configs, verbs, jobs)
    return [score(language, run, verbs, pairs) for run in runs]


def main():
    """Reads the arguments, trains, scores and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[lab.HERE, *TABLES])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=-1, help="trainings at a time; -1: a core each")
    arguments = parser.parse_args()
    rows = []
    for folder in arguments.folders:
        rows += score_language(folder, arguments.seeds, arguments.jobs)
        table = pd.DataFrame(rows)
        table.round(4).to_csv(lab.FIGURES / "05_languages.csv", index=False)
        print(table.tail(2).T.to_string(), flush=True)


if __name__ == "__main__":
    main()
