// What a visitor sees and does; network.js computes.
const get = (id) => document.getElementById(id);

// ---- Words ----
// For each tense: its forms, and the first form of each one's verb.
const COLUMNS = DATA.tenses.map(
  (_, tense) => new Map(DATA.verbs.map((verb) => [verb[tense], verb[0]])),
);
const ROWS = new Set(DATA.verbs.map((verb) => verb.join(" ")));

const isForm = (form, tense) => COLUMNS[tense].has(form);
const tenseInTable = (word) => COLUMNS.findIndex((forms) => forms.has(word));

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
  const { alphabet } = MODELS.ours;
  const unknown = [...word].find((letter) => !alphabet.includes(letter));
  if (!word) return "Please type a verb.";
  if (unknown === " ") return "One word at a time, please.";
  if (unknown) return `The models have never seen “${unknown}”. They know ${alphabet.join("")}.`;
  return word.length > DATA.longest ? `They read at most ${DATA.longest} letters.` : "";
}

// ---- Type a verb ----
const TALLEST = 3; // a number of a code at which its bar is as high as the strip

function codeAsHtml(z) {
  const bar = (number, k) => {
    const height = 20 * Math.min(1, Math.abs(number) / TALLEST);
    const top = number > 0 ? 20 - height : 20;
    return `<rect x="${4 * k + 0.5}" y="${top}" width="3" height="${height}" />`;
  };
  return `<svg class="code" role="img" aria-label="Its code" preserveAspectRatio="none"
    viewBox="0 0 ${4 * z.length} 40">${[...z].map(bar).join("")}</svg>`;
}

// Says whether a form is one of the right ones; if the table has none, whether it is another verb's.
function markOf(form, tense, right) {
  if (right.includes(form)) return `<span class="right">✓</span>`;
  if (right.length) return `<span class="wrong">✗ should be ${right.join(" or ")}</span>`;
  return isForm(form, tense) ? `<span class="near">≈ of ${COLUMNS[tense].get(form)}</span>` : "";
}

function letterAsHtml({ text, probability, isOpen, opens }) {
  const kinds = `letter ${isOpen ? "told" : ""} ${opens ? "opens" : ""}`;
  return `<span class="${kinds}">${text || "·"}<i style="--share: ${probability}"></i></span>`;
}

function formAsHtml(letters, tense, right) {
  const word = wordOf(letters);
  const opening = letters.findIndex(({ opens }) => opens);
  const gate = opening < 0 ? "" : `; the gate opens after “${word.slice(0, opening)}”`;
  return `<div class="form">${DATA.tenses[tense]} ${markOf(word, tense, right)}
    <div class="letters" role="img" aria-label="${word}${gate}" style="--count: ${letters.length}">
    ${letters.map(letterAsHtml).join("")}</div></div>`;
}

// Shows what a model makes of a word.
function show(name, word, tense) {
  const z = encode(MODELS[name], word, tense);
  const verbs = DATA.verbs.filter((verb) => verb[tense] === word);
  const rightAt = (form) => [...new Set(verbs.map((verb) => verb[form]))];
  const forms = spellForms(MODELS[name], z);
  const shown = forms.map((letters, form) => formAsHtml(letters, form, rightAt(form)));
  get(name).innerHTML = `<div class="form">its code${codeAsHtml(z)}</div>${shown.join("")}`;
}

const typed = () => get("word").value.trim().toLowerCase();

function answer() {
  const word = typed();
  const problem = complaint(word);
  get("problem").textContent = problem;
  document.body.classList.toggle("no-word", Boolean(problem));
  for (const chip of get("examples").children) chip.ariaPressed = chip.textContent === word;
  if (problem) return;
  for (const name in MODELS) show(name, word, Number(get("tense").value));
}

function readWord() {
  const word = typed();
  get("tense").value = tenseOf(word);
  get("guess").hidden = complaint(word) || tenseInTable(word) >= 0;
  answer();
}

function useExample({ target }) {
  if (target.tagName !== "BUTTON") return;
  get("word").value = target.textContent;
  readWord();
}

function chooseTense() {
  get("guess").hidden = true;
  answer();
}

DATA.tenses.forEach((name, tense) => get("tense").add(new Option(name, tense)));
get("word").addEventListener("input", readWord);
get("tense").addEventListener("change", chooseTense);
get("examples").addEventListener("click", useExample);
readWord();

// ---- A film of codes ----
const { verbs: FILMED, epochs } = DATA.film;
const FILMS = DATA.film.points.map((text) => new Int8Array(readBytes(text)));
const SECONDS = 10;
const wantsCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
let epoch = wantsCalm ? epochs : 1; // a fraction while it is played
let playing = 0; // the number of the next frame that the browser will ask for

// A line around a verb, its dots, and its name; the name of an irregular past, too.
function verbAsSvg(verb, places) {
  const dot = ([x, y], tense) =>
    `<circle class="tense${tense}" cx="${x}" cy="${y}" r="3"><title>${verb[tense]}</title></circle>`;
  const named = verb.at(-1).endsWith("ed") ? [0] : [0, verb.length - 1];
  const name = (tense) =>
    `<text x="${places[tense][0] + 5}" y="${places[tense][1] - 3}">${verb[tense]}</text>`;
  const line = `<polygon points="${places.join(" ")}" />`;
  return [line, ...places.map(dot), ...named.map(name)].join("");
}

function showEpoch() {
  const film = FILMS[Number(get("in-secret").checked)];
  const before = Math.floor(epoch);
  const frames = [before, Math.min(before + 1, epochs)].map((one) =>
    film.subarray(((one - 1) * film.length) / epochs),
  );
  const numberAt = (k) => frames[0][k] + (epoch - before) * (frames[1][k] - frames[0][k]);
  const placesOf = (verb, n) =>
    verb.map((_, tense) => [0, 1].map((axis) => numberAt(2 * (n * verb.length + tense) + axis)));
  get("screen").innerHTML = FILMED.map((verb, n) => verbAsSvg(verb, placesOf(verb, n))).join("");
  get("epoch").value = before;
  get("epochs").textContent = `after epoch ${before} of ${epochs}`;
}

function pause() {
  cancelAnimationFrame(playing);
  playing = 0;
  get("play").textContent = "Play";
}

// Plays from where the film stands, slowly at first, when most happens.
function play() {
  pause();
  if (epoch === epochs) epoch = 1;
  const begun = performance.now() - 1000 * SECONDS * Math.sqrt((epoch - 1) / (epochs - 1));
  const step = (now) => {
    const share = Math.max(0, Math.min(1, (now - begun) / 1000 / SECONDS));
    epoch = 1 + (epochs - 1) * share ** 2;
    showEpoch();
    if (share === 1) pause();
    else playing = requestAnimationFrame(step);
  };
  playing = requestAnimationFrame(step);
  get("play").textContent = "Pause";
}

function playOnceSeen([{ isIntersecting }], watcher) {
  if (!isIntersecting) return;
  watcher.disconnect();
  if (epoch === 1 && !wantsCalm) play();
}

function chooseEpoch() {
  pause();
  epoch = Number(get("epoch").value);
  showEpoch();
}

get("play").addEventListener("click", () => (playing ? pause() : play()));
get("epoch").addEventListener("input", chooseEpoch);
get("in-secret").addEventListener("change", showEpoch);
new IntersectionObserver(playOnceSeen, { threshold: 0.8 }).observe(get("screen"));
showEpoch();

// ---- Noise ----
const DRAWS = 10;
const MARKS = { right: "✓", near: "≈", wrong: "✗" };
const counts = { draws: 0, plain: 0, ours: 0 }; // of draws, and of verbs among them

const normal = () =>
  Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

function kindOf(forms) {
  if (ROWS.has(forms.join(" "))) return "right";
  return forms.every(isForm) ? "near" : "wrong";
}

function verbAsHtml(forms) {
  const kind = kindOf(forms);
  const shown = forms.map((form, tense) => (isForm(form, tense) ? form : `<s>${form || "–"}</s>`));
  return `<li><b class="${kind}">${MARKS[kind]}</b> ${shown.join(", ")}</li>`;
}

function showDrawn(name, codes) {
  const verbs = codes.map((z) => generate(MODELS[name], z));
  counts[name] += verbs.filter((forms) => kindOf(forms) === "right").length;
  get(`${name}-drawn`).innerHTML = verbs.map(verbAsHtml).join("");
  get(`${name}-count`).textContent = `${counts[name]} of ${counts.draws} are verbs`;
}

function draw() {
  const codeSize = MODELS.ours.mu.bias.length;
  const codes = Array.from({ length: DRAWS }, () => new Float32Array(codeSize).map(normal));
  counts.draws += DRAWS;
  get("drawn").hidden = false;
  for (const name in MODELS) showDrawn(name, codes);
}

get("draw").addEventListener("click", draw);
