"""The assignment: what is handed out, what loses points and what must not."""

import importlib.util
import json
import re
import subprocess
import sys

import nbformat
import pytest
import torch
from conftest import ROOT
from nbclient import NotebookClient

sys.path.insert(0, str(ROOT / "assignment"))
import checks
import handout

SCRIPT = ROOT / "assignment" / "handout.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns an assignment as a student gets it."""
    folder = tmp_path_factory.mktemp("handout") / "lab5"
    subprocess.run([sys.executable, SCRIPT, folder], check=True)
    return folder


@pytest.fixture(autouse=True)
def expected(folder, monkeypatch):
    monkeypatch.setattr(checks, "EXPECTED", folder / "expected.json")


@pytest.fixture(scope="module")
def sources():
    """Returns the notebooks with their solutions, by number."""
    return {path.name[:2]: handout.make_source(path, {}) for path in handout.NOTEBOOKS}


def marks(source, number, right="", wrong=""):
    """Returns the points of a notebook's checks, hidden tests included; some code is replaced."""
    (path,) = [path for path in handout.NOTEBOOKS if path.name.startswith(number)]
    cells = handout.taken_from(path)
    assert any(right in cell.source for cell in cells), right
    for cell in cells:
        cell.source = cell.source.replace(right, wrong)
    names = handout.solution_of(cells)
    points = {}
    for cell in source.cells:
        if cell.id.startswith("check-"):
            exec(cell.source, names)
            points[cell.id.removeprefix("check-")] = names["points"]
    return points


def total(sources):
    return sum(sum(marks(source, number).values()) for number, source in sources.items())


# ---- Points ----
def test_points_are_100_and_the_solution_has_them(sources):
    texts = [cell for source in sources.values() for cell in source.cells]
    texts = [cell.metadata.nbgrader.points for cell in texts if cell.id.startswith("answer-")]
    assert total(sources) == 76
    assert sum(texts) == 24


def test_points_do_not_depend_on_the_processor(sources, monkeypatch):
    exact = checks.fill

    def moved(module, case):
        for weight in exact(module, case).parameters():
            weight.data += 2e-6 * torch.randn(weight.shape)
        return module

    monkeypatch.setattr(checks, "fill", moved)
    assert total(sources) == 76


def test_a_hidden_test_gives_no_lost_points_back(monkeypatch, capsys):
    monkeypatch.setattr(checks, "AWARDED", {})
    wrong, right = (handout.with_solutions_marked, lambda progress: 1 - 0.05 * progress)
    found = json.loads(json.dumps(checks.results(checks.teacher_forcing, right, 1)))
    assert checks.award(2, "teacher_forcing", wrong) == 0
    assert checks.award(2, "teacher_forcing", right, found) == 0
    checks.show_total(2)
    assert "points of this notebook: 0 of 2" in capsys.readouterr().out


AT_EOS = "hidden[torch.arange(len(hidden)), lengths - 1]"
BOTH = "self.mu(end), self.logvar(end)"
CONDITION = "condition = self.condition(tense)"
FROM_Z = "[z, self.condition(tense)]"
FIRST = "self.first_state(z, tense)"
STATE = "state = self.first_state(z, tense)\n        letter"
SHIFT = "F.pad(letters[:, :-1], (1, 0), value=vocabulary.sos)"
FED = "            letter = scores[-1].argmax(2)\n"
LSTM = "self.lstm(self.embedding(letter), state)"
KL = "0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)"
DRAW = "mu + (0.5 * logvar).exp() * torch.randn(mu.shape)"
SUM = "return (nats * mask).sum(1)"
COIN = "torch.rand(len(z)) >= tf_ratio"
TENSES = "words.tense[free], words"
HITS = "sum(min(found.count(run), wanted.count(run)) for run in set(found))"
ROWS = "[verb for verb in generated if verb in known]"
MISTAKES = [  # the check, right code, wrong code
    ("01 to_numbers", "[lab.EOS])", "[lab.EOS]).float()"),
    ("01 to_word", "            break", "            continue"),
    ("02 encoder_forward", AT_EOS, "hidden[:, -1]"),
    ("02 encoder_forward", AT_EOS, f"{AT_EOS}; letters += 1"),
    ("02 encoder_forward", BOTH, "self.mu(end), self.logvar(hidden[:, -1])"),
    ("02 encoder_forward", BOTH, "self.mu(end.relu()), self.logvar(end)"),
    ("02 encoder_forward", BOTH, "self.mu(end), self.logvar(end.detach())"),
    ("02 encoder_forward", CONDITION, "condition = self.condition(0 * tense)"),
    ("02 decoder_first_state", FROM_Z, FROM_Z.replace("z", "z.detach()")),
    ("02 decoder_first_state", "c0.tanh(), c0", "c0, c0"),
    ("02 decoder_forward", SHIFT, "letters"),
    ("02 decoder_forward", f"{FIRST})\n", f"{FIRST}[::-1])\n"),
    ("02 decoder_forward", f"{FIRST})\n", f"({FIRST}[0],) * 2)\n"),
    ("02 decoder_forward", "self.letter(hidden)  #", "self.letter(hidden).softmax(2)  #"),
    ("02 decoder_free_run", FED, ""),
    ("02 decoder_free_run", FED, f"{FED}            if not letter.any(): break\n"),
    ("02 decoder_free_run", STATE, STATE.replace("\n", "[::-1]\n", 1)),
    ("02 decoder_free_run", LSTM, f"{LSTM}; state = state[0], 0 * state[1]"),
    ("02 decoder_free_run", LSTM, LSTM.replace("state", "[s.detach() for s in state]")),
    ("02 decode", "steps=lab.MAX_LETTERS + 1", "steps=13"),
    ("02 decode", "free_run(z, tenses", "free_run(z + torch.randn_like(z), tenses"),
    ("02 kl_divergence", KL, KL.replace("sum", "mean")),
    ("02 kl_divergence", KL, KL.replace("logvar.exp()", "logvar.detach().exp()")),
    ("02 reparameterize", DRAW, DRAW.replace("0.5 * logvar", "logvar")),
    ("02 reparameterize", DRAW, f"(torch.manual_seed(0), {DRAW})[1]"),
    ("02 cross_entropy", SUM, "return nats.sum(1)"),
    (
        "02 cross_entropy",
        SUM,
        f"{SUM}.detach() + 1e-3 * ((a := (nats * mask).sum(1)) - a.detach())",
    ),
    ("02 monotonic", "min(1, 10 * progress)", "math.sin(5 * math.pi * min(progress, 0.1))"),
    ("02 teacher_forcing", "0.05 * progress", "0.05 * progress**2"),
    ("02 spell", COIN, "(torch.rand(()) >= tf_ratio).expand(len(z))"),
    ("02 spell", COIN, f"(torch.manual_seed(15), {COIN})[1]"),
    ("02 spell", TENSES, "words.tense[:free.sum()], words"),
    ("02 spell", "letters_before_eos + 1)", "letters_before_eos)"),
    ("02 step", "ce + beta * kl", "ce + kl"),
    ("02 step", "    optimizer.zero_grad()\n", ""),
    ("02 step", ", 5.0)", ", 1.0)"),
    ("02 step", "z = reparameterize(mu, logvar)\n    scores", "z = mu\n    scores"),
    ("03 bleu4", "(hits or 0.1)", "(hits or 1e-12)"),
    ("03 bleu4", "    logarithms = []\n", "    return lab.bleu4(output, target)\n"),
    ("03 gaussian_score", ROWS, "[v for v in generated for row in verbs if v == row]"),
    ("04 four_cycles", " or 1.0", ""),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake[0]}: {mistake[2]}")
def test_a_mistake_costs_its_own_points_and_no_others(sources, mistake, capsys):
    number, check = mistake[0].split()
    points = marks(sources[number], number, *mistake[1:])
    assert [name for name in points if points[name] == 0] == [check]
    assert f"Hint: {checks.__dict__[check].__doc__[:20]}" in capsys.readouterr().out


PACKED = """nn.utils.rnn.pad_packed_sequence(self.lstm(nn.utils.rnn.pack_padded_sequence(
            self.embedding(letters), lengths, batch_first=True, enforce_sorted=False
        ), (h0, c0))[0], batch_first=True)"""
GREEDY = """state = decoder.first_state(z, tenses)
    letter, spelled = torch.full((len(z), 1), vocabulary.sos), []
    while len(spelled) <= lab.MAX_LETTERS:
        hidden, state = decoder.lstm(decoder.embedding(letter), state)
        letter = decoder.letter(hidden).argmax(2)
        spelled.append(letter)
    return vocabulary.to_words(torch.cat(spelled, 1))
    scores ="""
ALL_FREE = """own = decoder.free_run(z, words.tense, words.letters.shape[1])
    ends = torch.tensor([(row + [0]).index(0) + 1 for row in own.argmax(2).tolist()])
    forced = torch.rand(len(z)) < tf_ratio
    lengths = torch.where(forced, words.lengths, ends.minimum(words.lengths))
    return torch.where(forced[:, None, None], scores, own), lengths
    lengths = words"""
IN_PLACE = """letters[torch.arange(letters.shape[1]) >= lengths[:, None]] = -100
    return F.cross_entropy(scores.mT, letters, ignore_index=-100, reduction="none").sum(1)
    nats ="""
RIGHT = [  # the same, written differently
    ("02", "self.lstm(self.embedding(letters), (h0, c0))", f"{PACKED}, 0"),
    ("02", FROM_Z, "[self.condition(tense), z]"),
    ("02", LSTM, LSTM.replace("state", "hx=state")),
    ("02", "scores = decoder.free_run(z, tenses", GREEDY + " decoder.free_run(z, tenses"),
    ("02", "nats = F", IN_PLACE + " F"),
    ("02", SUM, f"{SUM}\n    raise NotImplementedError()"),
    ("02", COIN, "torch.bernoulli(torch.full((len(z),), tf_ratio)) == 0"),
    ("02", "lengths = words", ALL_FREE),
    ("02", DRAW, "torch.distributions.Normal(mu, (0.5 * logvar).exp()).rsample()"),
    ("03", HITS, "(Counter(found) & Counter(wanted)).total()"),
    ("04", "4 * progress % 1", "math.fmod(progress, 0.25) * 4"),
]


@pytest.mark.parametrize("answer", RIGHT, ids=lambda answer: answer[2][:40])
def test_a_right_answer_that_is_written_differently_keeps_its_points(sources, answer):
    number, *codes = answer
    points = marks(sources[number], number, *codes)
    assert all(points.values()), points


# ---- What is handed out ----
def test_no_answer_is_handed_out(folder, sources):
    cells = [cell.source for source in sources.values() for cell in source.cells]
    bodies = re.findall(r"BEGIN SOLUTION\n(.*?)### END", "".join(cells), re.S)
    handed = "".join(path.read_text("utf-8") for path in folder.iterdir())
    lines = [line.strip() for body in bodies for line in body.split("\n")]
    assert len(bodies) == 16 + 7
    assert not [line for line in lines if len(line) > 40 and "SOS" not in line and line in handed]
    assert not re.search(
        "SOLUTION|HIDDEN|reparameteriz|GatedDecoder", (folder / "lab5_utils.py").read_text()
    )


def test_names_only_files_that_are_there(folder):
    there = {path.name for path in folder.iterdir()} | {"yours.pkl"}
    for path in folder.iterdir():
        if path.suffix in (".md", ".txt", ".ipynb"):
            named = re.findall(
                r"[\w./-]+\.(?:py|md|txt|ipynb|json|svg|pkl)\b", path.read_text("utf-8")
            )
            assert {*named} <= there, path.name


def run(folder, replacements):
    """Runs the notebooks of a folder in order; returns what the cells of code show, by id."""
    shown = {}
    for path in sorted(folder.glob("0*.ipynb")):
        notebook = nbformat.read(path, 4)
        for cell in notebook.cells:
            for old, new in replacements.items():
                cell.source = cell.source.replace(old, new)
        NotebookClient(notebook, resources={"metadata": {"path": folder}}).execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        shown |= {f"{path.name[:2]} {cell.id}": str(cell.outputs) for cell in cells}
    return shown


@pytest.mark.slow
def test_blank_notebooks_run_to_their_ends_without_a_point(folder):
    shown = run(folder, {})
    said = [text for name, text in shown.items() if "check-" in name]
    assert len(said) == 16
    assert all("still blank" in text for text in said)
    assert all("notebook: 0 of" in text for name, text in shown.items() if "total" in name)


SHORTER = {  # fewer verbs, epochs and draws
    "lab.load_verbs()": "lab.load_verbs()[::6]",
    "train(16,": "train(1,",
    '["train"](8': '["train"](1',
    "10_000": "100",
}


@pytest.mark.slow
def test_filled_in_a_model_goes_from_notebook_to_notebook(folder, sources, tmp_path):
    for name, text in handout.make_files(for_nbgrader=True).items():
        (tmp_path / name).write_text(text, "utf-8")
    shown = run(tmp_path, SHORTER)
    assert not [name for name, text in shown.items() if "'error'" in text]
    assert "exact: " in shown["03 c32"]
    assert "rising to 1" in shown["04 curves"]


# ---- What is refused ----
def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.txt"):
        refused = subprocess.run([sys.executable, SCRIPT, place], capture_output=True, text=True)
        assert "expected a new or an empty folder" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


REFUSED = {
    "found no function no_such": {"blank": {"no_such": 5}},
    "found no docstring or no body in bare": {"blank": {"bare": 5}},
    "no attribute 'unchecked'": {"blank": {"unchecked": 5}},
    "found {'blnak'}": {"blnak": {}},
}
CELL = 'def bare():\n    return 1\n\n\ndef unchecked():\n    """Returns 1."""\n    return 1'


@pytest.mark.parametrize("why", REFUSED)
def test_a_cell_that_cannot_be_marked_is_refused_by_name(tmp_path, why):
    cell = nbformat.v4.new_code_cell(CELL, id="one", metadata={"handout": REFUSED[why]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "01_a.ipynb")
    with pytest.raises(ValueError, match=f"01_a.ipynb, cell one: .*{why}"):
        handout.make_source(tmp_path / "01_a.ipynb", {})


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("nbgrader") is None, reason="needs nbgrader")
def test_nbgrader_takes_the_source(tmp_path):
    subprocess.run([sys.executable, SCRIPT, tmp_path / "course", "--nbgrader"], check=True)
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", "lab5"]
    subprocess.run(command, cwd=tmp_path / "course", check=True)
    for path in (tmp_path / "course/release/lab5").glob("0*.ipynb"):
        text = path.read_text("utf-8")
        assert "YOUR" in text
        assert not re.search("HIDDEN|SOLUTION", text)
