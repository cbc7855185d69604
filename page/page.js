// What a visitor sees and does; network.js computes.
const get = (id) => document.getElementById(id);
const { ours, collapsed } = MODELS;
const latentSize = ours.mu.bias.length;

// ---- Words ----
// For each tense: its forms, and the first form of each one's verb.
const COLUMNS = DATA.tenses.map(
  (_, tense) => new Map(DATA.verbs.map((verb) => [verb[tense], verb[0]])),
);
const ROWS = new Set(DATA.verbs.map((verb) => verb.join(" ")));

const tenseInTable = (word) => COLUMNS.findIndex((forms) => forms.has(word));

// The first forms of the verbs to which some forms belong; undefined for one that is in no row.
const verbsOf = (forms) => [...new Set(forms.map((form, tense) => COLUMNS[tense].get(form)))];

// The tense of a word: as the table has it, else that of most forms with its longest known ending.
function tenseOf(word) {
  const known = tenseInTable(word);
  if (known >= 0) return known;
  for (let start = 0; start < word.length; start++) {
    const isLike = (form) => form.endsWith(word.slice(start));
    const counts = COLUMNS.map((forms) => [...forms.keys()].filter(isLike).length);
    const most = Math.max(...counts);
    if (most) return counts.indexOf(most);
  }
  return 0;
}

// What is wrong with a word, in a sentence; nothing if it can be read.
function complaint(word) {
  const unknown = [...word].find((letter) => !ours.alphabet.includes(letter));
  if (!word) return `Type a verb, for example ${get("word").defaultValue}.`;
  if (/\s/.test(word)) return "One word at a time, please: there is a space in yours.";
  if (unknown) return `Our model has never seen “${unknown}”. Its letters are ${ours.alphabet.join("")}.`;
  const letters = [...word].length;
  if (letters <= DATA.longest) return "";
  return `Your word has ${letters} letters. Our model reads at most ${DATA.longest}.`;
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

// Says whether a form is right; if the table doesn't tell, whether it is of another verb.
function verdictOn(form, tense, right) {
  if (right.has(form)) return `<span class="right">✓</span>`;
  if (right.size) return `<span class="wrong">✗ should be ${[...right].join(" or ")}</span>`;
  const verb = COLUMNS[tense].get(form);
  return verb ? `<span class="near">≈ of ${verb}</span>` : "";
}

function tileAsHtml({ text, probability, isOpen, opens }) {
  const kinds = `letter ${isOpen ? "told" : ""} ${opens ? "opens" : ""}`;
  const sure = `${text || "end"}: ${Math.round(100 * probability)} %`;
  const bar = `<i style="--share: ${probability}"></i>`;
  return `<span class="${kinds}" title="${sure}">${text || "·"}${bar}</span>`;
}

function lineAsHtml(title, label, letters) {
  return `<div class="form">${title}
    <div class="letters" role="img" aria-label="${label}" style="--count: ${letters.length}">
    ${letters.join("")}</div></div>`;
}

function formAsHtml(letters, tense, rows) {
  const word = wordOf(letters);
  const opening = letters.findIndex(({ opens }) => opens);
  const gate = opening < 0 ? "" : `; the gate opens after “${word.slice(0, opening)}”`;
  const right = new Set(rows.map((row) => row[tense]));
  const title = `${DATA.tenses[tense]} ${verdictOn(word, tense, right)}`;
  return lineAsHtml(title, word + gate, letters.map(tileAsHtml));
}

function typedAsHtml(word, tense) {
  const letters = [...word].map((letter) => `<span class="letter">${letter}</span>`);
  return lineAsHtml(`${DATA.tenses[tense]}, as typed`, word, letters);
}

function verdict(word, tense, rows, forms) {
  const read = DATA.tenses.filter((_, t) => COLUMNS[t].has(word)).join(" and ");
  if (rows.length) {
    const right = forms.filter((form, t) => rows.some((row) => row[t] === form));
    const count = right.length === forms.length ? "all" : `${right.length} of`;
    return `Our model has read <b>${word}</b>. It spells ${count} its ${forms.length} forms right.`;
  }
  if (read) return `Our model has read <b>${word}</b> as the ${read} only.`;
  const near = verbsOf(forms).filter(Boolean).join(" and ");
  const some = kindOf(forms) === "wrong" ? "some forms of " : "";
  const instead = `It spells ${some}<b>${near}</b> instead.`;
  return `Our model doesn’t know <b>${word}</b>. ${near ? instead : "What it spells is no verb, either."}`;
}

// What the conjugator has been taught about a word.
function lessonOn(word, tense) {
  const row = DATA.joined.find((row) => row[tense] === word);
  if (!row) return `No row that taught it has <b>${word}</b> as ${DATA.tenses[tense]}.`;
  const isTrue = DATA.verbs.some((verb) => verb.join() === row.join());
  return `It was taught the row <i>${row.join(", ")}</i>${isTrue ? "" : ", a wrong one"}.`;
}

const wordIn = (box) => box.value.trim().normalize("NFC").toLowerCase();

function answer() {
  const word = wordIn(get("word"));
  const tense = Number(get("tense").value);
  const problem = complaint(word);
  document.body.classList.toggle("no-word", Boolean(problem));
  get("verdict").innerHTML = problem;
  if (problem) return;
  const rows = DATA.verbs.filter((verb) => verb[tense] === word);
  for (const [name, model] of Object.entries(MODELS)) {
    const z = encode(model, word, tense);
    const forms = spellForms(model, z);
    const shown = forms.map((letters, form) => formAsHtml(letters, form, rows));
    if (name === "conjugator") shown[tense] = typedAsHtml(word, tense); // it learned other forms
    get(name).innerHTML = shown.join("") + codeAsHtml(z);
    if (name === "conjugator") get("taught").innerHTML = lessonOn(word, tense);
    if (name !== "ours") continue;
    get("verdict").innerHTML = verdict(word, tense, rows, forms.map(wordOf));
    get("home").textContent = word;
    putOnMap(get("typed"), axes.map((axis) => z[axis]));
  }
}

function readWord() {
  get("tense").value = tenseOf(wordIn(get("word")));
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
  const verbs = verbsOf(forms).join(" and ");
  const note = kind === "near" ? ` <span class="near">(${verbs})</span>` : "";
  return `<b class="${kind}">${MARKS[kind]}</b> ${shown.join(", ")}${note}`;
}

// ---- Walk from one verb to another ----
function formsBetween(model, words, share) {
  const [from, to] = words.map((word) => encode(model, word, tenseOf(word)));
  const z = from.map((number, k) => number + share * (to[k] - number));
  return { z, shown: formsAsHtml(generate(model, z)) };
}

function mix() {
  const words = [...document.querySelectorAll(".end")].map(wordIn);
  const share = get("share").value / get("share").max;
  get("mix").textContent = `${Math.round(100 * share)} % of the way`;
  const problem = words.map(complaint).find(Boolean);
  if (problem) {
    get("between").innerHTML = problem;
    return;
  }
  const { z, shown } = formsBetween(ours, words, share);
  const other = formsBetween(collapsed, words, share).shown;
  get("between").innerHTML = `${shown} ${codeAsHtml(z)} <small>The collapsed model: ${other}</small>`;
}

for (const box of document.querySelectorAll("#walk input")) box.addEventListener("input", mix);
mix();

// ---- A map of codes ----
const { axes, sides } = DATA.map;
let place = [0.6, 0.4]; // to the right and up, in standard deviations of noise
let placeBefore = place; // where the point was when it was touched

// Puts a mark on the map, at its edge if it lies beyond; returns where it is now.
function putOnMap(mark, wanted) {
  const [right, up] = wanted.map((number, k) => Math.max(-sides[k], Math.min(sides[k], number)));
  mark.style.left = `${50 + (50 * right) / sides[0]}%`;
  mark.style.top = `${50 - (50 * up) / sides[1]}%`;
  return [right, up];
}

function moveTo(wanted) {
  place = putOnMap(get("point"), wanted);
  const z = new Float32Array(latentSize);
  axes.forEach((axis, k) => (z[axis] = place[k]));
  const forms = generate(ours, z);
  get("here").innerHTML = formsAsHtml(forms);
  get("name").textContent = forms[0];
  get("name").style.bottom = place[1] > 0.8 * sides[1] ? "-2rem" : "";
  get("name").style.setProperty("--shift", `${-50 - (50 * place[0]) / sides[0]}%`);
}

function followPointer(event) {
  const box = get("map").getBoundingClientRect();
  const right = (2 * (event.clientX - box.left)) / box.width - 1;
  const up = 1 - (2 * (event.clientY - box.top)) / box.height;
  moveTo([right * sides[0], up * sides[1]]);
}

function hoverOrDrag(event) {
  if (event.buttons || event.pointerType === "mouse") followPointer(event);
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
get("map").addEventListener("pointermove", hoverOrDrag);
// A finger that starts up or down scrolls the page: the point goes back.
get("map").addEventListener("pointercancel", () => moveTo(placeBefore));
get("map").addEventListener("keydown", followKey);
moveTo(place);

// Reads the word after the page's address, as in page.html#broke.
function readAddress() {
  const asked = new URLSearchParams(`word=${location.hash.slice(1)}`);
  get("word").value = asked.get("word") || get("word").value;
  readWord();
}

window.addEventListener("hashchange", readAddress);
readAddress();

// ---- Make verbs out of noise ----
const DRAWS = 10;
const tally = { draws: 0, right: 0, collapsed: {} }; // how often the collapsed model spelled which verb

const normal = () =>
  Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

function drawOne() {
  const z = new Float32Array(latentSize).map(normal);
  const forms = generate(ours, z);
  const [other] = generate(collapsed, z);
  tally.draws += 1;
  tally.right += kindOf(forms) === "right";
  tally.collapsed[other] = (tally.collapsed[other] ?? 0) + 1;
  return `<li>${formsAsHtml(forms)}</li>`;
}

function draw() {
  get("draws").innerHTML = Array.from({ length: DRAWS }, drawOne).join("");
  const score = (tally.right / tally.draws).toFixed(2);
  const [most] = Object.entries(tally.collapsed).sort((a, b) => b[1] - a[1]);
  get("tally").innerHTML =
    `${tally.right} of ${tally.draws} draws so far are ✓: a Gaussian score of ${score}.
    <small>From the same noise, the collapsed model’s verb was ${most[0]} ${most[1]} times.</small>`;
}

get("draw").addEventListener("click", draw);
