// What a visitor sees and does; network.js computes.
const get = (id) => document.getElementById(id);
const { ours } = MODELS;
const latentSize = ours.mu.bias.length;

// ---- Words ----
// For each tense: its forms, and the first form of each one's verb.
const COLUMNS = DATA.tenses.map(
  (_, tense) => new Map(DATA.verbs.map((verb) => [verb[tense], verb[0]])),
);
const ROWS = new Set(DATA.verbs.map((verb) => verb.join(" ")));

const tenseInTable = (word) => COLUMNS.findIndex((forms) => forms.has(word));

// The tense of a word: as the table has it, else by the word's ending.
function tenseOf(word) {
  const known = tenseInTable(word);
  const endings = [/[^s]s$/, /[aeiouy].*ing$/, /[aeiouy].*ed$/];
  return known < 0 ? endings.findIndex((ending) => ending.test(word)) + 1 : known;
}

// What is wrong with a word, in a sentence; nothing if it can be read.
function complaint(word) {
  const unknown = [...word].find((letter) => !ours.alphabet.includes(letter));
  if (!word) return "Type a verb, for example walked.";
  if (/\s/.test(word)) return "One word at a time, please: there is a space in yours.";
  if (unknown) return `Our model has never seen “${unknown}”. Its letters are ${ours.alphabet}.`;
  if (word.length <= DATA.longest) return "";
  return `Your word has ${word.length} letters. Our model reads at most ${DATA.longest}.`;
}

// ---- Type a verb ----
const TALLEST = 8; // a number of a code at which its bar is as high as the strip

function codeAsHtml(z) {
  const bar = (number, k) => {
    const height = 20 * Math.min(1, Math.abs(number) / TALLEST);
    const top = number > 0 ? 20 - height : 20;
    return `<rect x="${4 * k + 0.5}" y="${top}" width="3" height="${height}" />`;
  };
  return `<svg class="code" role="img" aria-label="Its code" preserveAspectRatio="none"
    viewBox="0 0 ${4 * z.length} 40">${[...z].map(bar).join("")}</svg>`;
}

// Says whether a form is right; of a verb that is not in the table, nothing.
function verdictOn(form, right) {
  if (!right.size) return "";
  if (right.has(form)) return `<span class="right">✓</span>`;
  return `<span class="wrong">✗ should be ${[...right].join(" or ")}</span>`;
}

function tileAsHtml({ text, probability, isOpen, opens }) {
  const kinds = `letter ${isOpen ? "told" : ""} ${opens ? "opens" : ""}`;
  const sure = `${text || "end"}: ${Math.round(100 * probability)} %`;
  const bar = `<i style="--share: ${probability}"></i>`;
  return `<span class="${kinds}" title="${sure}">${text || "·"}${bar}</span>`;
}

function formAsHtml(letters, tense, rows) {
  const word = wordOf(letters);
  const opening = letters.findIndex(({ opens }) => opens);
  const gate = opening < 0 ? "" : `; the gate opens after “${word.slice(0, opening)}”`;
  const right = new Set(rows.map((row) => row[tense]));
  return `<div class="form">${DATA.tenses[tense]} ${verdictOn(word, right)}
    <div class="letters" role="img" aria-label="${word}${gate}" style="--count: ${letters.length}">
    ${letters.map(tileAsHtml).join("")}</div></div>`;
}

function noteOn(word, tense) {
  const known = tenseInTable(word);
  if (known < 0) return `No model has read <b>${word}</b>.`;
  if (!COLUMNS[tense].has(word)) {
    return `Our model has read <b>${word}</b> as the ${DATA.tenses[known]} only.`;
  }
  return `Our model has read <b>${word}</b>, but nobody told it which other words belong to it.`;
}

const typedWord = () => get("word").value.trim().normalize("NFC").toLowerCase();

function answer() {
  const word = typedWord();
  const tense = Number(get("tense").value);
  const problem = complaint(word);
  get("problem").textContent = problem;
  get("answer").classList.toggle("is-hidden", Boolean(problem));
  if (problem) return;
  get("note").innerHTML = noteOn(word, tense);
  const rows = DATA.verbs.filter((verb) => verb[tense] === word);
  for (const [name, model] of Object.entries(MODELS)) {
    const z = encode(model, word, tense);
    const forms = spellForms(model, z).map((letters, form) => formAsHtml(letters, form, rows));
    get(name).innerHTML = forms.join("") + codeAsHtml(z);
  }
}

function readWord() {
  get("tense").value = tenseOf(typedWord());
  answer();
}

function useExample({ target }) {
  if (target.tagName !== "BUTTON") return;
  get("word").value = target.textContent;
  readWord();
}

DATA.tenses.forEach((name, tense) => get("tense").add(new Option(name, tense)));
get("word").addEventListener("input", readWord);
get("tense").addEventListener("change", answer);
get("examples").addEventListener("click", useExample);
readWord();

// ---- Four forms in a line ----
const MARKS = { right: "✓", near: "≈", wrong: "✗" };

function kindOf(forms) {
  if (ROWS.has(forms.join(" "))) return "right";
  return forms.every((form, tense) => COLUMNS[tense].has(form)) ? "near" : "wrong";
}

function formsAsHtml(forms) {
  const kind = kindOf(forms);
  const shown = forms.map((form, tense) =>
    COLUMNS[tense].has(form) ? form : `<s class="wrong">${form || "–"}</s>`,
  );
  const verbs = new Set(forms.map((form, tense) => COLUMNS[tense].get(form)));
  const note = kind === "near" ? ` <span class="near">(${[...verbs].join(" and ")})</span>` : "";
  return `<b class="${kind}">${MARKS[kind]}</b> ${shown.join(", ")}${note}`;
}

// ---- Walk among verbs ----
const { axes, sides } = DATA.map;
let place = [0.6, 0.4]; // to the right and up, in standard deviations of noise
let placeBefore = place; // where the point was when it was touched

function moveTo(wanted) {
  place = wanted.map((number, k) => Math.max(-sides[k], Math.min(sides[k], number)));
  get("point").style.left = `${50 + (50 * place[0]) / sides[0]}%`;
  get("point").style.top = `${50 - (50 * place[1]) / sides[1]}%`;
  const z = new Float32Array(latentSize);
  axes.forEach((axis, k) => (z[axis] = place[k]));
  get("here").innerHTML = formsAsHtml(generate(ours, z));
}

function followPointer(event) {
  const box = get("map").getBoundingClientRect();
  const right = (2 * (event.clientX - box.left)) / box.width - 1;
  const up = 1 - (2 * (event.clientY - box.top)) / box.height;
  moveTo([right * sides[0], up * sides[1]]);
}

function holdPointer(event) {
  get("map").setPointerCapture(event.pointerId);
  placeBefore = place;
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

function followKey(event) {
  const arrow = ARROWS[event.key];
  if (!arrow) return;
  event.preventDefault();
  moveTo(place.map((number, k) => number + 0.1 * arrow[k]));
}

get("map").addEventListener("click", followPointer);
get("map").addEventListener("pointerdown", holdPointer);
get("map").addEventListener("pointermove", (event) => event.buttons && followPointer(event));
// A finger that starts up or down scrolls the page: the point goes back.
get("map").addEventListener("pointercancel", () => moveTo(placeBefore));
get("map").addEventListener("keydown", followKey);
moveTo(place);

// ---- Make verbs out of noise ----
const DRAWS = 10;
const tally = { draws: 0, right: 0 };

const normal = () =>
  Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

function drawOne() {
  const forms = generate(ours, new Float32Array(latentSize).map(normal));
  tally.draws += 1;
  tally.right += kindOf(forms) === "right";
  return `<li>${formsAsHtml(forms)}</li>`;
}

function draw() {
  get("draws").innerHTML = Array.from({ length: DRAWS }, drawOne).join("");
  const score = (tally.right / tally.draws).toFixed(2);
  get("tally").textContent =
    `${tally.right} of ${tally.draws} draws are ✓: a Gaussian score of ${score}.`;
}

get("draw").addEventListener("click", draw);
