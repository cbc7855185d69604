"""Trains the lab's recipe on tables of other languages and writes figures/05_languages.csv.

    .venv/bin/python -m experiments.score_languages             # English, and all of tables/
    .venv/bin/python -m experiments.score_languages a_folder    # what make_table made

By the lab's rules, `lab.Config()`, nothing tuned, one seed a language (--seeds 3: three), and once
more with room for a prefix where PREFIXED says so. Scores are of the last epoch, with 10,000 draws.
Trained models are kept in runs/, so that a second call goes on.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import lab5_figures
import lab5_utils as lab
from experiments import prefixed  # registers its decoders
from experiments.words import common_prefix
from lab5_beyond import common_part
from lab5_train import sweep

TABLES = sorted(Path(__file__).resolve().parent.glob("tables/*"))
PREFIXED = {"german": "prefix 2", "swahili": "prefix 4"}  # decoding
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
SCORES = ("conversion", "gaussian_exact", "gaussian_inconsistent", "distinct")


# ---- Cuts ----
@torch.no_grad()
def cuts(model, verbs):
    """Returns where each form's prefix ends and where its gate opens, (N, F): likeliest path."""
    words = lab.words_of(verbs, model.vocabulary).to(model.device)
    mu, _ = lab.encode_verbs(model, verbs)  # (N, F, Z)
    decoder = model.decoder
    context = decoder.context(mu.flatten(0, 1).to(model.device), words.tense)
    width = words.letters.shape[1]
    mask = lab.up_to(words.lengths, width)
    if isinstance(decoder, prefixed.PrefixedDecoder):
        paths, _ = decoder.all_paths(context, words, words.letters, mask)
    else:
        costs = decoder.letter_costs(decoder(words.letters, context), words, mask)
        paths = lab.path_nats(*costs).masked_fill(~mask, torch.inf)
    best = paths.argmin(1).view(len(verbs), -1).cpu().numpy()  # (N, F)
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
    ends = []
    for verb in verbs:
        part = common_part(verb)
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
    different = ~np.eye(right.shape[1], dtype=bool)
    found = {}
    for form in range(len(different)):
        others = different[form]
        both = np.concatenate([right[:, form, others], right[:, others, form]])
        found[f"conversion_form_{form + 1}"] = both.mean()
    if language == "german":
        weak = np.array([verb[2].endswith("te") for verb in verbs])
        found["conversion_weak"] = right[weak][:, different].mean()
    return found


def score(language, run, verbs):
    """Returns a row of the table: what a run scores."""
    scores = lab.score(run.model, verbs, pairs=[])
    return {
        "language": language,
        "prefix_letters": getattr(run.model.decoder, "prefix_letters", 0),
        "seed": run.config.seed,
        "verbs": len(verbs),
        **{name: scores[name] for name in SCORES},
        **conversion_scores(language, run.model, verbs),
        **cut_scores(language, run.model, verbs),
    }


def score_language(folder, seeds):
    """Returns the rows of a language: without and with a prefix, each seed."""
    language = "english" if folder == lab.HERE else folder.name
    verbs = lab.distinct_verbs(lab.load_verbs(folder / "train.txt"))
    configs = [lab.Config(seed=seed) for seed in range(seeds)]
    if language in PREFIXED:
        decoding = PREFIXED[language]
        configs += [lab.Config(seed=seed, decoding=decoding) for seed in range(seeds)]
    return [score(language, run, verbs) for run in sweep(configs, verbs)]


def main():
    """Reads the arguments, trains, scores and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[lab.HERE, *TABLES])
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    rows = []
    for folder in arguments.folders:
        rows += score_language(folder, arguments.seeds)
        table = pd.DataFrame(rows)
        table.round(4).to_csv(lab5_figures.FIGURES / "05_languages.csv", index=False)
        print(table.tail(2).T.to_string(), flush=True)


if __name__ == "__main__":
    main()
