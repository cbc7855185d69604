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

// What spelling rules make of a first form's ending, as in experiments/words.py; the first that fits.
const RULES = [
  [/([^aeiou])y$/, "$1ies", "$1ying", "$1ied"],
  [/ie$/, "ies", "ying", "ied"],
  [/([eyo]e)$/, "$1s", "$1ing", "$1d"],
  [/e$/, "es", "ing", "ed"],
  [/(s|x|z|ch|sh|[^aeiou]o)$/, "$1es", "$1ing", "$1ed"],
  [/$/, "s", "ing", "ed"],
];

function isRegular([lemma, ...forms]) {
  const [ending, ...changes] = RULES.find(([ending]) => ending.test(lemma));
  const [third, ...plain] = changes.map((change) => lemma.replace(ending, change));
  const doubled = ["ing", "ed"].map((change) => lemma + lemma.at(-1) + change);
  return [plain, doubled].some((others) => [third, ...others].join() === forms.join());
}

// What the table leaves out.
const AUXILIARIES = "be am is are was were being been have has having had do does doing did".split(" ");

// ---- Type a verb ----
const percent = (share) => `${Math.round(100 * share)} %`;
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

const swap = (text, from, to) => [...text].map((letter) => to[from.indexOf(letter)]).join("");

// The code of a word, and the letters of all forms that a model spells from it, in plain letters.
function answerOf(name, word, tense) {
  const { keys } = DATA;
  const inSecret = name === "secret";
  const z = encode(MODELS[name], inSecret ? swap(word, keys[0], keys[tense]) : word, tense);
  const forms = spellForms(MODELS[name], z);
  if (!inSecret) return { z, forms };
  const inPlain = (letter, form) => ({ ...letter, text: swap(letter.text, keys[form], keys[0]) });
  return { z, forms: forms.map((letters, form) => letters.map((letter) => inPlain(letter, form))) };
}

// Says whether a form is right; if the table doesn't tell, whether it is of another verb.
function markOf(name, form, tense, right) {
  if (right.has(form)) return `<span class="right">✓</span>`;
  if (right.size && name !== "secret")
    return `<span class="wrong">✗ should be ${[...right].join(" or ")}</span>`;
  const verb = COLUMNS[tense].get(form);
  return verb ? `<span class="near">≈ of ${verb}</span>` : "";
}

function letterAsHtml({ text, probability, isOpen, opens }) {
  const kinds = `letter ${isOpen ? "told" : ""} ${opens ? "opens" : ""}`;
  const bar = probability ? `<i style="--share: ${probability}"></i>` : "";
  return `<span class="${kinds}">${text || "·"}${bar}</span>`;
}

function formAsHtml(letters, tense, mark) {
  const word = wordOf(letters);
  const opening = letters.findIndex(({ opens }) => opens);
  const gate = opening < 0 ? "" : `; the gate opens after “${word.slice(0, opening)}”`;
  return `<div class="form">${DATA.tenses[tense]} ${mark}
    <div class="letters" role="img" aria-label="${word}${gate}" style="--count: ${letters.length}">
    ${letters.map(letterAsHtml).join("")}</div></div>`;
}

// Shows what a model makes of a word; returns its forms.
function show(name, word, tense, rows) {
  const { z, forms } = answerOf(name, word, tense);
  const words = forms.map(wordOf);
  const inflects = name === "conjugator";
  if (inflects) words[tense] = word; // it learned other forms
  const fits = inflects && !rows.length && !AUXILIARIES.includes(word) && isRegular(words);
  const markAt = (form) => {
    if (fits) return `<span class="right">✓ by the rules</span>`;
    return markOf(name, words[form], form, new Set(rows.map((row) => row[form])));
  };
  const shown = forms.map((letters, form) => formAsHtml(letters, form, markAt(form)));
  if (inflects) shown[tense] = formAsHtml([...word].map((text) => ({ text })), tense, "(as typed)");
  get(name).innerHTML = `${shown.join("")}<div class="form">its code${codeAsHtml(z)}</div>`;
  return words;
}

function verdict(word, tense, rows, { ours, secret, conjugator }) {
  if (rows.length) {
    const isRight = (form, t) => t !== tense && rows.some((row) => row[t] === form);
    const [a, b, c] = [ours, secret, conjugator].map((forms) => forms.filter(isRight).length);
    return `Of the ${DATA.tenses.length - 1} other forms of <b>${word}</b>, our model spells <b>${a}</b>,
      the one in secret <b>${b}</b>, and the conjugator <b>${c}</b>.`;
  }
  const read = DATA.tenses.filter((_, t) => COLUMNS[t].has(word)).join(" and ");
  if (read) return `Our model has read <b>${word}</b> as the ${read} only.`;
  const near = verbsOf(ours).filter(Boolean).join(" and ");
  const leftOut = AUXILIARIES.includes(word);
  const verb = !leftOut && isRegular(conjugator) ? "spells it" : "tries";
  return `<b>${word}</b> is ${leftOut ? "an auxiliary, and left out of our table" : "new"}. The conjugator ${verb}:
    <b>${conjugator.join(", ")}</b>. Our model knows only what it read${near && `, here <i>${near}</i>`}.`;
}

// What the conjugator has been taught about a word.
function lessonOn(word, tense) {
  const row = DATA.joined.find((row) => row[tense] === word);
  if (!row) return `Was taught no row with <i>${word}</i>`;
  return `Was taught <i>${row.join(", ")}</i>${ROWS.has(row.join(" ")) ? "" : ", a wrong row"}`;
}

const wordIn = (box) => box.value.trim().normalize("NFC").toLowerCase();

function answer() {
  const word = wordIn(get("word"));
  const tense = Number(get("tense").value);
  const problem = complaint(word);
  document.body.classList.toggle("no-word", Boolean(problem));
  get("verdict").innerHTML = problem;
  for (const chip of get("examples").children) chip.ariaPressed = chip.textContent === word;
  if (problem) return;
  const rows = DATA.verbs.filter((verb) => verb[tense] === word);
  const spelled = {};
  for (const name in MODELS) spelled[name] = show(name, word, tense, rows);
  get("verdict").innerHTML = verdict(word, tense, rows, spelled);
  get("taught").innerHTML = lessonOn(word, tense);
  get("written").textContent = swap(word, DATA.keys[0], DATA.keys[tense]);
  history.replaceState(null, "", `#${encodeURIComponent(word)}`);
}

function readWord() {
  const word = wordIn(get("word"));
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
  const named = isRegular(verb) ? [0] : [0, verb.length - 1];
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
function mix() {
  const words = [...document.querySelectorAll(".end")].map(wordIn);
  const share = get("share").value / get("share").max;
  get("mix").textContent = `${percent(share)} of the way`;
  const problem = words.map(complaint).find(Boolean);
  if (problem) {
    get("between").innerHTML = problem;
    return;
  }
  const [from, to] = words.map((word) => encode(ours, word, tenseOf(word)));
  const z = from.map((number, k) => number + share * (to[k] - number));
  get("between").innerHTML = `${formsAsHtml(generate(ours, z))} ${codeAsHtml(z)}`;
}

for (const box of document.querySelectorAll("#walk input")) box.addEventListener("input", mix);
mix();

// ---- A map of codes ----
const { axes, sides } = DATA.map;
let place = [0.6, 0.4]; // to the right and up, in standard deviations of noise

function moveTo(wanted) {
  place = wanted.map((number, k) => Math.max(-sides[k], Math.min(sides[k], number)));
  const [right, up] = place.map((number, k) => number / sides[k]);
  get("point").style.left = `${50 + 50 * right}%`;
  get("point").style.top = `${50 - 50 * up}%`;
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

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

function followKey(event) {
  const arrow = ARROWS[event.key];
  if (!arrow) return;
  event.preventDefault();
  const step = event.shiftKey ? 0.5 : 0.1;
  moveTo(place.map((number, k) => number + step * arrow[k]));
}

get("map").addEventListener("click", followPointer);
get("map").addEventListener("pointermove", followPointer);
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
  const share = percent(tally.right / tally.draws);
  get("tally").textContent = `${tally.right} of ${tally.draws} draws so far are ✓ (${share}).`;
}

get("draw").addEventListener("click", draw);
