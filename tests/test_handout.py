"""The assignment: what is handed out, what loses points and what must not."""

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


MISTAKES = [  # the check, right code, wrong code
    ("01 to_numbers", "[lab.EOS])", "[lab.EOS]).float()"),
    ("01 to_word", "            break", "            continue"),
    ("02 encoder_forward", ", lengths - 1]", ", -1]"),
    ("02 encoder_forward", ", lengths - 1]", ", lengths - 1]; letters += 1"),
    ("02 encoder_forward", "self.logvar(end)  #", "self.logvar(hidden[:, -1])  #"),
    ("02 encoder_forward", "self.logvar(end)  #", "self.logvar(end.detach())  #"),
    ("02 encoder_forward", "self.mu(end)", "self.mu(end.relu())"),
    ("02 encoder_forward", "self.condition(tense)  #", "self.condition(0 * tense)  #"),
    ("02 decoder_first_state", "cat([z,", "cat([z.detach(),"),
    ("02 decoder_first_state", "c0.tanh(), c0", "c0, c0"),
    ("02 decoder_forward", "letters[:, :-1], (1, 0)", "letters, (0, 0)"),
    ("02 decoder_forward", "self.first_state(z, tense))", "self.first_state(z, tense)[::-1])"),
    ("02 decoder_forward", "self.first_state(z, tense))", "2 * self.first_state(z, tense)[:1])"),
    ("02 decoder_forward", "self.letter(hidden)  #", "self.letter(hidden).softmax(2)  #"),
    ("02 decoder_free_run", "letter = scores[-1].argmax(2)", "pass"),
    ("02 decoder_free_run", "for _ in range(steps)", "for _ in range(steps - 1)"),
    ("02 decoder_free_run", "letter), state)", "letter), state[::-1])"),
    ("02 decoder_free_run", "letter), state)", "letter), state); state = state[0], 0 * state[1]"),
    ("02 decoder_free_run", "letter), state)", "letter), [part.detach() for part in state])"),
    ("02 decode", "steps=lab.MAX_LETTERS + 1", "steps=13"),
    ("02 decode", "free_run(z, tenses", "free_run(z + torch.randn_like(z), tenses"),
    ("02 kl_divergence", "- logvar).sum(1)", "- logvar).mean(1)"),
    ("02 kl_divergence", "+ logvar.exp()", "+ logvar.detach().exp()"),
    ("02 reparameterize", "(0.5 * logvar)", "(logvar)"),
    ("02 reparameterize", "    return mu", "    torch.manual_seed(0)\n    return mu"),
    ("02 cross_entropy", "(nats * mask).sum(1)", "nats.sum(1)"),
    ("02 cross_entropy", "(nats * mask)", "((1e-3 * nats + 0.999 * nats.detach()) * mask)"),
    ("02 monotonic", "min(1, 10 * progress)", "math.sin(5 * math.pi * min(progress, 0.1))"),
    ("02 teacher_forcing", "0.05 * progress", "0.05 * progress**2"),
    ("02 spell", "torch.rand(len(z))", "torch.rand(1).expand(len(z))"),
    ("02 spell", "    free = torch", "    torch.manual_seed(15)\n    free = torch"),
    ("02 spell", "words.tense[free]", "words.tense[: free.sum()]"),
    ("02 spell", "letters_before_eos + 1)", "letters_before_eos)"),
    ("02 step", "ce + beta * kl\n", "ce + kl\n"),
    ("02 step", "    optimizer.zero_grad()\n", ""),
    ("02 step", ", 5.0)", ", 1.0)"),
    ("02 step", "z = reparameterize(mu, logvar)\n    scores", "z = mu\n    scores"),
    ("03 bleu4", "(hits or 0.1)", "(hits or 1e-12)"),
    ("03 bleu4", "    logarithms = []\n", "    return lab.bleu4(output, target)\n"),
    ("03 gaussian_score", "if verb in known]", "for row in verbs if row == verb]"),
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
    scores = decoder.free_run(z, tenses"""
ALL_FREE = """own = decoder.free_run(z, words.tense, words.letters.shape[1])
    ends = torch.tensor([(row + [0]).index(0) + 1 for row in own.argmax(2).tolist()])
    forced = torch.rand(len(z)) < tf_ratio
    lengths = torch.where(forced, words.lengths, ends.minimum(words.lengths))
    return torch.where(forced[:, None, None], scores, own), lengths
    lengths = words"""
IN_PLACE = """letters[torch.arange(letters.shape[1]) >= lengths[:, None]] = -100
    return F.cross_entropy(scores.mT, letters, ignore_index=-100, reduction="none").sum(1)
    nats = F"""
RIGHT = [  # the same, written differently
    ("02", "self.lstm(self.embedding(letters), (h0, c0))", PACKED),
    ("02", "[z, self.condition(tense)]", "[self.condition(tense), z]"),
    ("02", "scores = decoder.free_run(z, tenses", GREEDY),
    ("02", "nats = F", IN_PLACE),
    ("02", "* mask).sum(1)", "* mask).sum(1)\n    raise NotImplementedError()"),
    ("02", "torch.rand(len(z)) >=", "1 - torch.rand(len(z)) >"),
    ("02", "lengths = words", ALL_FREE),
    ("02", "torch.randn(mu.shape)", "torch.distributions.Normal(0.0, 1.0).sample(mu.shape)"),
    ("04", "4 * progress % 1", "math.fmod(progress, 0.25) * 4"),
]


@pytest.mark.parametrize("answer", RIGHT, ids=lambda answer: answer[2][:40])
def test_a_right_answer_that_is_written_differently_keeps_its_points(sources, answer):
    number, *codes = answer
    points = marks(sources[number], number, *codes)
    assert all(points.values()), points


# ---- What is handed out ----
def test_no_answer_is_handed_out(folder, sources):
    cells = "".join(cell.source for source in sources.values() for cell in source.cells)
    bodies = re.findall(r"BEGIN SOLUTION\n(.*?)### END", cells, re.S)
    lines = {line.strip() for body in bodies for line in body.split("\n") if len(line) > 40}
    handed = "".join(path.read_text("utf-8") for path in folder.iterdir())
    assert len(bodies) == 17 + 7
    assert not [line for line in lines if line in handed and "vocabulary.sos" not in line]
    assert not re.search("SOLUTION|HIDDEN|GatedDecoder|class Encoder:", handed)


def test_names_only_files_that_are_there(folder):
    there = {path.name for path in folder.iterdir()} | {"yours.pkl"}
    for path in folder.glob("*.*"):
        if path.suffix in (".md", ".txt", ".ipynb"):
            text = path.read_text("utf-8")
            assert {*re.findall(r"[\w./-]+\.(?:py|md|txt|ipynb|json|svg)\b", text)} <= there


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
    assert len(said) == 17
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
    "no attribute 'unchecked'": {"blank": {"unchecked": 5}},
    "found {'blnak'}": {"blnak": {}},
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_cell_that_cannot_be_marked_is_refused_by_name(tmp_path, why):
    code, said = 'def unchecked():\n    """Returns 1."""\n    return 1', {"handout": REFUSED[why]}
    cell = nbformat.v4.new_code_cell(code, id="one", metadata=said)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "01_a.ipynb")
    with pytest.raises(ValueError, match=f"01_a.ipynb, cell one: .*{why}"):
        handout.make_source(tmp_path / "01_a.ipynb", {})
