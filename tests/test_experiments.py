"""Experiments: verbs that are held out, scores of what converts, tables over seeds."""

import sys
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from by_letter import gate_paths
from conftest import ENGLISH, VERBS, lab, lab5_runs, lab5_train, small
from pytest import approx

import experiments
from experiments import count_baseline, paths, score_seeds, score_selftaught, scores, variants
from experiments.held_out import exact_match, find_root, split_verbs
from experiments.words import is_regular, neighbour, spelling_rule


# ---- What is held out ----
@pytest.fixture(scope="module")
def parts(verbs):
    return [split_verbs(verbs, split) for split in range(10)]


def test_parts_are_disjoint_complete_of_about_a_tenth_and_the_same_everywhere(parts, verbs):
    for training, held in parts:
        assert sorted(training + held) == verbs
        assert abs(len(held) - len(verbs) / 10) <= 3
    assert sorted(verb for _, held in parts for verb in held) == verbs
    assert split_verbs(verbs + verbs) == parts[0], "repeated rows"


FAMILIES = [{"stand", "understand"}, {"go", "undergo"}, {"take", "mistake"}]


def test_what_a_prefix_makes_of_a_held_out_verb_is_held_out(parts):
    for _, held in parts:
        lemmas = {verb[0] for verb in held}
        assert all(family & lemmas in (family, set()) for family in FAMILIES)
    assert find_root("misunderstand", {"stand", "understand", "misunderstand"}) == "stand"


# ---- English spelling rules ----
REGULAR = """stop stops stopping stopped
visit visits visiting visited
bake bakes baking baked
carry carries carrying carried
play plays playing played
watch watches watching watched
die dies dying died
agree agrees agreeing agreed
echo echoes echoing echoed"""
IRREGULAR = """bring brings bringing brought
cut cuts cutting cut
lie lies lying lay"""


def test_spelling_rules_give_the_rows_of_regular_verbs_alone():
    regular = [tuple(row.split()) for row in REGULAR.splitlines()]
    assert all(map(is_regular, regular))
    assert [spelling_rule(lemma) for lemma, *_ in regular] == regular
    assert not any(is_regular(row.split()) for row in IRREGULAR.splitlines())


def test_a_neighbour_has_the_longest_common_ending_and_then_the_nearest_length():
    verbs = [("string", "strung"), ("ping", "pinged"), ("go", "went")]
    assert neighbour("spring", verbs) == ("spring", "sprung")
    assert neighbour("ding", verbs) == ("ding", "dinged")
    found = count_baseline.likeness("sing", ["sang", "singing", "si", "x"])
    assert found.tolist() == [6 - 4, 8 - 5.5, 4 - 3, -2.5], "no letter is counted twice"


# ---- Scores ----
ASKED = [
    ("go", "goes", "going", "went"),
    ("interview", "interviews", "interviewing", "interviewed"),
]
ANSWERS = [("", "goes", "going", "goed"), ("", "interviews", "interviewing", "interviewed")]


def test_the_form_that_was_given_does_not_count():
    assert exact_match(ANSWERS, ASKED) == {"forms": approx(5 / 6), "irregular_pasts": 0}


def test_rows_are_scored_by_what_they_convert(verbs):
    rows = count_baseline.rows_by_counting(zip(*verbs, strict=True))
    found = scores.score_conversions(scores.by_rows(rows), verbs)
    right = []
    for source, target in permutations(range(4), 2):
        made = {row[source]: row[target] for row in rows}
        right += [made[verb[source]] == verb[target] for verb in verbs]
    assert found["conversions"] == approx(np.mean(right)) and np.mean(right) > 0.95
    assert found["rows"] == approx(len(set(rows) & set(verbs)) / len(verbs))


def test_what_was_kept_and_what_is_never_drawn_are_counted():
    kept = [ASKED[0], *permutations(ASKED[0])][:4]
    found = score_selftaught.score_rows("ours", ASKED[:1], kept, ASKED)
    assert (found["kept"], found["kept_right"], found["never"]) == (4, 0.25, 1)


def test_a_lead_is_that_on_the_same_verbs_with_students_interval():
    names = 3 * ["self-taught"] + 3 * ["neighbour"]
    shares = [0.9, 0.9, 0.9, 0.8, 0.7, 0.6]
    table = pd.DataFrame({"seed": 2 * [0, 1, 2], "row": names, "forms": shares})
    (lead,) = score_selftaught.leads(table, "forms").to_numpy()
    assert lead == approx([0.2, -0.0484, 0.4484], abs=1e-4)


@torch.no_grad()
def test_a_gate_opens_where_its_path_is_likeliest():
    model = lab.make_model(small(), ENGLISH)
    opened = scores.gates(model, ASKED)
    for verb, places in zip(ASKED, opened, strict=True):
        for tense, word in enumerate(verb):
            (letters,) = ENGLISH.to_tensor([word])[0]
            context = model.decoder.context(model.encode([word], tense)[0], tense)[0]
            fed = [ENGLISH.sos, *letters.tolist()]
            paths = gate_paths(model.decoder, context, letters, fed, tense)
            assert places[tense] == torch.stack(paths).argmin()
    at_end = scores.at_common_prefix(np.array([[0, 0, 0, 1], [9, 9, 8, 9]]), ASKED)
    assert at_end.astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 0, 1]]


def test_a_refined_run_is_scored_before_refining_too(monkeypatch):
    runs = [SimpleNamespace(model=f"refined {n}", before_refining=f"before {n}") for n in (0, 1)]
    monkeypatch.setattr(score_seeds, "sweep", lambda configs, verbs: runs)
    monkeypatch.setattr(score_seeds, "score_model", lambda model, verbs: {"of": model})
    found = [tuple(row.values()) for row in score_seeds.rows_of({"ours": small}, seeds=2)]
    assert found == [
        ("ours", "refined 0", 0),
        ("ours, before refining", "before 0", 0),
        ("ours", "refined 1", 1),
        ("ours, before refining", "before 1", 1),
    ]


def test_a_model_answers_from_lemmas_and_copies_one_whose_letter_it_lacks(verbs):
    model = lab.make_model(small(), lab.vocabulary_of(verbs))
    unknown = ("ñu", "ñus", "ñuing", "ñued")
    *answered, copied = score_selftaught.answer(model, [*verbs[:40], unknown])
    mu, _ = model.encode([verb[0] for verb in verbs[:40]], 0)
    assert answered == model.generate(mu)
    assert copied == ("ñu",) * 4


def test_words_are_joined_if_their_longest_common_beginning_is_with_each_other_alone():
    lists = [["abc", "abd", "xyz"], ["abcs", "abds", "xabc"]]
    joins = score_selftaught.joins_of_beginnings(lists)
    assert joins.tolist() == [[0, 0], [1, 1], [2, 2]]
    joins = score_selftaught.joins_of([("abd", "xabc")], lists)
    assert joins.tolist() == [[0, -1], [1, 2], [2, -1]]


def test_rarer_verbs_are_not_in_the_table(monkeypatch, verbs):
    others = [tuple(form + "zz" for form in verb) for verb in verbs[:500]]
    monkeypatch.setattr(score_selftaught, "agreed_verbs", lambda: verbs + others)
    assert set(score_selftaught.rarer_verbs()) == set(others)


def test_no_system_is_told_what_is_held_out(monkeypatch, verbs):
    _, asked = split_verbs(verbs, 1)
    told = []

    def learn(*known):
        assert known[-1] == [verb[0] for verb in asked]
        return SimpleNamespace(model=None)

    stubs = {
        "lists_of": told.extend,
        "rows_by_counting": lambda lists: [],
        "neighbour": lambda lemma, rows: told.extend(rows) or (lemma,) * 4,
        "train_lab": lambda lists, seed: SimpleNamespace(model=None),
        "answer": lambda model, asked: asked,
    }
    for name, stub in stubs.items():
        monkeypatch.setattr(score_selftaught, name, stub)
    for name in ("learn", "self_taught"):
        monkeypatch.setattr(score_selftaught.taught, name, learn)
    score_selftaught.score_fold(1)
    assert set(told) == set(verbs) - set(asked)


def test_schedules_are_compared_at_one_mean_weight():
    recipes = ("constant", "monotonic", "four cycles", "backwards", "two sigmoids")
    for config in (score_seeds.ANNEALING[name]() for name in recipes):
        weights = [lab5_train.kl_weight(config, n / 1000, 0.0) for n in range(1, 1001)]
        assert np.mean(weights) == approx(0.3, abs=2e-3)


def test_a_wrong_request_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script", "a", "b"])
    with pytest.raises(SystemExit, match="b: not one of a"):
        experiments.score_parts({"a": None})


def test_hidden_forms_are_never_trained_on_and_scored_from_the_others():
    verbs = [(f"{stem}e", f"{stem}es", f"{stem}ing") for stem in "abcdefghijklmnop"]
    verbs[10] = ("ke", "kes", "ke")  # a form that is spelled like another isn't hidden
    training = variants.WithoutHiddenForms(small(), verbs)
    words = training.model.vocabulary.to_words(training.words.letters)
    seen = set(zip(words, training.words.tense.tolist(), strict=True))
    every = {(form, tense) for verb in verbs for tense, form in enumerate(verb)}
    assert every - seen == {("ae", 0), ("fes", 1), ("pe", 0)}
    right = np.zeros((16, 3, 3), dtype=bool)
    right[0, 1, 0] = True  # one of the six conversions into hidden forms
    right[5, 0] = True  # one into the hidden form, and one of the six between seen ones
    right[1] = True  # of a verb without a hidden form
    found = scores.score_hidden(right, variants.hidden_forms(verbs))
    assert found == approx({"seen": 1 / 6, "hidden": 2 / 6})


def test_an_ablation_lacks_the_part_that_names_it():
    _, price = lab.DECODERS["no price"](small(), ENGLISH).tau_and_price(1.0)
    tau, _ = lab.DECODERS["not flattened"](small(), ENGLISH).tau_and_price(0.0)
    assert (price, tau) == (0, 1)


# ---- Tables ----
def test_a_table_is_sorted_and_read_as_means_over_seeds(tmp_path, monkeypatch):
    rows = [("b", 0, 1), ("a", 1, 4), ("a", 0, 3)]
    rows = [dict(zip(("row", "seed", "score"), row, strict=True)) for row in rows]
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["script"])
    experiments.score_parts({"a part": ("table", lambda: rows)})
    assert (tmp_path / "table.csv").read_text() == "row,seed,score\na,0,3\na,1,4\nb,0,1\n"
    found = experiments.over_seeds("table.csv", {"a": "A", "b": "B"}, {"score": "s", "none": "n"})
    assert found.to_dict("list") == {
        "seeds": [2, 1],
        "s": ["3.500 ± 0.707", "1.000"],
        "n": ["–"] * 2,
    }
    with pytest.raises(KeyError, match="'c'"):
        experiments.over_seeds("table.csv", {"c": "C"}, {})


def test_a_path_holds_ce_and_kl_of_all_verbs_with_the_right_letters_fed():
    config = small(decoding="direct", epochs=4, refine=0.0)
    run = lab5_runs.train(config, VERBS, make_training=paths.AlongThePath, progress=False)
    assert run.history["CE"].notna().tolist() == [False, False, True, True]
    last, model = run.history.iloc[-1], run.model
    words = lab.words_of(VERBS, model.vocabulary)
    z = lab.reparameterize(*model.encode_words(words), torch.Generator().manual_seed(0))
    hidden = model.decoder(words.letters, model.decoder.context(z, words.tense))
    mask = lab.up_to(words.lengths, words.letters.shape[1])
    nats = lab.letter_nats(model.decoder.letter(hidden), words.letters, mask)
    assert last["CE"] == approx(nats.sum(1).mean().item(), abs=1e-4)
    assert last["KL"] == approx(last["kl_table"], abs=1e-4)
    assert last["converted"] == lab.conversion_accuracy(model, VERBS[::4])


def test_curves_are_rows_of_epochs():
    run = lab5_runs.train(small(epochs=2, refine=0.0), VERBS, progress=False)
    rows = score_seeds.curves_of_run("tiny", run, VERBS)
    assert [tuple(row) for row in rows] == 2 * [("row", "epoch", "ce", "kl", "bleu4")]
    assert [row["ce"] for row in rows] == run.history["ce"].tolist()
