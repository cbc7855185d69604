"""Good and bad input in bulk: more than ten thousand generated cases, the same in every run."""

import dataclasses
import re
import string
import traceback
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from conftest import lab
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("error", "ignore:Generating overly large repr")]
MB = 10**6
torch.manual_seed(0)
MODEL = lab.CVAE(lab.Config(hidden_size=12, latent_size=4, embedding_size=4, condition_size=3))


def cases(number, /, **strategies):
    """Runs a test on so many generated cases, always the same, five seconds for each at most."""
    same = dict(derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    return lambda test: settings(max_examples=number, deadline=5000, **same)(given(**strategies)(test))


def attempt(call, *args, said="expected", errors=(ValueError, TypeError)):
    """Returns what a call returns, or its error, which must be a documented one and come from the module."""
    try:
        return call(*args)
    except errors as error:
        *_, last = frames = traceback.extract_tb(error.__traceback__)[-3:]
        assert any(frame.filename == lab.__file__ for frame in frames), frames
        if last.filename == lab.__file__ and last.line.startswith("raise "):
            assert re.search(said, str(error)) and len(str(error)) < 1000, str(error)[:1000]
        return error


def is_word(value):
    return isinstance(value, str) and 1 <= len(value) <= 32 and set(value) <= set(string.ascii_lowercase)


texts = st.text(st.characters() | st.sampled_from("\0א\u202e\u0301\ufeffé ﬁß\ud800🙂aZ`{"))  # lone surrogates too
word = st.text(string.ascii_lowercase, min_size=1, max_size=32)
short = st.text("abeoy", min_size=1, max_size=3)  # so that some are equal
lemmas = word.filter(lambda word: len(word) < 29) | st.text("aeiouyqhstxz", min_size=1, max_size=6)
simple = st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | texts | st.binary()
simple |= st.sampled_from([10**400, -(10**400), "x" * MB, b"\xff" * MB, " " * MB, "a" * 32, "a" * 33, object()])
simple |= st.sampled_from([np.float64("nan"), np.int64(3), np.array(["a"]), np.zeros((2, 4)), torch.tensor([1.5])])
junk = simple | st.lists(simple, max_size=4) | st.lists(st.lists(simple, max_size=4), max_size=2)
junk |= st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
tensors = st.sampled_from([torch.tensor(2), torch.zeros(2, 4), torch.empty(0, 4), torch.full((1, 4), torch.inf)])
some_words = junk | tensors | st.lists(texts | word, max_size=4)
some_verbs = junk | tensors | st.lists(st.tuples(*[word] * 4) | st.lists(texts | word, max_size=5) | junk, max_size=3)
some_tenses = junk | tensors | st.integers(-1, 4) | st.lists(st.integers(0, 3), max_size=3)
few_lemmas = st.lists(lemmas | st.text("abdeot", min_size=25, max_size=32), max_size=5)
BAD = [c.encode() for c in "\0 \t \v \f \x1c \x85 \u2028 \ufeff é A 1 ` { א e\u0301".split(" ")] + [b"\xff", b"\xc3"]
LINE_ENDS = [b"\n", b"\r\n", b"\r"]
CHUNKS = st.sampled_from([*BAD, *LINE_ENDS, b"", b" ", b"  ", b"\n\n", b"a", b"a" * 32, b"a b c d\n"])


@st.composite
def files(draw):
    """Makes a number of columns and a table of so many, good or damaged in a place or two, or no table at all."""
    columns, end = draw(st.sampled_from([2, 4])), draw(st.sampled_from(LINE_ENDS))
    row = st.lists(word, min_size=columns, max_size=columns).map(lambda row: " ".join(row).encode())
    rows = draw(st.lists(row, max_size=12) | st.lists(row, min_size=10, max_size=10))
    content = end.join(rows + [b""] * draw(st.booleans()))
    for chunk in draw(st.lists(CHUNKS, max_size=2)):
        place = draw(st.integers(0, len(content)))
        content = content[:place] + chunk + content[place + 1 :]
    return columns, draw(st.sampled_from([content] * 4) | st.lists(CHUNKS, max_size=9).map(b"".join) | st.binary())


def specification(content, columns):
    """Returns the rows of a file, or the number of its first bad line: written without regular expressions."""
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    lines = lines[:-1] if lines[-1] == b"" and len(lines) > 1 else lines
    rows = [tuple(line.decode("latin-1").split(" ")) for line in lines]
    return next((n for n, row in enumerate(rows, 1) if len(row) != columns or not all(map(is_word, row))), rows)


@cases(2000, file=files(), name=st.text(st.characters(exclude_characters="/\\"), min_size=1, max_size=400))
def test_files_are_loaded_exactly_where_the_specification_has_them(tmp_path, file, name):
    path, (columns, content) = tmp_path / "words.txt", file
    path.write_bytes(content)
    load, expected = lab.load_verbs if columns == 4 else lab.load_test_pairs, specification(content, columns)
    if isinstance(expected, int):
        assert str(attempt(load, path)).startswith(f"{path}, line {expected}: found ")
    elif columns == 2 and len(expected) != 10:
        assert str(attempt(load, path)) == f"{path}: found {len(expected)} rows; expected 10"
    else:
        assert load(path) == [row if columns == 4 else (*row, *lab.TEST_TENSES[n]) for n, row in enumerate(expected)]
    missing = attempt(load, tmp_path / "none" / name, said="no file", errors=FileNotFoundError)
    assert name in str(missing)


@cases(1500, words=some_words, table=some_verbs, tense=some_tenses, count=st.integers(0, 3))
def test_only_words_verbs_and_tenses_are_accepted(words, table, tense, count):
    found = attempt(lab.check_words, words)
    assert isinstance(found, list) or not isinstance(words, list) or not all(map(is_word, words))
    if not isinstance(found, Exception):
        assert lab.tensor_to_words(lab.words_to_tensor(found)[0]) == found == list(words) and all(map(is_word, found))
    if not isinstance(found := attempt(lab.check_verbs, table), Exception):
        assert found and all(type(verb) is tuple and len(verb) == 4 and all(map(is_word, verb)) for verb in found)
    assert isinstance(attempt(lab.synthesize, table, 1, 0), (list, Exception))
    found = attempt(lab.check_tense, tense, count)
    tenses = tense if isinstance(tense, list) else [tense] * count
    good = len(tenses) == count and all(type(t) is int and t in range(4) for t in tenses)
    assert not good or not count or found.tolist() == tenses
    assert isinstance(found, Exception) or found.shape == (count,) and set(found.tolist()) <= {0, 1, 2, 3}


@cases(900, lemma=lemmas, form=st.integers(0, 1), text=texts, table=few_lemmas, count=st.integers(-2, 5))
def test_regular_verbs_are_segmented_and_synthesized(lemma, form, text, table, count):
    row = lab.regular_rows(lemma)[form]
    assert row[0] == lemma and row[1].endswith("s") and row[2].endswith("ing") and row[3].endswith("ed")
    no_vowel, parts = "q" in lemma or not set(lemma) & set("aeiouy"), lab.segment(row)  # what follows q is no syllable
    assert tuple("".join(parts[1:4]) + ending for ending in parts[4]) == row if parts else no_vowel
    assert isinstance(attempt(lab.regular_rows, text), Exception) != is_word(text)
    found = attempt(lab.synthesize, [lab.regular_rows(lemma)[0] for lemma in table], count, 0)
    assert isinstance(found, Exception) or not found or len(found) == count and lab.check_verbs(found) == found


@cases(300, words=junk, tense=junk | st.integers(-1, 4), z=junk | tensors, good=st.lists(word, max_size=3))
def test_the_model_takes_words_and_refuses_the_rest(words, tense, z, good):
    refused = lambda *call: isinstance(attempt(*call), Exception)
    both = refused(MODEL.encode, words, tense), refused(MODEL.convert, words, 0, tense)
    assert all(both) or not isinstance(words, str) and all(map(is_word, words)), "taken"
    one = refused(MODEL.encode, ["walk"], tense), refused(MODEL.decode, torch.zeros(1, 4), tense)
    assert one[0] == one[1] and (one[0] or np.ndim(tense) < 2 and set(np.ravel(tense)) <= {0, 1, 2, 3}), "taken"
    assert isinstance(made := attempt(MODEL.generate, z), Exception) or MODEL.decode(z, 0) == [row[0] for row in made]
    mu, logvar = MODEL.encode(good, 1)
    assert mu.shape == logvar.shape == (len(good), 4) and mu.isfinite().all() and logvar.isfinite().all()
    assert (outputs := MODEL.convert(good, 1, 2)) == MODEL.decode(mu, 2) == [row[2] for row in MODEL.generate(mu)]
    assert all(set(word) <= set(string.ascii_lowercase) and len(word) <= 33 for word in outputs)


@cases(1300, output=texts | short | word, reference=(texts | short | word).filter(len))
def test_bleu_is_nltks_and_between_0_and_1(output, reference):
    weights = (0.33, 0.33, 0.33) if len(reference) == 3 else (0.25, 0.25, 0.25, 0.25)
    nltks = sentence_bleu([list(reference)], list(output), weights, SmoothingFunction().method1)
    assert 0 <= lab.bleu4(output, reference) == nltks <= 1


@cases(1000, data=st.data(), generated=junk, table=(junk | tensors).filter(lambda table: table is not None))
def test_gaussian_score_by_counting(data, generated, table):
    rows = data.draw(st.lists(st.tuples(short, short, short, short), min_size=1, max_size=6))
    others = st.tuples(short, short, short, texts) | st.tuples(*(st.sampled_from(forms) for forms in zip(*rows)))
    drawn = data.draw(st.lists(st.sampled_from(rows) | others, min_size=1, max_size=12))
    known = sum(one not in rows and all(any(r[t] == one[t] for r in rows) for t in range(4)) for one in drawn)
    official, exact = sum(row == one for one in drawn for row in rows), sum(one in rows for one in drawn)
    expected = official / len(drawn), exact / len(drawn), sum(row in drawn for row in set(rows)), known / len(drawn)
    assert lab.gaussian_score(drawn, rows) == pytest.approx(expected)
    assert isinstance(attempt(lab.gaussian_score, drawn, table), Exception)
    attempt(lab.gaussian_score, generated, rows)


@cases(400, rows=st.lists(st.tuples(*[st.floats(-8, 8)] * 4), min_size=1, max_size=5))
def test_kl_is_torchs_and_not_negative(rows):
    mu, logvar = torch.tensor(rows, dtype=torch.float64).split(2, 1)
    q, p = torch.distributions.Normal(mu, (logvar / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    ours, theirs = lab.kl_divergence(mu, logvar), torch.distributions.kl_divergence(q, p).sum(1)
    assert ours.shape == (len(rows),) and (ours >= -1e-12).all() and torch.allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@cases(1500, name=st.sampled_from([*lab.STRATEGIES]), p=st.floats(0, 1, exclude_min=True), excess=st.floats(-9, 99))
def test_every_schedule_is_between_0_and_1(name, p, excess):
    value = lab.STRATEGIES[name](*(p, excess)[: 1 + (name in ("free-bits", "target-rate"))])
    assert 0 <= value <= 1 and (name != "target-rate" or value == sorted([0, excess, 1])[1])


KINDS = get_type_hints(lab.Config)
LOW = {n: int(kind is int and n not in ("seed", "synthetic")) for n, kind in KINDS.items()} | {"hidden_size": 2}
HIGH = dict.fromkeys(KINDS, 2**31 - 1) | {"tf_final": 1, "refine": 0.9, "directions": 2, "condition_size": 2**31 - 3}
TOGETHER = dict(decoding="direct", training="rows", condition_size=1, hidden_size=2**31 - 2, directions=1)
numbers = {n: (st.integers if KINDS[n] is int else st.floats)(LOW[n], HIGH[n]) for n in KINDS if not get_args(KINDS[n])}
values = numbers | {name: st.sampled_from(get_args(KINDS[name])) for name in KINDS if get_args(KINDS[name])}
near = st.one_of(*values.values()) | st.floats() | st.integers(-2, 2) | st.integers(2**31 - 3, 2**31 + 3)


@cases(2000, values=st.fixed_dictionaries({}, optional=values),
       name=st.sampled_from(sorted(KINDS)), value=junk | near)  # fmt: skip
def test_a_config_takes_what_is_in_range_and_refuses_the_rest_by_name(values, name, value):
    config = lab.Config(**values | TOGETHER)
    assert dataclasses.asdict(config) == dataclasses.asdict(lab.Config()) | values | TOGETHER
    assert dataclasses.replace(config) == config == eval(repr(config), {"Config": lab.Config})
    found = attempt(lambda: dataclasses.replace(config, **{name: value}), said=f"^({name}|hidden_size/directions): ")
    kinds, number = get_args(KINDS[name]), type(value) in (int, KINDS[name])
    good = type(value) is str and value in kinds if kinds else number and LOW[name] <= value <= HIGH[name]
    assert isinstance(found, ValueError) != good
    assert not good or getattr(found, name) == value and type(getattr(found, name)) in (str, KINDS[name])
