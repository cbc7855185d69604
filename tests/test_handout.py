import ast
import importlib.util
import math
import re
import shutil
import subprocess
import sys
from collections import Counter

import nbformat
import pytest
import torch
from conftest import ROOT
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient

NOTEBOOKS = ROOT / "notebooks"


def load(name):
    """Imports a script of the folder of notebooks."""
    spec = importlib.util.spec_from_file_location(name, NOTEBOOKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def handout():
    return load("handout")


@pytest.fixture(scope="module")
def checks():
    InteractiveShell.instance()  # a magic is registered
    for name in ("checks", "assignment"):  # notebooks import both
        sys.modules[name] = load(name)
    return sys.modules["checks"]


@pytest.fixture(scope="module")
def sources(handout):
    """Returns the notebooks with their solutions, by number."""
    return {path.name[:2]: handout.make_source(path) for path in handout.NOTEBOOKS}


CONSTANTS = {"vocabulary", "verbs", "number_of"}  # and names in capitals


def definitions(code):
    """Returns the syntax tree of what code defines; what it does is left out."""
    tree = ast.parse(code)
    always = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
    tree.body = [node for node in tree.body if isinstance(node, always) or is_constant(node)]
    return tree


def is_constant(node):
    """Tells whether a statement gives a value to a constant."""
    targets = [ast.unparse(target) for target in getattr(node, "targets", ())]
    return any(name in CONSTANTS or name.isupper() for name in targets)


def marks(checks, notebook, old="", new=""):
    """Returns the points of each check of a notebook in which a piece of code was replaced."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    calls = [cell for cell in cells if cell.startswith("points =")]  # visible and hidden checks
    cells = [cell for cell in cells if cell not in calls]
    code = "\n\n".join(re.sub("^%%.*\n", "", cell) for cell in cells)
    assert old in code, old
    names = {"__name__": "answers", "checks": checks, "math": math, "Counter": Counter}
    exec(compile(definitions(code.replace(old, new)), "answers", "exec"), names)
    points = {}
    for call in calls:
        exec(call, names)
        name = re.search(r"checks\.award\(\d+, checks\.(\w+)", call).group(1)
        points[name] = names["points"]
    return points


def test_the_solution_has_all_points(checks, sources):
    found = [marks(checks, notebook) for notebook in sources.values()]
    assert sum(sum(points.values()) for points in found) == 76 + 16
    assert all(value > 0 for points in found for value in points.values())


AT_EOS = "hidden[torch.arange(len(hidden)), lengths - 1]"
DRAW = "mu + (0.5 * logvar).exp() * torch.randn(mu.shape)"
KL = "0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)"
STEPS = "steps=lab.MAX_LETTERS + 1"
FED = "            letter = scores[-1].argmax(2)\n"
NOTHING_SHARED = "    if not set(output) & set(target):\n        return 0.0\n"
HITS = "sum(min(found.count(run), wanted.count(run)) for run in set(found))"
ROWS = "[verb for verb in generated if verb in known]"
SHARE = "return len(rows) / len(generated), len(set(rows))"
COIN = "torch.rand(len(z)) >= tf_ratio"
OWN = "((own.argmax(2) == lab.EOS).cumsum(1) == 0).sum(1)"
FREE = "scores.index_put((free,), own)"
CONDITION = "condition = self.condition(tense)"
CLIP = 'clip_grad_norm_(group["params"], 5.0)'
FIRST_TENSE = "condition = self.condition(tense[:1]).expand(len(tense), C)"
ZERO_Z = "self.first_state(0 * z, tense))\n        return"
BY_NLTK = "    from lab5_utils import bleu4 as theirs\n    return theirs(output, target)\n"
NORMAL = "torch.distributions.Normal(mu, (0.5 * logvar).exp())"
BOTH = "[z, self.condition(tense)]"
SHIFT = "before = F.pad(letters[:, :-1], (1, 0), value=vocabulary.sos)"
IN_ITS_PLACE = "before = letters; letters[:, 1:] = letters[:, :-1].clone(); letters[:, 0] = 27"
LSTM = "self.lstm(self.embedding(letter), state)"
FREEZES = "(letter != 0) * scores"
NUMPY = "mu + (0.5 * logvar).exp() * torch.tensor(np.random.randn(*mu.shape)).float()"
FIXED = "torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))"
CODES = "z = reparameterize(mu, logvar)\n    scores"
MADE = "    optimizer.step()\n    return ce.item(), kl"
OTHER = '    torch.optim.SGD(group["params"], rate).step()\n    return ce.item(), kl'
SPELLED = "spell(z, words, tf_ratio)\n    ce"
MINIMUM = "torch.minimum(lengths[free], letters_before_eos + 1)"
DIRECTLY = "decoder(z, words.tense, words.letters), words.lengths\n    ce"
LOG_SUM = "(-tau * paths).masked_fill(~mask, -torch.inf).logsumexp(1)"
SUM = "((-tau * paths).exp() * mask).sum(1).log()"
REFINED = "z = reparameterize(mu, logvar)\n    scores"
# notebook, what loses its points, a right piece of code, a wrong one; what the message says
MISTAKES = [
    ("01", "to_numbers", "[lab.EOS])", "[lab.EOS]).float()", "integers"),
    (
        "02",
        "encoder_forward",
        CONDITION,
        "condition = self.condition.weight.data[tense]",
        "condition",
    ),
    ("02", "encoder_forward", "logvar(end)  #", "logvar(end.detach())  #", "no gradient"),
    ("02", "encoder_forward", AT_EOS, f"{AT_EOS}; letters += 1", "in place"),
    ("02", "decoder_first_state", BOTH, BOTH.replace("z", "z.detach()"), "no gradient reaches z"),
    ("02", "decoder_first_state", BOTH, BOTH.replace("z", "2 * z"), "as they are"),
    ("02", "decoder_first_state", BOTH, BOTH.replace(")", ").detach()"), "condition.weight"),
    ("02", "decoder_forward", SHIFT, IN_ITS_PLACE, "in place"),
    (
        "02",
        "decoder_free_run",
        "    def free_run",
        "    @torch.no_grad()\n    def free_run",
        "no_grad",
    ),
    ("02", "decoder_free_run", "torch.cat(scores, 1)", "torch.cat(scores, 1).detach()", "detached"),
    (
        "02",
        "decoder_free_run",
        LSTM,
        LSTM.replace("state", "[s.detach() for s in state]"),
        "reaches z",
    ),
    ("02", "decoder_free_run", LSTM, LSTM.replace("state", "self.first_state(z, tense)"), "anew"),
    ("02", "decoder_free_run", FED, FED.replace("scores", FREEZES), "behind an EOS"),
    ("02", "kl_divergence", KL, KL.replace("logvar.exp()", "logvar.detach().exp()"), "by logvar"),
    ("02", "reparameterize", DRAW, f"(torch.manual_seed(0), {DRAW})[1]", "each call"),
    ("02", "reparameterize", "torch.randn(mu.shape)", FIXED, "each call"),
    ("02", "reparameterize", DRAW, NUMPY, "torch.manual_seed"),
    ("02", "spell", COIN, f"(torch.manual_seed(15), {COIN})[1]", "in each call"),
    ("02", "step", MADE, MADE.replace("    optimizer.step()\n", ""), "no step"),
    ("02", "step", MADE, OTHER, "make no other"),
    ("02", "step", "    loss.backward()\n", "", "did not move"),
    ("02", "step", CLIP, CLIP.replace("5.0", "1.0"), "norm 5"),
    ("02", "step", CODES, CODES.replace("logvar)", "logvar).detach()"), "reaches the encoder"),
    ("02", "step", SPELLED, DIRECTLY, "spell"),
    ("02", "monotonic", "10 * progress", "progress", "first tenth"),
    ("02", "monotonic", "min(1, 10 * progress)", "10 * progress", "first tenth on"),
    ("02", "teacher_forcing", "1 - 0.05 * progress", "0.95", "at first"),
    ("02", "teacher_forcing", "1 - 0.05 * progress", "1 - 0.5 * progress", "at the end"),
    ("02", "teacher_forcing", "0.05 * progress", "0.05 * progress**2", "straight"),
    ("04", "four_cycles", " or 1.0", "", "last step"),
    ("05", "path_costs", "blind.cumsum(1) - blind", "blind.cumsum(1)", "spelled blind"),
    ("05", "path_costs", "told.flip(1).cumsum(1).flip(1)", "told.cumsum(1)", "spelled blind"),
    ("05", "path_costs", "before + opens + behind", "before + behind", "once"),
    ("05", "sum_paths", LOG_SUM, "(-tau * paths).logsumexp(1)", "padding"),
    ("05", "sum_paths", LOG_SUM, SUM, "logsumexp"),
    ("05", "sum_paths", "mask.sum(1)", "torch.tensor(mask.shape[1])", "characters of the word"),
    ("05", "refine_step", REFINED, REFINED.replace("reparameterize(mu, logvar)", "mu"), "draw"),
    ("05", "refine_step", "    optimizer.zero_grad()\n", "", "begin at zero"),
    ("05", "refine_step", ", 5.0)", ", 50.0)", "norm 5"),
    ("05", "refine_step", "words.lengths)", "torch.full_like(words.lengths, 3))", "padding"),
    ("01", "to_numbers", " + [lab.EOS]", ""),
    ("01", "to_numbers", "number_of[letter] for", "number_of[letter] - 1 for"),
    ("01", "to_word", "            break", "            continue"),
    ("01", "to_word", "alphabet[number - 1]", "alphabet[number % 26]"),
    ("02", "encoder_forward", AT_EOS, "hidden[:, -1]"),
    ("02", "encoder_forward", AT_EOS, AT_EOS.replace("- 1", "- 2")),
    ("02", "encoder_forward", AT_EOS, AT_EOS.replace("lengths - 1", "lengths[0] - 1")),
    ("02", "encoder_forward", CONDITION, FIRST_TENSE),
    ("02", "encoder_forward", "F.pad(condition, (H - C, 0))", "F.pad(condition, (0, H - C))"),
    ("02", "encoder_forward", AT_EOS, "hidden.mean(1)"),
    ("02", "encoder_forward", CONDITION, "condition = self.condition(0 * tense)"),
    ("02", "encoder_forward", "self.mu(end), self.logvar(end)", "self.logvar(end), self.mu(end)"),
    ("02", "encoder_forward", "self.logvar(end)  #", "self.logvar(end).exp()  #"),
    ("02", "decoder_first_state", "c0.tanh(), c0", "encoder.last_h, encoder.last_c"),
    ("02", "decoder_first_state", "c0.tanh(), c0", "c0, c0"),
    ("02", "decoder_first_state", "[z, self.condition(tense)]", "[z, 0 * self.condition(tense)]"),
    ("02", "decoder_forward", "F.pad(letters[:, :-1], (1, 0), value=vocabulary.sos)", "letters"),
    ("02", "decoder_forward", "value=vocabulary.sos", "value=lab.EOS"),
    ("02", "decoder_forward", "self.letter(hidden)  #", "self.letter(hidden).softmax(2)  #"),
    ("02", "decoder_free_run", FED, ""),
    ("02", "decoder_free_run", "hidden, state = self.lstm", "hidden, _ = self.lstm"),
    ("02", "decoder_free_run", "for _ in range(steps)", "for _ in range(steps - 1)"),
    ("02", "decoder_free_run", FED, f"{FED}            if not letter.any(): break\n"),
    ("02", "decoder_forward", "self.first_state(z, tense))\n        return", ZERO_Z),
    ("02", "decoder_free_run", "state = self.first_state(z,", "state = self.first_state(0 * z,"),
    ("02", "decoder_free_run", FED, f"{FED}            letter = letter[:1].expand(len(z), 1)\n"),
    ("02", "decode", STEPS, "steps=13"),  # the length of a target
    ("02", "decode", "free_run(z, tenses", "free_run(z + torch.randn_like(z), tenses"),
    ("02", "decode", f"decoder.free_run(z, tenses, {STEPS})", "decoder(z, tenses, table.letters)"),
    ("02", "decode", "free_run(z, tenses", "free_run(encoder.last_c, tenses"),
    ("02", "kl_divergence", KL, KL.replace("sum", "mean")),
    ("02", "kl_divergence", KL, f"({KL}).detach()"),
    ("02", "kl_divergence", KL, f"-{KL}"),
    ("02", "kl_divergence", KL, KL.replace("0.5 * ", "")),
    ("02", "kl_divergence", KL, KL.replace("sum(1)", "sum()")),
    ("02", "kl_divergence", KL, "0.5 * (mu**2 + logvar**2 - 1 - 2 * logvar.abs().log()).sum(1)"),
    ("02", "reparameterize", DRAW, DRAW.replace("0.5 * logvar", "logvar")),
    ("02", "reparameterize", DRAW, DRAW.replace("(0.5 * logvar).exp()", "logvar")),
    ("02", "reparameterize", DRAW, "mu"),
    ("02", "reparameterize", DRAW, f"{NORMAL}.sample()"),
    ("02", "reparameterize", DRAW, DRAW.replace("randn(mu.shape)", "randn(())")),
    ("02", "cross_entropy", "(nats * mask).sum(1)", "(nats * mask).sum(1) / lengths"),
    ("02", "cross_entropy", "(nats * mask).sum(1)", "nats.sum(1)"),
    ("02", "cross_entropy", "(nats * mask).sum(1)", "(nats * mask).sum(1).detach()"),
    ("02", "cross_entropy", "(nats * mask).sum(1)", "(nats * mask).sum()"),
    ("02", "cross_entropy", "< lengths[:, None]", "< lengths[:, None] - 1"),
    ("02", "cross_entropy", "torch.arange(letters.shape[1]) < lengths[:, None]", "letters != 0"),
    ("02", "spell", COIN, "torch.zeros(len(z), dtype=torch.bool)"),
    ("02", "spell", COIN, "torch.rand(len(z)) <= tf_ratio"),
    ("02", "spell", COIN, "(torch.rand(()) >= tf_ratio).expand(len(z))"),  # of a batch
    ("02", "spell", COIN, "torch.full((len(z),), tf_ratio < 1)"),
    ("02", "spell", OWN, "(own.argmax(2) != lab.EOS).sum(1)"),
    ("02", "spell", "letters_before_eos + 1)", "letters_before_eos)"),
    ("02", "spell", MINIMUM, "lengths[free]"),
    ("02", "spell", MINIMUM, "(letters_before_eos + 1).clamp(max=words.letters.shape[1])"),
    ("02", "decode", "scores.argmax(2))", "scores.argmax(2).where(scores.argmax(2) > 0, 1))"),
    ("02", "spell", "lengths = words.lengths.clone()", "lengths = words.lengths"),
    ("02", "spell", FREE, f"{FREE}.detach()"),
    ("02", "spell", FREE, "torch.lerp(decoder.free_run(z, words.tense, 5), scores, tf_ratio)"),
    ("02", "step", "ce + beta * kl", "ce + kl"),
    ("02", "step", "z = reparameterize(mu, logvar)\n    scores", "z = mu\n    scores"),
    ("02", "step", "spell(z, words, tf_ratio)\n    ce", "spell(z, words, 1.0)\n    ce"),
    ("02", "step", "words.letters, lengths).mean", "words.letters, words.lengths).mean"),
    ("02", "step", "ce + beta * kl", "ce + beta * kl / 27"),
    ("02", "step", "    optimizer.zero_grad()\n", ""),
    ("02", "step", CLIP, CLIP.replace("5.0", "1e9")),
    ("02", "step", CLIP, CLIP.replace("norm", "value")),
    ("02", "step", CLIP, CLIP.replace('group["params"]', "encoder.parameters()")),
    ("02", "step", '    group["lr"] = rate\n', ""),
    ("02", "step", "return ce.item(), kl.item()", "return ce.item(), beta * kl.item()"),
    ("02", "step", "words.letters, lengths).mean()", "words.letters, lengths).sum()"),
    ("03", "bleu4", "ngrams(output, n), ngrams(target, n)", "ngrams(target, n), ngrams(output, n)"),
    ("03", "bleu4", "(hits or 0.1)", "(hits or 1e-12)"),
    ("03", "bleu4", "    logarithms = []\n", "    return lab.bleu4(output, target)\n"),
    ("03", "bleu4", "    logarithms = []\n", BY_NLTK),
    ("03", "bleu4", HITS, "sum(run in wanted for run in found)"),
    ("03", "bleu4", "min(1, exp(1 - len(target) / len(output))) * ", ""),
    ("03", "bleu4", "range(1, 5)", "range(1, 3)"),
    ("03", "bleu4", NOTHING_SHARED, ""),
    ("03", "bleu4", NOTHING_SHARED, "    if not output:\n        return 0.0\n"),
    ("03", "gaussian_score", ROWS, "[v for v in generated for row in verbs if v == row]"),
    ("03", "gaussian_score", SHARE, "return len(set(rows)) / len(generated), len(set(rows))"),
    ("03", "gaussian_score", SHARE, "return len(rows) / len(generated), len(rows)"),
    ("03", "gaussian_score", ROWS, "[v for v in generated if v[0] in {row[0] for row in verbs}]"),
    ("04", "four_cycles", "4 * progress % 1", "progress % 1"),
    ("04", "four_cycles", "4 * progress % 1", "4 * progress / 77 % 1"),  # the number of batches
    ("04", "four_cycles", "min(1.0, 2 * position)", "min(1.0, position)"),
    ("04", "four_cycles", "min(1.0, 2 * position)", "max(0.1, min(1.0, 2 * position))"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake[1]}: {mistake[3]}")
def test_a_mistake_costs_its_own_points_and_no_others(checks, sources, mistake, capsys):
    notebook, check, right, wrong, *said = mistake
    points = marks(checks, sources[notebook], right, wrong)
    assert {name for name, value in points.items() if value == 0} == {check}
    message = re.search(rf"^{check}: (?!right)(.*)", capsys.readouterr().out, re.M).group(1)
    assert all(part in message for part in said), message


CAST = "torch.bernoulli(torch.full((len(z),), tf_ratio)) == 0"
SPELL = """    lengths = words.lengths.clone()
    free = torch.rand(len(z)) >= tf_ratio  # (B,)
    if free.any():
"""
BOTH_WAYS = """    forced = torch.rand(len(z)) < tf_ratio
    own = decoder.free_run(z, words.tense, words.letters.shape[1])
    ends = [(row + [0]).index(0) + 1 for row in own.argmax(2).tolist()]
    counted = torch.minimum(torch.tensor(ends), words.lengths)
    return (
        torch.where(forced[:, None, None], scores, own),
        torch.where(forced, words.lengths, counted),
    )
    if free.any():
"""
PACKED = """packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(letters), lengths, batch_first=True, enforce_sorted=False
        )
        _, (last, _) = self.lstm(packed, (h0, c0))
        end = last[0]"""
READ = """hidden, _ = self.lstm(self.embedding(letters), (h0, c0))  # (B, T, H)
        end = hidden[torch.arange(len(hidden)), lengths - 1]"""
CE = """nats = F.cross_entropy(scores.mT, letters, reduction="none")  # (B, T)
    mask = torch.arange(letters.shape[1]) < lengths[:, None]  # (B, T)
    return (nats * mask).sum(1)"""
IN_PLACE = """letters[torch.arange(letters.shape[1]) >= lengths[:, None]] = -100
    return F.cross_entropy(scores.mT, letters, ignore_index=-100, reduction="none").sum(1)"""
DECODED = """scores = decoder.free_run(z, tenses, steps=lab.MAX_LETTERS + 1)
    return vocabulary.to_words(scores.argmax(2))"""
ONE_BY_ONE = """words = []
    for code, tense in zip(z, tenses):
        scores = decoder.free_run(code[None], tense[None], 33)
        words += vocabulary.to_words(scores.argmax(2))
    return words"""
GREEDY = """state = decoder.first_state(z, tenses)
    letter = torch.full((len(z), 1), vocabulary.sos)
    spelled = []
    while len(spelled) <= lab.MAX_LETTERS:
        hidden, state = decoder.lstm(decoder.embedding(letter), state)
        letter = decoder.letter(hidden).argmax(2)
        spelled.append(letter)
    return vocabulary.to_words(torch.cat(spelled, 1))"""
TO_WORD = "letters = []\n    for number in numbers.tolist():\n        if"
BY_INDEX = """ends = numbers.tolist().index(lab.EOS)
    return "".join(vocabulary.alphabet[number - 1] for number in numbers[:ends])
    for number in numbers.tolist():
        if"""
RIGHT = [  # the same, otherwise written
    ("01", TO_WORD, BY_INDEX),
    ("02", BOTH, "[self.condition(tense), z]"),
    ("02", DECODED, ONE_BY_ONE),
    ("02", DECODED, GREEDY),
    ("02", READ, PACKED),
    (
        "02",
        "self.lstm(self.embedding(letter), state)",
        "self.lstm(self.embedding(letter), hx=state)",
    ),
    ("02", "free_run(z, tenses, steps=", "free_run(z, tense=tenses, steps="),
    ("02", CE, IN_PLACE),
    ("02", "scores = decoder(z, words.tense", "scores = decoder.forward(z, words.tense"),
    ("02", COIN, CAST),
    ("02", SPELL, BOTH_WAYS),
    ("02", DRAW, f"{NORMAL}.rsample()"),
    ("02", KL, "torch.distributions.kl_divergence(MINE, PRIOR).sum(1)"),
    (
        "02",
        "return (nats * mask).sum(1)",
        "return (nats * mask).sum(1)\n    raise NotImplementedError()",
    ),
    ("03", "sum(min(found.count(run), wanted.count(run)) for run in set(found))", "CLIPPED"),
    ("03", ROWS, "list(filter(known.__contains__, generated))"),
    ("04", "4 * progress % 1", "math.fmod(progress, 0.25) * 4"),
]
RIGHT_NAMES = {
    "MINE": NORMAL,
    "PRIOR": "torch.distributions.Normal(0.0, 1.0)",
    "CLIPPED": "(Counter(found) & Counter(wanted)).total()",
}


@pytest.mark.parametrize("answer", RIGHT, ids=lambda answer: answer[2][:40])
def test_a_right_answer_that_is_written_otherwise_keeps_its_points(checks, sources, answer):
    notebook, old, new = answer
    for name, code in RIGHT_NAMES.items():
        new = new.replace(name, code)
    points = marks(checks, sources[notebook], old, new)
    assert all(points.values()), points


# ---- What is handed out ----
@pytest.fixture(scope="module")
def folder(handout, tmp_path_factory):
    """Returns an assignment as a student gets it."""
    folder = tmp_path_factory.mktemp("handout") / "lab5"
    subprocess.run([sys.executable, NOTEBOOKS / "handout.py", folder], check=True)
    return folder


def test_points_are_100_and_20_and_each_has_its_minutes(handout):
    points, minutes = Counter(), 0
    for path in handout.NOTEBOOKS:
        for cell in nbformat.read(path, 4).cells:
            said = cell.metadata.get("handout", {})
            points[path.name[:2]] += sum(said.get("blank", {}).values()) + said.get("points", 0)
            minutes += said.get("minutes", 0)
            assert ("minutes" in said) == ("blank" in said or "answer" in said)
    assert points.pop("05") == 20  # optional
    assert points.total() == 100
    assert 240 <= minutes <= 480


def test_no_answer_is_handed_out(folder, sources):
    bodies = []
    for notebook in sources.values():
        for cell in notebook.cells:
            bodies += re.findall(r"BEGIN SOLUTION\n(.*?)### END", cell.source, re.S)
    handed = "".join(path.read_text("utf-8") for path in folder.iterdir() if path.suffix != ".txt")
    assert len(bodies) == 28
    for body in bodies:
        for line in body.strip().split("\n"):
            telling = len(line) > 40 and "SOS" not in line
            assert not telling or line.strip() not in handed, line
    for name in ("SOLUTION", "HIDDEN", "reparameteriz", "target_rate", "GatedDecoder", "Training:"):
        code = "".join(path.read_text("utf-8") for path in folder.glob("lab5*.py"))
        assert name not in code


@pytest.mark.slow
def test_blank_notebooks_run_to_their_ends_without_a_point(folder):
    given = []
    for path in sorted(folder.glob("0*.ipynb")):
        notebook = nbformat.read(path, 4)
        NotebookClient(notebook, resources={"metadata": {"path": folder}}).execute()
        for cell in notebook.cells:
            if cell.source.startswith("points ="):
                said = "".join(output.get("text", "") for output in cell.outputs)
                assert "still blank" in said
                given.append(cell.outputs[-1]["data"]["text/plain"])
    assert given == 20 * ["0"]


SHORTER = {  # fewer verbs, epochs and draws, so that the test is done in half a minute
    "lab.load_verbs()": "lab.load_verbs()[::6]",
    "epochs=16": "epochs=1",
    '["train"](8': '["train"](1',
    "10_000": "100",
    "range(8)": "range(1)",
}


@pytest.mark.slow
def test_from_the_solution_a_model_goes_from_notebook_to_notebook(
    handout, sources, folder, tmp_path
):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shown = {}
    for number, notebook in sources.items():
        for cell in notebook.cells:
            for long, short in SHORTER.items():
                cell.source = cell.source.replace(long, short)
        NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
        shown[number] = str(notebook.cells)
        assert "still missing" not in shown[number]
    assert "exact: " in shown["03"]
    assert "rising to 1" in shown["04"]
    assert "rows from noise" in shown["05"]


# ---- What is refused ----
def refusal(*arguments):
    """Returns what the script says when it refuses."""
    command = [sys.executable, NOTEBOOKS / "handout.py", *arguments]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode != 0
    return found.stderr


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert "expected a new or an empty folder" in refusal(tmp_path)
    assert "expected a new or an empty folder" in refusal(tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(importlib.util.find_spec("nbgrader") is not None, reason="nbgrader is here")
def test_without_nbgrader_its_source_is_refused(tmp_path):
    assert "nbgrader: not found" in refusal(tmp_path / "course", "--nbgrader")
    assert not (tmp_path / "course").exists()


REFUSED = [  # what is said of a blank, its code, and what is wrong
    ({"no_such": 5}, "found no such function"),
    ({"no_docstring": 5}, "found no docstring"),
    ({"no_check": 5}, "found no check"),
    ({"no_check": -3}, "found .*-3.*expected points"),
]
CELL = '''
def no_docstring():
    return 1


def no_check():
    """Returns 1."""
    return 1
'''


@pytest.mark.parametrize(("blank", "why"), REFUSED, ids=lambda part: str(part)[:20])
def test_a_blank_that_cannot_be_marked_is_refused_by_name(handout, tmp_path, blank, why):
    cell = nbformat.v4.new_code_cell(CELL.strip(), metadata={"handout": {"blank": blank}})
    path = tmp_path / "01_one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    with pytest.raises(ValueError, match=f"{path.name}.*{why}"):
        handout.make_source(path)


# ---- nbgrader ----
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("nbgrader") is None, reason="a tool of this test")
def test_nbgrader_takes_the_source(tmp_path):
    course = tmp_path / "course"
    subprocess.run([sys.executable, NOTEBOOKS / "handout.py", course, "--nbgrader"], check=True)
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", "lab5"]
    subprocess.run(command, cwd=course, check=True)
    for path in (course / "release/lab5").glob("0*.ipynb"):
        cells = "".join(cell.source for cell in nbformat.read(path, 4).cells)
        assert "YOUR" in cells
        assert "HIDDEN" not in cells
        assert "SOLUTION" not in cells


def test_magics_and_metadata_of_an_editor_do_no_harm(handout, tmp_path):
    cell = nbformat.v4.new_code_cell("%matplotlib inline\nx = 1", metadata={"editable": True})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "01_one.ipynb")
    assert handout.make_source(tmp_path / "01_one.ipynb").cells[0].source == cell.source


def test_of_a_section_that_is_left_out_what_is_asked_for_is_taken(handout, tmp_path):
    new, leave = nbformat.v4.new_markdown_cell, {"handout": {"leave": True}}
    cells = [new("## 1 · A", metadata=leave), new("gone"), new("### B"), new("gone, too")]
    cells[1:1] = [new("### C", metadata={"handout": {"answer": "why?", "points": 1}})]
    nbformat.write(nbformat.v4.new_notebook(cells=[*cells, new("## 2 · D")]), tmp_path / "a.ipynb")
    made = handout.make_source(tmp_path / "a.ipynb").cells
    texts = [cell.source for cell in made if cell.cell_type == "markdown"]
    assert texts[0] == "### C\n\nwhy? (1 points)"
    assert texts[2:] == ["## 1 · D"]


IN_02 = """
import torch
positions, device = torch.arange(64), "cpu"

class Encoder:
    def read(self):
        return positions.to(device)

def convert():
    return encoder.read()

def train():
    return helper()

def helper():
    return encoder

encoder = Encoder()
"""


def test_what_02_defines_goes_on_whatever_its_name(checks, tmp_path, monkeypatch):
    assignment = sys.modules["assignment"]
    monkeypatch.chdir(tmp_path)
    assert assignment.your_notebook() is None
    names = {"__name__": "__main__"}
    exec(IN_02, names)
    assignment.keep_model(names["encoder"], None, names["convert"], names["train"])
    yours = assignment.your_notebook()
    assert yours["convert"]().equal(torch.arange(64))
    yours["encoder"] = yours["Encoder"]()
    assert yours["train"]() is yours["encoder"]  # not the one that was kept


def test_a_misspelt_name_in_the_metadata_is_refused(handout, tmp_path):
    for said in (
        {"handuot": {"blank": {}}},
        {"handout": {"blnak": {}}},
        {"handout": {"then": "x"}},
    ):
        cell = nbformat.v4.new_code_cell("1", metadata=said)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "01_one.ipynb")
        with pytest.raises(ValueError, match=r"01_one.*cell .*found .*expected"):
            handout.make_source(tmp_path / "01_one.ipynb")
