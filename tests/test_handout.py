"""The assignment: what is handed out, what loses points and what must not."""

import json
import os
import re
import subprocess
import sys

import checks
import handout
import nbformat
import pytest
import torch
from conftest import ROOT
from nbclient import NotebookClient

SCRIPT = ROOT / "assignment" / "handout.py"
NOTEBOOKS = {path.name[:2]: path for path in handout.NOTEBOOKS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns an assignment as a student gets it."""
    folder = tmp_path_factory.mktemp("handout") / "lab5"
    subprocess.run([sys.executable, SCRIPT, folder], check=True)
    return folder


@pytest.fixture(autouse=True)
def expected(folder, monkeypatch):
    monkeypatch.setattr(checks, "EXPECTED", folder / "expected.json")
    monkeypatch.chdir(folder)  # a hidden test reads checks.py there


@pytest.fixture(scope="module")
def sources():
    """Returns the notebooks with their solutions, by number."""
    return {number: handout.make_source(path, {}) for number, path in NOTEBOOKS.items()}


@pytest.fixture(scope="module")
def written(sources):
    """Returns all that stands in their cells."""
    return "".join(cell.source for source in sources.values() for cell in source.cells)


def marks(source, number, right="", wrong="", only=""):
    """Returns the points of a notebook's checks, hidden tests included; some code is replaced."""
    cells = handout.taken_from(NOTEBOOKS[number])
    assert any(right in cell.source for cell in cells), right
    for cell in cells:
        cell.source = cell.source.replace(right, wrong)
    names = handout.solution_of(cells)
    points = {}
    for cell in source.cells:
        if cell.id.startswith(f"check-{only}"):
            exec(cell.source, names)
            points[cell.id.removeprefix("check-")] = names["points"]
    return points


def total(sources):
    return sum(sum(marks(source, number).values()) for number, source in sources.items())


# ---- Points ----
def test_points_are_100_and_the_solution_has_them(sources, written):
    before = torch.manual_seed(1).get_state()
    assert total(sources) == sum(map(int, re.findall(r"show_total\((\d+)\)", written))) == 76
    assert torch.get_rng_state().equal(before), "a check leaves random numbers alone"
    assert sum(map(int, re.findall(r"\*\*Text \d+\*\* \((\d+) points\)", written))) == 24


def test_points_do_not_depend_on_the_processor(sources, monkeypatch):
    exact = checks.fill

    def moved(module, case):
        for weight in exact(module, case).parameters():
            weight.data += 2e-6 * torch.randn(weight.shape)
        return module

    monkeypatch.setattr(checks, "fill", moved)
    assert total(sources) == 76


@pytest.mark.parametrize("fault, code", [("wrong", " or 1.0"), ("", "")])
def test_points_need_both_the_check_and_its_hidden_test(sources, monkeypatch, fault, code):
    """Which reads checks.py anew: it sees nothing of what a student did to it."""
    monkeypatch.setattr(checks, "find_fault", lambda *_: fault)
    assert marks(sources["05"], "05", " or 1.0", code) == {"four_cycles": 0}


def test_hidden_tests_have_other_inputs(folder, written):
    handed_out = json.loads((folder / "expected.json").read_text("utf-8"))
    assert not [name for name, results in handed_out.items() if str(results) in written]


SHARED = "nats *= mask; return (nats - nats.mean()).detach() + nats.mean()"  # gradients
EARLY = "append(letter)\n            if (letter == lab.EOS).all():\n                break"
OWN = "decoder.greedy(z[free_running], target.tense[free_running], width)"
MISTAKES = [  # the check, right code, wrong code
    ("01 to_numbers", "[lab.EOS])", "[lab.EOS]).float()"),
    (
        "01 to_numbers",
        "    return torch",
        "    return vocabulary.to_tensor([word])[0][0]\n    return torch",
    ),
    ("01 to_word", "            break", "            continue"),
    ("02 encoder_forward", ", words.lengths - 1]", ", -1]"),
    ("02 encoder_forward", "self.condition(words.tense)  #", "self.condition(0 * words.tense)  #"),
    ("02 decoder_first_state", "cat([z,", "cat([z.detach(),"),
    ("02 decoder_forward", "fed[:, :-1], (1, 0)", "fed, (0, 0)"),
    ("02 decoder_greedy", "torch.where(letter == lab.EOS, lab.EOS, likeliest)", "likeliest"),
    ("02 decoder_greedy", "append(letter)", EARLY),
    ("02 decoder_greedy", "for _ in range(steps)", "while (letter != lab.EOS).any()"),
    ("02 cvae_decode", "self.decoder.greedy(z, tense)", "self.decoder.greedy(z, tense, 13)"),
    ("02 cvae_decode", "torch.as_tensor(tense)", "torch.tensor(tense[:1])"),
    ("02 cvae_convert", "self.decode(mu, target", "self.decode(mu, source"),
    ("02 cvae_convert", "mu, _ = self.encode(words,", "_, mu = self.encode(words,"),
    ("02 log_ratio", "(mu, (0.5 * logvar)", "(mu, (0.5 * logvar.detach())"),
    ("02 reparameterize", "(0.5 * logvar).exp() * noise", "logvar.exp() * noise"),
    ("02 reparameterize", "torch.randn(mu.shape, generator=rng)", "torch.randn(mu.shape)"),
    ("02 letter_nats", "nats * mask", "nats"),
    ("02 letter_nats", "return nats * mask", SHARED),
    ("02 short_rise", "min(1.0, 10 * progress)", "math.sin(5 * math.pi * min(progress, 0.1))"),
    ("02 teacher_forcing_ratio", "1 - (1 - 0.95) * progress", "0.95**progress"),
    ("02 choose_fed", OWN, "decoder(z, target.tense, target.letters).argmax(2)[free_running]"),
    ("02 choose_fed", "(fed != lab.EOS).sum(1) + 1", "(fed != lab.EOS).sum(1)"),
    ("02 loss", "ce + kl_weight * kl\n", "ce + kl\n"),
    ("02 loss", ".sum(1).mean()\n    kl", ".mean()\n    kl"),
    ("02 loss", "torch.rand(len(z), generator=rng)", "torch.rand(1, generator=rng).expand(len(z))"),
    ("02 loss", "(model.decoder, z, words,", "(model.decoder, mu, words,"),
    ("02 loss", "    return total,", "    return total.detach(),"),
    ("02 descend", "    optimizer.zero_grad()\n", ""),
    ("02 descend", ", 5.0)", ", 1.0)"),
    ("04 bleu4", "(hits or 0.1)", "(hits or 1e-12)"),
    ("04 bleu4", "    logarithms = []\n", "    return lab.bleu4(output, target)\n"),
    ("04 gaussian_score", "if verb in known]", "for row in verbs if row == verb]"),
    ("04 gaussian_score", "    known = set(verbs)\n", "    return 6 / 11, 3\n"),
    ("04 repeated_and_converted", "right[:, same].mean()", "right[:, same].all(1).mean()"),
    ("04 repeated_and_converted", "spelled == np", "np.isin(spelled, verbs)  # np"),
    ("05 four_cycles", " or 1.0", ""),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake[0]}: {mistake[2]}")
def test_a_mistake_costs_its_points(sources, mistake, capsys):
    number, check = mistake[0].split()
    assert marks(sources[number], number, *mistake[1:], only=check) == {check: 0}
    assert f"Hint: {checks.__dict__[check].__doc__[:20]}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["reparameterize", "letter_nats", "choose_fed", "cvae_decode"])
def test_a_mistake_costs_no_points_of_what_calls_it(sources, name):
    right, wrong = next(codes for check, *codes in MISTAKES if check == f"02 {name}")
    points = marks(sources["02"], "02", right, wrong)
    assert [other for other in points if points[other] == 0] == [name]


def test_a_forgotten_return_is_named():
    fault = checks.find_fault(checks.short_rise, lambda progress: None, 0, {})
    assert "returned None: is there a `return`?" in fault


MIXED = """state = decoder.first_state(z, target.tense)
    letter, fed = torch.full((len(z), 1), vocabulary.sos), []
    for right in target.letters.T:
        hidden, state = decoder.lstm(decoder.embedding(letter), state)
        own = decoder.letter(hidden.squeeze(1)).argmax(1)
        letter = torch.where(free_running, own, right)[:, None]
        fed.append(letter)
    fed = torch.cat(fed, 1)
    ends = torch.tensor([([*row, 0]).index(0) + 1 for row in fed.tolist()])
    return fed, up_to(ends.minimum(target.lengths), len(fed[0]))
    width = target"""
CLIPPED = """norm = sum(weight.grad.square().sum() for weight in model.parameters()).sqrt()
    for weight in model.parameters():
        weight.grad *= min(1.0, 5.0 / norm)"""
ONE_BY_ONE = """if len(z) > 1:
            return torch.cat([self.greedy(z[[n]], tense[[n]], steps) for n in range(len(z))])
        state = self.first_state(z, tense)
        letter"""
NAMED = "free_running=free_running, decoder=model.decoder, z=z, target=words)"
BY_WORD = """hits = {True: [], False: []}
    for words, verb in zip(spelled.tolist(), verbs, strict=True):
        for source, row in enumerate(words):
            for target, form in enumerate(verb):
                hits[source == target].append(row[target] == form)
    return tuple(sum(part) / len(part) for part in hits.values())
    right = spelled =="""
RIGHT = [  # the same, written differently
    ("02", "[z, self.condition(tense)]", "[self.condition(tense), z]"),
    ("02", "state = self.first_state(z, tense)\n        letter", ONE_BY_ONE),
    ("02", "width = target", MIXED),
    ("02", "torch.rand(len(z), generator=rng) >=", "1 - torch.rand(len(z), generator=rng) >"),
    ("02", "(model.decoder, z, words, free_running)", f"({NAMED}"),
    ("02", "model.decoder(z, words.tense, fed)", "model.decoder(fed=fed, z=z, tense=words.tense)"),
    ("02", '"ce": ce.item()', '"ce": np.float32(ce.item())'),
    ("02", "nn.utils.clip_grad_norm_(model.parameters(), 5.0)", CLIPPED),
    ("04", "right = spelled ==", BY_WORD),
    ("05", "4 * progress % 1", "math.fmod(progress, 0.25) * 4"),
]


@pytest.mark.parametrize("answer", RIGHT, ids=lambda answer: answer[2][:40])
def test_a_right_answer_that_is_written_differently_keeps_its_points(sources, answer):
    number, *codes = answer
    points = marks(sources[number], number, *codes)
    assert all(points.values()), points


# ---- What is handed out ----
def test_no_answer_is_handed_out(folder, written):
    bodies = re.findall(r"BEGIN SOLUTION\n(.*?)### END", written, re.S)
    lines = {line.strip() for body in bodies for line in body.split("\n") if len(line) > 40}
    texts = "".join(path.read_text("utf-8") for path in folder.iterdir())
    assert len(bodies) == 27
    assert not [line for line in lines if line in texts and "vocabulary.sos" not in line]
    assert not re.search("SOLUTION|HIDDEN|GatedDecoder|class Encoder:", texts)


def test_what_is_asked_of_a_blank_stands_in_its_docstring(written):
    for path in NOTEBOOKS.values():
        for cell in handout.taken_from(path):
            for ask in cell.metadata.get("handout", {}).get("asks", {}).values():
                assert ask in " ".join(written.split())


def test_the_verbs_are_those_handed_out_whatever_is_set_later(folder, monkeypatch):
    monkeypatch.setenv("LAB5_DATA", "nowhere")
    path = folder / "lab5_utils.py"
    names = {"__file__": str(path), "__name__": "handed_out"}
    exec(path.read_text("utf-8"), names)
    assert names["load_verbs"]() == checks.VERBS


def test_names_only_files_that_are_there(folder):
    there = {path.name for path in folder.iterdir()} | {"yours.pkl"}
    for path in folder.glob("*.*"):
        if path.suffix in (".md", ".txt", ".ipynb"):
            text = path.read_text("utf-8")
            assert {*re.findall(r"[\w./-]+\.(?:py|md|txt|ipynb|json|svg)\b", text)} <= there


def run(folder, replacements):
    """Runs the notebooks of a folder in order; returns what the cells of code show, by id."""
    outputs = {}
    for path in sorted(folder.glob("0*.ipynb")):
        notebook = nbformat.read(path, 4)
        for cell in notebook.cells:
            for old, new in replacements.items():
                cell.source = cell.source.replace(old, new)
        NotebookClient(notebook, resources={"metadata": {"path": folder}}).execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        outputs |= {f"{path.name[:2]} {cell.id}": str(cell.outputs) for cell in cells}
    return outputs


@pytest.mark.slow
def test_blank_notebooks_run_to_their_ends_without_a_point_on_other_verbs_too(tmp_path):
    lines = (ROOT / "train.txt").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "train.txt").write_text("".join(lines[:1000]), "utf-8")  # and no test.txt
    other = tmp_path / "lab5"
    environ = os.environ | {"LAB5_DATA": str(tmp_path)}
    subprocess.run([sys.executable, SCRIPT, other], check=True, env=environ)
    outputs = run(other, {})
    verdicts = [text for name, text in outputs.items() if "check-" in name]
    assert len(verdicts) == 20
    assert all("still blank" in text for text in verdicts)
    assert all("notebook: 0 of" in text for name, text in outputs.items() if "total" in name)


SHORTER = {  # fewer verbs, epochs and draws
    "lab.distinct_verbs()": "lab.distinct_verbs()[::12]",
    "= train(model, epochs,": "= train(model, 1,",
    "(model, 8,": "(model, 1,",
    "10_000": "100",
}


@pytest.mark.slow
def test_filled_in_a_model_goes_from_notebook_to_notebook(folder, sources, tmp_path):
    for name, text in handout.make_files(for_nbgrader=True).items():
        (tmp_path / name).write_text(text, "utf-8")
    outputs = run(tmp_path, SHORTER)
    assert not [name for name, text in outputs.items() if "'error'" in text]
    assert "from noise: " in outputs["04 score"]
    assert "repeated: " in outputs["04 shares"]
    assert "rising to 1" in outputs["05 curves"]


# ---- What is refused ----
def test_a_folder_that_holds_something_is_left_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.txt"):
        monkeypatch.setattr(sys, "argv", ["handout.py", str(place)])
        with pytest.raises(SystemExit, match="2"):
            handout.main()
        assert "expected a new or an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
