"""The assignment: what is handed out, what loses points and what must not."""

import re

import checks
import handout
import nbformat
import pytest
import torch
from nbclient import NotebookClient

NOTEBOOKS = {path.name[:2]: path for path in handout.NOTEBOOKS}


@pytest.fixture(scope="session")
def made():
    """Returns the notebooks with their solutions, by file name, and what checks expect."""
    return handout.make_notebooks()


@pytest.fixture(scope="session")
def sources(made):
    """Returns these notebooks by number."""
    return {name[:2]: notebook for name, notebook in made[0].items()}


@pytest.fixture(scope="session")
def blank(sources):
    """Returns the notebooks that students get, by number."""
    return {number: handout.without_solutions(source) for number, source in sources.items()}


@pytest.fixture(scope="session")
def folder(made, blank, tmp_path_factory):
    """Returns an assignment as a student gets it."""
    folder = tmp_path_factory.mktemp("handout") / "lab5"
    notebooks = dict(zip(made[0], blank.values(), strict=True))
    handout.write(handout.make_files(notebooks, made[1]), folder)
    return folder


@pytest.fixture(autouse=True)
def expected(folder, monkeypatch):
    monkeypatch.setattr(checks, "EXPECTED", folder / "expected.json")
    monkeypatch.chdir(folder)  # a hidden test reads checks.py there


@pytest.fixture(scope="session")
def written(sources):
    """Returns all that stands in their cells."""
    return "".join(cell.source for source in sources.values() for cell in source.cells)


def marks(source, number, right="", wrong="", only=""):
    """Returns the points of a notebook's checks, hidden tests included; some code is replaced."""
    cells = handout.taken_from(NOTEBOOKS[number])
    assert any(right in cell.source for cell in cells), right
    for cell in cells:
        cell.source = cell.source.replace(right, wrong)
    return points_of(source, handout.solution_of(cells), only)


def points_of(notebook, names, only=""):
    """Returns the points that a notebook's checks give for answers, by check."""
    points = {}
    for cell in notebook.cells:
        if cell.id.startswith(f"check-{only}"):
            exec(cell.source, names)
            points[cell.id.removeprefix("check-")] = names["points"]
    return points


def total(sources):
    return sum(sum(marks(source, number).values()) for number, source in sources.items())


# ---- Points ----
def test_points_are_100_and_the_solution_has_them(sources, written):
    before = torch.manual_seed(1).get_state()
    game = 9
    assert total(sources) + game == 59
    assert torch.get_rng_state().equal(before), "a check leaves random numbers alone"
    assert sum(map(int, re.findall(r"\*\* \((\d+) points\)", written))) == 41


def test_points_do_not_depend_on_the_processor(sources, monkeypatch):
    exact = checks.fill

    def moved(module, case):
        for weight in exact(module, case).parameters():
            weight.data += 2e-6 * torch.randn(weight.shape)
        return module

    monkeypatch.setattr(checks, "fill", moved)
    assert total(sources) == 50


def test_blanks_get_no_points_and_are_called_blank(blank, capsys):
    for notebook in blank.values():
        names = handout.solution_of(notebook.cells)
        assert not any(points_of(notebook, names).values())  # nor does the mistake in `descend`
    assert capsys.readouterr().out.count("still blank") == 10


def test_a_hidden_test_sees_nothing_of_what_a_student_did_to_checks(sources, monkeypatch):
    monkeypatch.setattr(checks, "find_fault", lambda *_: "")
    points = marks(sources["04"], "04", "len(set(rows))\n", "0\n", only="gaussian")
    assert points == {"gaussian_score": 0}


SHARED = "nats *= mask; return (nats - nats.mean()).detach() + nats.mean()"  # gradients
SWAPPED = "loss.backward()\n    optimizer.zero_grad()"
MISTAKES = [  # the check, right code, wrong code
    ("01 to_numbers", "[lab.EOS])", "[lab.EOS]).float()"),
    ("01 to_numbers", " + [lab.EOS]", ""),
    ("01 to_word", "            break", "            continue"),
    ("02 encoder_forward", ", words.lengths - 1]", ", -1]"),
    ("02 encoder_forward", "self.condition(words.tense)  #", "self.condition(0 * words.tense)  #"),
    ("02 decoder_first_state", "cat([z,", "cat([z.detach(),"),
    ("02 decoder_forward", "fed[:, :-1], (1, 0)", "fed, (0, 0)"),
    ("02 reparameterize", "(0.5 * logvar).exp() * noise", "logvar.exp() * noise"),
    ("02 reparameterize", "torch.randn(mu.shape, generator=rng)", "torch.randn(mu.shape)"),
    ("02 letter_nats", "nats * mask", "nats"),
    ("02 letter_nats", "return nats * mask", SHARED),
    ("02 loss", "ce + kl_weight * kl\n", "ce + kl\n"),
    ("02 loss", ".sum(1).mean()\n    kl", ".mean()\n    kl"),
    ("02 loss", "torch.rand(len(z), generator=rng)", "torch.rand(1, generator=rng).expand(len(z))"),
    ("02 loss", "(model.decoder, z, words,", "(model.decoder, mu, words,"),
    ("02 loss", "    return total,", "    return total.detach(),"),
    ("02 descend", "    optimizer.zero_grad()\n", ""),
    ("02 descend", "optimizer.zero_grad()\n    loss.backward()", SWAPPED),
    ("02 descend", ", 5.0)", ", 1.0)"),
    ("04 bleu4", "    logarithms = []\n", "    return lab.bleu4(output, target)\n"),
    ("04 bleu4", "(hits or 0.1)", "(hits or 1e-12)"),
    ("04 bleu4", "min(runs.count(run), wanted.count(run))", "runs.count(run) * (run in wanted)"),
    ("04 gaussian_score", "if verb in known]", "for row in verbs if row == verb]"),
    ("04 gaussian_score", "    known = set(verbs)\n", "    return 6 / 11, 3\n"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake[0]}: {mistake[2]}")
def test_a_mistake_costs_its_points(sources, mistake, capsys):
    number, check = mistake[0].split()
    assert marks(sources[number], number, *mistake[1:], only=check) == {check: 0}
    assert f"Hint: {checks.__dict__[check].__doc__[:20]}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["reparameterize", "letter_nats"])
def test_a_mistake_costs_no_points_of_what_calls_it(sources, name):
    right, wrong = next(codes for check, *codes in MISTAKES if check == f"02 {name}")
    points = marks(sources["02"], "02", right, wrong)
    assert [other for other in points if points[other] == 0] == [name]


NAMED = "free_running=free_running, decoder=model.decoder, z=z, target=words)"
RIGHT = [  # the same, written differently
    ("02 decoder_first_state", "[z, self.condition(tense)]", "[self.condition(tense), z]"),
    ("02 loss", "torch.rand(len(z), generator=rng) >=", "1 - torch.rand(len(z), generator=rng) >"),
    ("02 loss", "(model.decoder, z, words, free_running)", f"({NAMED}"),
    ("02 descend", "optimizer.zero_grad()\n    loss", "model.zero_grad()\n    loss"),
]


@pytest.mark.parametrize("answer", RIGHT, ids=lambda answer: answer[2][:40])
def test_a_right_answer_that_is_written_differently_keeps_its_points(sources, answer):
    number, check = answer[0].split()
    assert marks(sources[number], number, *answer[1:], only=check)[check] > 0


# ---- What is handed out ----
def test_no_answer_is_handed_out(folder, written):
    bodies = re.findall(r"BEGIN SOLUTION\n(.*?)### END", written, re.S)
    lines = {line.strip() for body in bodies for line in body.split("\n") if len(line) > 40}
    texts = "".join(path.read_text("utf-8") for path in folder.iterdir())
    assert len(bodies) == 20
    assert not [line for line in lines if line in texts and "vocabulary.sos" not in line]
    assert not re.search(r"SOLUTION|HIDDEN|GatedDecoder|chiha8888|joycenerd", texts)
    words = (folder / "lab5_utils.py").read_text("utf-8")
    assert not re.search("nn.Module|LSTM|cross_entropy", words)


def test_what_is_said_instead_takes_the_place_of_words_that_are_there():
    texts = [cell.source for path in handout.NOTEBOOKS for cell in handout.taken_from(path)]
    assert not [old for old in handout.PLAN["instead"] if not any(old in text for text in texts)]


def test_a_name_that_lab5_utils_lacks_is_an_error(monkeypatch):
    monkeypatch.setattr(handout, "WORDS", [*handout.WORDS, "vocabulary"])
    with pytest.raises(ValueError, match=r"found no \['vocabulary'\]"):
        handout.words_and_data()


def test_names_only_files_that_are_there(folder):
    there = {path.name for path in folder.iterdir()} | {"yours.pkl"}
    for path in [*folder.glob("*.md"), *folder.glob("*.ipynb")]:
        text = re.sub(r"https?://\S+", "", path.read_text("utf-8"))
        assert {*re.findall(r"[\w./-]+\.(?:py|md|txt|ipynb|json|svg|html)\b", text)} <= there


SHORTER = {  # fewer verbs, epochs and draws, in what takes long
    "lab.distinct_verbs()\nv": "lab.distinct_verbs()[::12]\nv",
    "= train(model, epochs,": "= train(model, 1,",
    "10_000": "100",
}
MENDED = {task["wrong"]: task["right"] for task in handout.PLAN["task"] if "wrong" in task}
VOWEL = '''
def language(form, tense):
    """Moves the first vowel along the vowels by the number of the tense."""
    for n, letter in enumerate(form):
        if letter in "aeiou":
            return form[:n] + "aeiouaei"["aeiou".index(letter) + tense] + form[n + 1 :]
    return form
'''


@pytest.mark.slow
def test_filled_in_a_model_goes_from_notebook_to_notebook(made, tmp_path):
    folder, outputs = tmp_path / "lab5", {}
    handout.write(handout.make_files(*made), folder)
    for path in sorted(folder.glob("0*.ipynb")):
        notebook = nbformat.read(path, 4)
        for cell in notebook.cells:
            for old, new in (SHORTER | MENDED).items():
                cell.source = cell.source.replace(old, new)
            if cell.id == "language":
                cell.source = VOWEL
        NotebookClient(notebook, resources={"metadata": {"path": folder}}).execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        outputs |= {f"{path.name[:2]} {cell.id}": str(cell.outputs) for cell in cells}
    assert not [name for name, text in outputs.items() if "'error'" in text]
    assert "language: 9 points" in outputs["03 grade-language"]
    assert "from noise: " in outputs["04 blank-c31"]
    assert "two_trapezoids" in outputs["05 curves"]
