// ---- Words ----
// For each tense: its forms, and of which verb each is one.
const COLUMNS = DATA.tenses.map(
  (_, tense) => new Map(DATA.verbs.map((verb) => [verb[tense], verb[0]])),
);
const FORMS = DATA.tenses.map((name) => name.replace("third person", "he/she/it form"));
const formsReadAs = (word) => FORMS.filter((_, tense) => COLUMNS[tense].has(word));
const ROWS = new Set(DATA.verbs.map((verb) => verb.join(" ")));

// What is wrong with a word, in a sentence; nothing if it can be read.
function complaint(word) {
  const { alphabet } = network;
  const letters = [...word];
  if (!letters.length) return "Type a verb, for example walked.";
  if (/\s/.test(word)) return "One word at a time, please: there is a space in yours.";
  const unknown = letters.find((letter) => !alphabet.includes(letter));
  if (unknown) return `The network has never seen “${unknown}”. Its letters are ${alphabet}.`;
  if (letters.length > DATA.longest) {
    return `Your word has ${letters.length} letters. The network reads at most ${DATA.longest}.`;
  }
  return "";
}

const plain = (text) => text.trim().normalize("NFC").toLowerCase();
const costsOf = (word) =>
  DATA.tenses.map((_, tense) => nats(network, encode(network, word, tense), word, tense));

// The tense as which a word costs the network least, with these costs in nats.
function guessTense(word) {
  const costs = costsOf(word);
  return { tense: costs.indexOf(Math.min(...costs)), costs };
}

// ---- Drawing ----
const get = (id) => document.getElementById(id);
const whenever = (id, event, action) => get(id).addEventListener(event, action);

const TALLEST = 8; // a number of a code from which on a bar is as high as the strip

function codeAsHtml(z) {
  const bar = (number, k) => {
    const height = 19 * Math.min(1, Math.abs(number) / TALLEST);
    const top = number > 0 ? 20 - height : 20;
    return `<rect x="${4 * k + 0.5}" y="${top}" width="3" height="${height}" stroke="none" />`;
  };
  const label = `A code of ${z.length} numbers, ${Math.min(...z).toFixed(1)} to ${Math.max(...z).toFixed(1)}`;
  return `<svg class="code" role="img" aria-label="${label}" preserveAspectRatio="none"
    viewBox="0 0 ${4 * z.length} 40"><title>${label}</title>
    <path d="M0 20H${4 * z.length}" vector-effect="non-scaling-stroke" />
    ${Array.from(z, bar).join("")}</svg>`;
}

// Says whether a form is one of those that are right; of a verb that is not in the table, nothing.
function verdictOn(form, right) {
  if (!right.size) return "";
  if (right.has(form)) return `<span class="right">✓</span>`;
  return `<span class="wrong">✗ should be ${[...right].join(" or ")}</span>`;
}

function lettersAsHtml(letters, tense, rows) {
  const tile = ({ text, probability, isOpen, opens }) => {
    const kinds = `letter ${isOpen ? "told" : ""} ${opens ? "opens" : ""}`;
    const percent = `${text || "end"}: ${Math.round(100 * probability)} %`;
    return `<span class="${kinds}" title="${percent}" style="--p: ${probability}">${text || "·"}<i></i></span>`;
  };
  const word = wordOf(letters);
  const gate = letters.findIndex((letter) => letter.opens);
  const opened = gate < 0 ? "" : `; the gate opens behind “${word.slice(0, gate)}”`;
  const right = new Set(rows.map((row) => row[tense]));
  return `<div class="form">${FORMS[tense]} ${verdictOn(word, right)}
    <div class="letters" role="img" aria-label="${word}${opened}" style="--count: ${letters.length}">
    ${letters.map(tile).join("")}</div></div>`;
}

const KINDS = { "✓": "right", "≈": "near", "✗": "wrong" };

function markOf(forms) {
  if (ROWS.has(forms.join(" "))) return "✓";
  return forms.every((form, tense) => COLUMNS[tense].has(form)) ? "≈" : "✗";
}

function formsAsHtml(forms) {
  const mark = markOf(forms);
  const lemmas = new Set(forms.map((form, tense) => COLUMNS[tense].get(form)));
  const why =
    mark === "≈" ? ` <span class="near">(forms of ${[...lemmas].join(" and ")})</span>` : "";
  const shown = forms.map((form, tense) =>
    COLUMNS[tense].has(form) ? form : `<s class="wrong">${form || "–"}</s>`,
  );
  return `<div class="forms"><b class="${KINDS[mark]}">${mark}</b> ${shown.join(", ")}${why}</div>`;
}

// ---- Type a verb ----
const NATS = `<button class="term" popovertarget="term-nat">nats</button>`;
const EXAMPLES = ["walked", "stopping", "broke", "blogged", "vlogging", "photobombs"];

function noteOn(word, tense, costs) {
  const shown = `<b>${word}</b>`;
  const price = costs && `${costs[tense].toFixed(2)} ${NATS} (usual: below ${DATA.about.usual})`;
  const took = costs
    ? `The network takes ${shown} for the ${FORMS[tense]}: as that it costs least, ${price}.`
    : `You say that ${shown} is the ${FORMS[tense]}.`;
  const read = formsReadAs(word);
  if (!read.length) return `${took} The network has never read this word, so watch the pupil.`;
  if (COLUMNS[tense].has(word)) {
    return `${took} The network has read this word, but nobody told it which others belong to it.`;
  }
  const offers = read.map((form) => `<button class="chip" data-form="${form}">${form}</button>`);
  return `${took} The network has read it as another form: ${offers.join(" ")}`;
}

function answer() {
  const typed = get("word").value;
  const word = plain(typed);
  const problem = complaint(word);
  get("problem").textContent = problem;
  get("answer").classList.toggle("is-hidden", Boolean(problem));
  if (problem) return;
  const chosen = get("tense").value;
  const { tense, costs } = chosen ? { tense: Number(chosen) } : guessTense(word);
  const small = typed === typed.toLowerCase() ? "" : "Capital letters are read as small ones. ";
  get("note").innerHTML = small + noteOn(word, tense, costs);
  const rows = DATA.verbs.filter((verb) => verb[tense] === word);
  for (const [name, model] of Object.entries(MODELS)) {
    const z = encode(model, word, tense);
    const forms = spellForms(model, z).map((letters, n) => lettersAsHtml(letters, n, rows));
    get(name).innerHTML = forms.join("") + codeAsHtml(z);
  }
}

FORMS.forEach((name, tense) => get("tense").add(new Option(name, tense)));
for (const example of EXAMPLES) {
  const chip = document.createElement("button");
  chip.className = "chip";
  chip.textContent = example;
  chip.addEventListener("click", () => {
    get("word").value = example;
    get("tense").value = "";
    answer();
  });
  get("examples").append(chip);
}
whenever("word", "input", answer);
whenever("tense", "change", answer);
whenever("note", "click", ({ target }) => {
  if (!target.dataset.form) return;
  get("tense").value = FORMS.indexOf(target.dataset.form);
  answer();
});

// ---- A straight line ----
const STOPS = 40;
const line = { ends: [] }; // codes of two verbs

const codeBetween = (share) => line.ends[0].map((x, k) => x + share * (line.ends[1][k] - x));

function showBetween() {
  const z = codeBetween(get("share").value / 100);
  get("between").innerHTML = codeAsHtml(z) + formsAsHtml(generate(network, z));
}

function showLine() {
  const words = ["from", "to"].map((id) => plain(get(id).value));
  const problem = words.map(complaint).find(Boolean);
  get("share").disabled = Boolean(problem);
  get("between").textContent = "";
  get("stops").textContent = problem ?? "";
  if (problem) return;
  line.ends = words.map((word) => encode(network, word, guessTense(word).tense));
  const shares = Array.from({ length: STOPS + 1 }, (_, k) => k / STOPS);
  const spelled = shares.map((share) => decode(network, codeBetween(share), 0));
  const stops = spelled.filter((lemma, k) => lemma !== spelled[k - 1]);
  const never = words.filter((word) => !formsReadAs(word).length);
  const note = never.length ? ` (The network has never read ${never.join(" and ")}.)` : "";
  get("stops").textContent = `On the way: ${stops.join(" → ")}${note}`;
  showBetween();
}

whenever("from", "input", showLine);
whenever("to", "input", showLine);
whenever("share", "input", showBetween);

// ---- Make verbs out of noise ----
const DRAWS = 10;

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

const noise = () => Float32Array.from({ length: network.latentSize }, normal);

const tally = { draws: 0, rows: 0, distinct: new Set() };

function showTally() {
  const { draws, rows, distinct } = tally;
  get("tally").textContent = draws
    ? `${rows} of ${draws} draws are ✓: a Gaussian score of ${(rows / draws).toFixed(2)}. ${distinct.size} different verbs.`
    : "";
}

function drawOne() {
  const z = noise();
  const forms = generate(network, z);
  tally.draws += 1;
  if (markOf(forms) === "✓") {
    tally.rows += 1;
    tally.distinct.add(forms.join(" "));
  }
  return `<li>${codeAsHtml(z)}${formsAsHtml(forms)}</li>`;
}

function draw() {
  get("draws").innerHTML = Array.from({ length: DRAWS }, drawOne).join("");
  showTally();
}

function restart() {
  Object.assign(tally, { draws: 0, rows: 0, distinct: new Set() });
  get("draws").textContent = "";
  showTally();
}

whenever("draw", "click", draw);
whenever("restart", "click", restart);

// ---- What the page begins with ----
const SHOWN = {
  ...DATA.about,
  verbs: DATA.verbs.length,
  words: DATA.verbs.length * DATA.tenses.length,
};
for (const [name, value] of Object.entries(SHOWN)) {
  get(name).textContent = value.toLocaleString("en");
}
for (const box of document.querySelectorAll(".word")) {
  Object.assign(box, { autocapitalize: "none", autocomplete: "off", spellcheck: false });
}
