"""Bad input, in bulk: more than ten thousand generated cases, the same in every run."""

import dataclasses
import functools
import linecache
import math
import os
import random
import re
import string
import subprocess
import sys
import traceback
import unicodedata
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, lab
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

pytestmark = pytest.mark.slow
LEAST_CASES = 10_000
TINY = dict(hidden_size=12, latent_size=4, embedding_size=4, condition_size=3)
MB = 10**6
RAN = {}  # cases really executed, by test
WRITTEN = []  # the tests that `cases` makes


def cases(number, /, **strategies):
    """Runs a test on so many generated cases, always the same, five seconds for each at most, and counts them."""

    def wrap(test):
        WRITTEN.append(test.__name__)

        @functools.wraps(test)
        def counted(*args, **kwargs):
            RAN[test.__name__] = RAN.get(test.__name__, 0) + 1
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                test(*args, **kwargs)

        same = dict(derandomize=True, database=None, deadline=timedelta(seconds=5))
        return settings(max_examples=number, suppress_health_check=list(HealthCheck), **same)(
            given(**strategies)(counted)
        )

    return wrap


def attempt(call, *args, said="expected", errors=(ValueError, TypeError)):
    """Returns what the call returns, or the error; an error must be raised on purpose, in the module's own words."""
    try:
        return call(*args)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        assert type(error) in errors, repr(error)
        assert Path(frame.filename).name == "lab5_utils.py", frame
        assert linecache.getline(frame.filename, frame.lineno).strip().startswith("raise "), frame
        assert re.search(said, str(error)) and len(str(error)) < 1000, str(error)[:1000]
        return error


def refused(*args, **kwargs):
    error = attempt(*args, **kwargs)
    assert isinstance(error, Exception), f"was taken, and gave {error!r}"
    return error


# -- what is generated ----------------------------------------------------------------------------------------------

any_text = st.text(st.characters())  # lone surrogates too
strange = st.sampled_from(
    ["\0", "\u05d0\u05d1", "\u202e", "e\u0301", "\u0301", "\ufeff", "é", "ﬁ", "ß", "\ud800", "🙂"]
)
texts = st.one_of(any_text, st.lists(st.one_of(strange, st.sampled_from(["a", " ", "Z", "`", "{"]))).map("".join))
word = st.text(string.ascii_lowercase, min_size=1, max_size=32)
short = st.text("abeoy", min_size=1, max_size=3)  # so that some are equal
verb = st.tuples(word, word, word, word)


huge = st.sampled_from([10**5000, -(10**400), "x" * MB, b"\xff" * MB, " " * MB, [0] * 10_000])
arrays = st.sampled_from(
    [np.float64("nan"), np.int64(3), np.array([1, 2]), np.array(["a"]), np.array([None]), np.zeros((2, 4)), np.zeros((2, 4))[::-1]]
    + [torch.tensor(2), torch.tensor([1.5]), torch.zeros(2, 4), torch.zeros(2, 4, dtype=torch.complex64), torch.empty(0, 4)]
)  # fmt: skip
simple = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), texts, st.binary())
simple |= huge | arrays | st.builds(object)
junk = st.one_of(simple, st.lists(simple, max_size=4), st.lists(st.lists(simple, max_size=4), max_size=2))
junk |= st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)

# -- files ----------------------------------------------------------------------------------------------------------

LINE_ENDS = [b"\n", b"\r\n", b"\r"]
STRANGERS = [
    t.encode("utf-8", "surrogatepass") for t in "\0 \t \v \f \x1c \x85 \u2028 \ufeff é A 1 ` { א e\u0301".split(" ")
]
CHUNKS = st.sampled_from(
    [*STRANGERS, *LINE_ENDS, b" ", b"  ", b"\n\n", b"\xff", b"\xc3", b"a", b"a" * 32, b"a b c d\n"]
)


def files(columns):
    """Makes tables of which most are damaged in a place or two, and some are good."""
    row = st.lists(word, min_size=columns, max_size=columns).map(lambda words: " ".join(words).encode())
    rows = st.lists(row, max_size=12).flatmap(lambda r: st.sampled_from(LINE_ENDS).map(lambda end: end.join([*r, b""])))
    damages = st.lists(st.tuples(st.integers(0, 500), st.one_of(CHUNKS, st.just(b""))), max_size=2)
    return st.builds(damaged, rows, damages) | st.lists(CHUNKS, max_size=9).map(b"".join) | st.binary()


def damaged(content, damages):
    """Puts a chunk in place of a byte, for each damage; an empty chunk takes a byte away."""
    for place, chunk in damages:
        place %= len(content) + 1
        content = content[:place] + chunk + content[place + 1 :]
    return content


def specification(content, columns):
    """Returns the rows of a file, or None if it is no table: written without regular expressions."""
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    rows = [line.decode("latin-1").split(" ") for line in lines]
    words = [word for row in rows for word in row]
    good = all(len(row) == columns for row in rows) and all(
        1 <= len(word) <= 32 and all(letter in string.ascii_lowercase for letter in word) for word in words
    )
    return [tuple(row) for row in rows] if rows and good else None


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("files") / "words.txt"


@cases(2000, content=files(4))
def test_verbs_are_loaded_exactly_where_the_specification_has_them(path, content):
    path.write_bytes(content)
    found, expected = attempt(lab.load_verbs, path), specification(content, 4)
    if expected is not None:
        assert found == expected
    else:
        assert type(found) is ValueError and str(path) in str(found)
        assert not content or first_bad_line(content) == int(re.search(r", line (\d+): found", str(found)).group(1))


def first_bad_line(content):
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return next(i for i, line in enumerate(lines, 1) if specification(line + b"\n", 4) is None)


@cases(500, rows=st.lists(st.tuples(word, word), min_size=8, max_size=12), content=st.none() | files(2))
def test_pairs_are_loaded_exactly_where_the_specification_has_ten(path, rows, content):
    path.write_bytes("".join(f"{a} {b}\n" for a, b in rows).encode() if content is None else content)
    found, expected = attempt(lab.load_test_pairs, path), specification(path.read_bytes(), 2)
    if expected is not None and len(expected) == 10:
        assert found == [(*row, *tenses) for row, tenses in zip(expected, lab.TEST_TENSES)]
    else:
        assert type(found) is ValueError and str(path) in str(found)


@cases(300, verbs=st.lists(verb, min_size=1, max_size=20), end=st.sampled_from(LINE_ENDS), last=st.booleans())
def test_a_table_written_is_the_table_read(path, verbs, end, last):
    path.write_bytes(end.join(" ".join(verb).encode() for verb in verbs) + end * last)
    assert lab.load_verbs(path) == verbs == lab.check_verbs(verbs)


@cases(200, length=st.integers(25, 40), place=st.integers(0, 3))
def test_a_word_of_32_letters_is_the_longest(path, length, place):
    row = ["go", "goes", "going", "went"]
    row[place] = "a" * length
    path.write_text(" ".join(row))
    assert isinstance(attempt(lab.load_verbs, path), Exception) == (length > 32)


@cases(300, name=st.text(st.characters(exclude_characters="/\\"), min_size=1, max_size=400))
def test_a_missing_file_is_named(path, name):
    error = refused(lab.load_verbs, path.parent / "none" / name, said="no file", errors=(FileNotFoundError,))
    assert Path(name).name in str(error) or name in (".", "..")


LARGE = {
    "letters": b"a" * MB, "spaces": b" " * MB, "random bytes": random.Random(0).randbytes(MB), "NUL": bytes(MB),
    "line ends": b"\n" * MB, "short bad lines": b"a b\n" * 100_000, "words": b"ab " * (MB // 3), "half a character": b"\xc3" * MB,
    "bad at the end": b"a b c d\n" * 100_000 + b"a b c D\n", "right to left": "א".encode() * (MB // 2),
    "combining": b"e" + "\u0301".encode() * (MB // 2), "four words": b" ".join([b"a" * (MB // 4)] * 4),
}  # fmt: skip


@cases(len(LARGE), name=st.sampled_from(sorted(LARGE)))
def test_large_bad_files_are_refused_soon(path, name):
    path.write_bytes(LARGE[name])
    refused(lab.load_verbs, path, said=re.escape(str(path)) + r", line \d+: found .* expected 4 words")
    refused(lab.check_words, [LARGE[name].decode("latin-1")], said="cannot take the word")
    refused(lab.words_to_tensor, [LARGE[name].decode("latin-1") + "!"], said="cannot take the word")


# -- words, tenses, verbs -------------------------------------------------------------------------------------------


def is_word(value, longest=32):
    return isinstance(value, str) and 1 <= len(value) <= longest and set(value) <= set(string.ascii_lowercase)


@cases(600, words=st.lists(st.text(string.ascii_lowercase, max_size=50), min_size=1, max_size=30))
def test_words_come_back_from_their_numbers(words):
    letters, lengths = lab.words_to_tensor(words)
    assert lab.tensor_to_words(letters) == words and lengths.tolist() == [len(word) + 1 for word in words]
    assert letters.shape == (len(words), max(lengths)) and 0 <= letters.min() and letters.max() <= 26


@cases(1000, words=junk | st.lists(texts | word, max_size=4))
def test_only_words_are_taken_for_words(words):
    found = attempt(lab.check_words, words)
    if not isinstance(found, Exception):
        assert found == list(words) and all(map(is_word, found))
    else:
        assert not isinstance(words, list) or not all(map(is_word, words))
    turned = attempt(lab.words_to_tensor, words)
    assert isinstance(turned, Exception) or lab.tensor_to_words(turned[0]) == list(words)


@cases(300, codes=st.lists(st.lists(st.integers(-300, 300) | st.integers(0, 27), min_size=3, max_size=3), min_size=1))
def test_only_letters_make_words(codes):
    found = attempt(lab.tensor_to_words, torch.tensor(codes))
    assert isinstance(found, Exception) != all(0 <= code <= 26 for row in codes for code in row)
    refused(lab.tensor_to_words, codes), refused(lab.tensor_to_words, torch.tensor(codes) + 0.5)


@cases(
    1000,
    tense=junk | st.integers(-1, 4) | st.lists(st.integers(0, 3) | st.floats(0, 3), max_size=3),
    count=st.integers(0, 3),
)
def test_only_tenses_are_taken_for_tenses(tense, count):
    found = attempt(lab.check_tense, tense, count)
    if not isinstance(found, Exception):
        assert found.dtype == torch.long and found.shape == (count,) and all(t in (0, 1, 2, 3) for t in found.tolist())
    good = type(tense) is int and tense in range(4)
    good |= isinstance(tense, list) and len(tense) == count and all(type(t) is int and t in range(4) for t in tense)
    assert not good or found.tolist() == (tense if isinstance(tense, list) else [tense] * count)


@cases(600, verbs=junk | st.lists(st.one_of(verb, st.lists(texts | word, max_size=5), junk), max_size=3))
def test_only_verbs_are_taken_for_verbs(verbs):
    found = attempt(lab.check_verbs, verbs)
    if not isinstance(found, Exception):
        assert found and all(type(row) is tuple and len(row) == 4 and all(map(is_word, row)) for row in found)
    assert isinstance(attempt(lab.split_verbs, verbs, 0, 2), (tuple, Exception))
    assert isinstance(attempt(lab.make_up, verbs, 1, 0), (list, Exception))


# -- the model ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for a model as small as this, more only wait for each other
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield lab.CVAE(lab.Config(**TINY))
    torch.set_num_threads(threads)


@cases(300, words=junk, tense=junk | st.integers(-1, 4), z=junk)
def test_what_the_model_cannot_take(model, words, tense, z):
    for call in (
        lambda: model.encode(words, tense),
        lambda: model.encode(["walk"], tense),
        lambda: model.convert(words, 0, tense),
        lambda: model.decode(z, tense),
        lambda: model.decode(torch.zeros(1, 4), tense),
        lambda: model.generate(z),
    ):
        attempt(call)


@cases(40, words=st.lists(word, max_size=4), source=st.integers(0, 3), target=st.integers(0, 3))
def test_whatever_words_are_encoded_and_words_come_out(model, words, source, target):
    mu, logvar = model.encode(words, source)
    assert mu.shape == logvar.shape == (len(words), 4) and mu.isfinite().all() and logvar.isfinite().all()
    outputs = model.convert(words, source, target)
    assert outputs == model.decode(mu, [target] * len(words)) == [row[target] for row in model.generate(mu)]
    assert all(word == "" or is_word(word, 33) for word in outputs) and len(outputs) == len(words)


# -- metrics --------------------------------------------------------------------------------------------------------


def nltk_bleu(output, reference):
    weights = (0.33, 0.33, 0.33) if len(reference) == 3 else (0.25, 0.25, 0.25, 0.25)
    return sentence_bleu([list(reference)], list(output), weights, SmoothingFunction().method1)


@cases(1200, output=texts | short | word, reference=texts | short | word)
def test_bleu_is_nltks_and_between_0_and_1(output, reference):
    if not reference:
        refused(lab.bleu4, output, reference, said="reference is empty")
        return
    assert 0 <= lab.bleu4(output, reference) <= 1 and lab.bleu4(output, reference) == nltk_bleu(output, reference)
    if len(reference) > 3:
        assert lab.bleu4(reference, reference) == 1
    for form in ("NFC", "NFD"):
        assert 0 <= lab.bleu4(unicodedata.normalize(form, output), reference) <= 1


@cases(200, output=junk)
def test_bleu_of_what_is_no_text(output):
    if isinstance(output, str):
        assert 0 <= lab.bleu4(output, "abandon") <= 1  # 1 MB among them
    else:
        refused(lab.bleu4, output, "abandon"), refused(lab.bleu4, "abandon", output)


def test_bleu_of_a_megabyte():
    assert lab.bleu4("ab " * (MB // 3), "abandon") < 1e-4 and lab.bleu4("abandon", "ab " * (MB // 3)) == 0


@cases(800, data=st.data())
def test_gaussian_score_by_counting(data):
    rows = data.draw(st.lists(st.tuples(short, short, short, short), min_size=1, max_size=6))
    others = st.tuples(short, short, short, st.text("abé", max_size=1))
    mixed = st.tuples(*(st.sampled_from([row[tense] for row in rows]) for tense in range(4)))
    drawn = data.draw(st.lists(st.sampled_from(rows) | others | mixed, min_size=1, max_size=12))
    score, n = lab.gaussian_score(drawn, rows), len(drawn)
    assert score.official == pytest.approx(sum(row == one for one in drawn for row in rows) / n)
    assert score.exact == pytest.approx(sum(one in rows for one in drawn) / n)
    assert score.distinct == sum(row in drawn for row in set(rows))
    known = [one for one in drawn if one not in rows and all(any(r[t] == one[t] for r in rows) for t in range(4))]
    assert score.mixed == pytest.approx(len(known) / n)
    assert score.distinct <= n * score.exact + 1e-9 and score.exact + score.mixed <= 1 + 1e-9
    assert score.official >= score.exact and (score.official == score.exact or len(set(rows)) < len(rows))


@cases(400, generated=junk, verbs=junk)
def test_gaussian_score_of_what_are_no_verbs(generated, verbs):
    row = ("go", "goes", "going", "went")
    attempt(lab.gaussian_score, generated, [row])
    refused(lab.gaussian_score, [row], verbs)


@cases(400, rows=st.lists(st.tuples(*[st.floats(-8, 8)] * 4), min_size=1, max_size=5))
def test_kl_is_torchs_and_not_negative(rows):
    mu, logvar = torch.tensor(rows, dtype=torch.float64).split(2, 1)
    q, p = torch.distributions.Normal(mu, (logvar / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    ours = lab.kl_divergence(mu, logvar)
    assert torch.allclose(ours, torch.distributions.kl_divergence(q, p).sum(1), rtol=1e-9, atol=1e-9)
    assert ours.shape == (len(rows),) and (ours >= -1e-12).all()


# -- schedules ------------------------------------------------------------------------------------------------------

shapes = st.sampled_from(sorted(lab.STRATEGIES))


@cases(1500, name=shapes, progress=st.floats(0, 1, exclude_min=True), excess=st.floats())
def test_every_shape_is_between_0_and_1(name, progress, excess):
    value = lab.STRATEGIES[name](progress, excess)
    assert type(value) is float and 0 <= value <= 1
    if name == "target-rate" and not math.isnan(excess):
        assert value == sorted([0, excess, 1])[1]
    config = lab.Config(tf_final=0.2, rate_start=9.0, rate_end=2.0)
    assert 0.2 - 1e-9 <= config.tf_ratio(progress) <= 1 and 2 - 1e-9 <= config.target_rate(progress) <= 9


@cases(600, name=shapes, progress=st.floats().filter(lambda p: not 0 < p <= 1) | st.sampled_from([0, -1, 2, 10**400]))
def test_progress_outside_is_refused(name, progress):
    refused(lab.STRATEGIES[name], progress, said=r"progress: found .* expected .*\(0, 1\]", errors=(ValueError,))


# -- Config ---------------------------------------------------------------------------------------------------------

FIELDS = {f.name: f for f in dataclasses.fields(lab.Config)}
DEPENDENT = {"condition_size", "hidden_size", "decoding", "training"}  # taken or not with a second one


def in_range(f):
    """Makes values that `Config` has to take."""
    if "low" not in f.metadata:
        return shapes if f.name == "strategy" else st.sampled_from(f.metadata["choices"])
    low, high = f.metadata["low"], f.metadata["high"]
    whole = st.integers(math.ceil(low), math.floor(high))
    return st.floats(low, high) | whole if f.type == "float" else whole


some_fields = st.fixed_dictionaries({}, optional={name: in_range(f) for name, f in FIELDS.items()})


@cases(800, values=some_fields)
def test_whatever_is_in_range_is_taken_and_comes_back(values):
    config = attempt(lambda: lab.Config(**values), said="^(condition_size|decoding): ")
    if isinstance(config, Exception):
        assert DEPENDENT & set(values)
        config = lab.Config(**{name: value for name, value in values.items() if name not in DEPENDENT})
    assert dataclasses.replace(config) == config == lab.Config(**dataclasses.asdict(config))
    assert eval(repr(config), {"Config": lab.Config}) == config
    for name, value in dataclasses.asdict(config).items():
        assert value == values.get(name, value) or name in DEPENDENT
        assert type(value).__name__ == FIELDS[name].type


@cases(1500, name=st.sampled_from(sorted(FIELDS)), value=junk | st.floats() | st.integers(-2, 200_000))
def test_whatever_is_out_of_range_is_refused_by_name(name, value):
    config = attempt(lambda: lab.Config(**{name: value}), said=f"^({name}|condition_size): .*", errors=(ValueError,))
    f, number = FIELDS[name], type(value) in (int, float)
    if isinstance(config, Exception) and "low" in f.metadata and name not in DEPENDENT and number:
        assert not f.metadata["low"] <= value <= f.metadata["high"] or type(value) is float and f.type == "int"
    if not isinstance(config, Exception):
        assert getattr(config, name) == value


@cases(200, name=texts.filter(lambda name: name not in FIELDS), value=junk)
def test_an_unknown_name_is_refused(name, value):
    with pytest.raises(TypeError) as caught:
        lab.Config(**{name: value})
    assert name in str(caught.value)


# -- regular verbs, the split, made-up verbs ------------------------------------------------------------------------

lemma = st.text(string.ascii_lowercase, min_size=1, max_size=20) | st.text("aeiouyqhstxz", min_size=1, max_size=6)


@cases(700, lemma=lemma, form=st.integers(0, 1))
def test_a_regular_verb_is_taken_apart_and_put_together(lemma, form):
    row = lab.regular_rows(lemma)[form]
    assert row[0] == lemma and row[1].endswith("s") and row[2].endswith("ing") and row[3].endswith("ed")
    parts = lab.take_apart(row)
    if parts is None:
        assert "q" in lemma or not set(lemma) & set("aeiouy")  # what stands after q counts for no syllable
    else:
        assert tuple(parts.head + parts.vowels + parts.coda + ending for ending in parts.endings) == row


@cases(500, lemma=junk | texts, row=junk | st.lists(word | texts, max_size=5))
def test_what_is_no_verb_is_not_taken_apart(lemma, row):
    found = attempt(lab.regular_rows, lemma)
    assert isinstance(found, Exception) != is_word(lemma)
    found = attempt(lab.take_apart, row)
    assert isinstance(found, Exception) or len(row) == 4 and all(map(is_word, row))


numbers = st.integers(-2, 12) | st.floats(-2, 12) | st.sampled_from([None, "2", math.nan, math.inf, 10**400])


@cases(400, lemmas=st.lists(short | lemma, max_size=12), split=numbers, splits=numbers)
def test_a_split_is_whole_or_refused(lemmas, split, splits):
    verbs = [lab.regular_rows(lemma)[0] for lemma in lemmas]
    found = attempt(lab.split_verbs, verbs, split, splits)
    if not isinstance(found, Exception):
        training, held = found
        assert (
            training and held and sorted(training + held) == sorted(set(verbs)) and type(split) is type(splits) is int
        )


@cases(
    200,
    lemmas=st.lists(st.text("abdeot", min_size=1, max_size=9), max_size=5)
    | st.lists(st.text("abdeot", min_size=29, max_size=32), min_size=1, max_size=2),
    count=numbers.filter(lambda n: n != 10**400),
)
def test_made_up_verbs_are_verbs(lemmas, count):
    rows = [lab.regular_rows(lemma)[0] for lemma in lemmas]
    found = attempt(lab.make_up, rows, count, 0)
    assert isinstance(found, Exception) or not found or (len(found) == count and lab.check_verbs(found) == found)


# -- the count, and a large table -----------------------------------------------------------------------------------


def test_ten_thousand_cases_were_run():
    if set(WRITTEN) - set(RAN):
        pytest.skip("counts only where the whole file runs")
    print(f"\n{sum(RAN.values()):,} cases: {RAN}")
    assert sum(RAN.values()) >= LEAST_CASES


LARGE_TABLE = """
import resource, sys, time
import lab5_utils as lab
start = time.perf_counter()
verbs = lab.load_verbs(sys.argv[1])
loaded = time.perf_counter() - start
config = lab.Config(hidden_size=32, latent_size=16, embedding_size=16, batch_size=256, epochs=1, evaluate_every=1000)
lab.train(config, verbs, progress=False)
unit = 1 if sys.platform == "darwin" else 1024
print(len(verbs), loaded, time.perf_counter() - start - loaded, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""


def many_verbs(count):
    verbs, seed = {}, 0
    while len(verbs) < count:
        verbs |= dict.fromkeys(lab.make_up(lab.load_verbs(), count, seed))
        seed += 1
    return list(verbs)[:count]


@pytest.mark.slow
def test_a_table_of_100_000_verbs_loads_and_trains(tmp_path):
    pytest.importorskip("resource")
    path = tmp_path / "large.txt"
    path.write_text("".join(" ".join(verb) + "\n" for verb in many_verbs(100_000)))
    command = [sys.executable, "-c", LARGE_TABLE, str(path)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    count, loading, training, peak = map(float, done.stdout.split())
    print(f"\nloaded in {loading:.2f} s, trained in {training:.1f} s, peak {peak / 1e9:.2f} GB")
    assert count == 100_000 and loading < 2 and peak < 2e9
