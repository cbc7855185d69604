// ---- The point ----
const { wide: WIDE, high: HIGH, sides: SIDES } = DATA.map; // sides in standard deviations of noise
const FIRST_AXES = DATA.map.axes.map((k) => new Float32Array(network.latentSize).fill(1, k, k + 1));
const place = { right: 0.6, up: 0.4 };
let before = place; // where the point was when it was touched
let axes = FIRST_AXES; // the codes to the right, and up
let lastMove = 0; // when the point was moved, in milliseconds
let isFrameAsked = false;

function randomAxes() {
  const unit = (vector) => vector.map((x) => x / Math.hypot(...vector));
  const first = unit(noise());
  const second = noise();
  const shared = dot(first, second);
  return [first, unit(second.map((x, k) => x - shared * first[k]))];
}

const codeAt = (right, up) => axes[0].map((x, k) => right * x + up * axes[1][k]);

function showPoint() {
  get("point").style.left = `${50 + (50 * place.right) / SIDES.right}%`;
  get("point").style.top = `${50 - (50 * place.up) / SIDES.up}%`;
  const z = codeAt(place.right, place.up);
  get("here").innerHTML = codeAsHtml(z) + formsAsHtml(generate(network, z));
}

function movePoint(right, up) {
  place.right = Math.max(-SIDES.right, Math.min(SIDES.right, right));
  place.up = Math.max(-SIDES.up, Math.min(SIDES.up, up));
  lastMove = performance.now();
  if (!isFrameAsked) requestAnimationFrame(() => ((isFrameAsked = false), showPoint()));
  isFrameAsked = true;
}

function followPointer(event) {
  const box = get("atlas").getBoundingClientRect();
  const right = (2 * (event.clientX - box.left)) / box.width - 1;
  const up = 1 - (2 * (event.clientY - box.top)) / box.height;
  movePoint(right * SIDES.right, up * SIDES.up);
}

const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};
whenever("plane", "click", followPointer);
whenever("plane", "pointerdown", (event) => {
  get("plane").setPointerCapture(event.pointerId);
  before = { ...place };
});
// A finger that begins up or down scrolls the page: the point goes back.
whenever("plane", "pointercancel", () => movePoint(before.right, before.up));
whenever("plane", "pointermove", (event) => event.buttons && followPointer(event));
whenever("plane", "keydown", (event) => {
  const arrow = ARROWS[event.key];
  if (!arrow) return;
  event.preventDefault();
  movePoint(place.right + 0.1 * arrow[0], place.up + 0.1 * arrow[1]);
});

// ---- The map: the first is in the file; others are drawn from coarse to fine ----
const PIXELS = 6; // of a cell
const NAME = 12; // size of a name on the map, in pixels of the page
const CELLS = [8, 4, 2, 1].flatMap(cellsOf); // in the order in which they are spelled
const SLICE = 12; // milliseconds of work between two looks at the reader
const PAUSE = 150; // milliseconds without a move, after which there is time
const isDark = matchMedia("(prefers-color-scheme: dark)");
const atlas = { lemmas: [], done: 0, isVisible: false, isWorking: false };

// Cells whose neighbours are `step` apart, without those of the coarser steps.
function cellsOf(step) {
  const cells = [];
  for (let y = 0; y < HIGH; y += step) {
    for (let x = 0; x < WIDE; x += step) {
      const isCoarse = step < 8 && x % (2 * step) === 0 && y % (2 * step) === 0;
      if (!isCoarse) cells.push({ x, y, step });
    }
  }
  return cells;
}

const lemmaAt = (x, y) => (x >= 0 && x < WIDE ? atlas.lemmas[y * WIDE + x] : undefined);

// The lemma of each cell of the first map, row by row; "" for no verb of the table.
function firstLemmas() {
  const points = new Int16Array(bytesOf(DATA.map.points));
  const counts = new Int16Array(bytesOf(DATA.map.counts));
  const lemmas = ["", ...DATA.verbs.map((verb) => verb[0])];
  return Array.from(points).flatMap((point, k) => Array(counts[k]).fill(lemmas[point]));
}

// The lemma of four coarser cells around this one, if they agree: then nothing is spelled.
function sharedLemma({ x, y, step }) {
  const wide = 2 * step;
  const [left, top] = [x - (x % wide), y - (y % wide)];
  const lemma = lemmaAt(left, top);
  const others = [lemmaAt(left + wide, top), lemmaAt(left, top + wide)];
  others.push(lemmaAt(left + wide, top + wide));
  return step < 8 && others.every((other) => other === lemma) ? lemma : undefined;
}

function lemmaOf({ x, y }) {
  const right = SIDES.right * ((2 * x + 1) / WIDE - 1);
  const up = SIDES.up * (1 - (2 * y + 1) / HIGH);
  const word = decode(network, codeAt(right, up), 0);
  return COLUMNS[0].has(word) ? word : "";
}

function colourOf(lemma) {
  if (!lemma) return isDark.matches ? "#8b93a1" : "#5b616c";
  const letter = network.alphabet.indexOf(lemma[0]);
  const lightness = (isDark.matches ? 28 : 76) + 6 * (letter % 3);
  return `hsl(${137.5 * letter} 45% ${lightness}%)`; // letters that follow each other differ
}

const pen = get("atlas").getContext("2d");

function paintCell({ x, y, step }) {
  pen.fillStyle = colourOf(lemmaAt(x, y));
  pen.fillRect(x * PIXELS, y * PIXELS, step * PIXELS, step * PIXELS);
}

function paintBorders() {
  pen.fillStyle = isDark.matches ? "#0009" : "#fffc";
  for (const { x, y } of CELLS) {
    const lemma = lemmaAt(x, y);
    const [left, top] = [(x + 1) * PIXELS - 1, (y + 1) * PIXELS - 1];
    if (x + 1 < WIDE && lemmaAt(x + 1, y) !== lemma) pen.fillRect(left, top - PIXELS, 2, PIXELS);
    if (y + 1 < HIGH && lemmaAt(x, y + 1) !== lemma) pen.fillRect(left - PIXELS, top, PIXELS, 2);
  }
}

// For each name, its cell that lies deepest in a region, and how many steps from the border.
function deepestCells(nameAt) {
  const depths = Array(WIDE * HIGH).fill(Infinity);
  const depth = (name, x, y) => (nameAt(x, y) === name ? depths[y * WIDE + x] : 0);
  const deepest = new Map();
  const visit = (k, direction) => {
    const [x, y] = [k % WIDE, Math.floor(k / WIDE)];
    const name = nameAt(x, y);
    const beside = Math.min(depth(name, x + direction, y), depth(name, x, y + direction));
    depths[k] = Math.min(depths[k], 1 + beside);
    return { name, x, y, depth: depths[k] };
  };
  for (let k = 0; k < depths.length; k++) visit(k, -1);
  for (let k = depths.length - 1; k >= 0; k--) {
    const cell = visit(k, 1);
    if (cell.name && cell.depth > (deepest.get(cell.name)?.depth ?? 0))
      deepest.set(cell.name, cell);
  }
  return [...deepest.values()];
}

function write(text, { x, y }, size, opacity) {
  pen.globalAlpha = opacity;
  pen.font = `${size}px system-ui, sans-serif`;
  pen.fillText(text, (x + 0.5) * PIXELS, (y + 0.5) * PIXELS);
  pen.globalAlpha = 1;
}

// Writes verbs and first letters into the middle of their regions, where there is room.
function paintNames() {
  const size = (NAME * WIDE * PIXELS) / get("atlas").clientWidth;
  Object.assign(pen, { textAlign: "center", textBaseline: "middle" });
  pen.font = `${size}px system-ui, sans-serif`;
  pen.fillStyle = isDark.matches ? "#fff" : "#000";
  const room = (name) => (pen.measureText(name).width + size) / 2 / PIXELS;
  const verbs = deepestCells(lemmaAt).filter(({ name, depth }) => depth > room(name));
  verbs.forEach((verb) => write(verb.name, verb, size, 0.85));
  const named = new Set(verbs.map((verb) => verb.name));
  for (const cell of deepestCells((x, y) => lemmaAt(x, y)?.[0])) {
    const isFree = cell.depth * PIXELS > size && !named.has(lemmaAt(cell.x, cell.y));
    if (isFree) write(cell.name.toUpperCase(), cell, Math.max(size, cell.depth * PIXELS), 0.35);
  }
}

function paintAtlas() {
  pen.clearRect(0, 0, WIDE * PIXELS, HIGH * PIXELS);
  CELLS.slice(0, atlas.done).forEach(paintCell);
  get("drawing").hidden = atlas.done === CELLS.length;
  if (atlas.done < CELLS.length) return;
  paintBorders();
  paintNames();
}

function workOnAtlas() {
  const begin = performance.now();
  const hasTime = begin - lastMove > PAUSE;
  while (hasTime && atlas.done < CELLS.length && performance.now() - begin < SLICE) {
    const cell = CELLS[atlas.done];
    atlas.lemmas[cell.y * WIDE + cell.x] = sharedLemma(cell) ?? lemmaOf(cell);
    paintCell(cell);
    atlas.done += 1;
  }
  atlas.isWorking = atlas.isVisible && atlas.done < CELLS.length;
  if (atlas.isWorking) setTimeout(workOnAtlas, hasTime ? 0 : PAUSE);
  if (atlas.done === CELLS.length) paintAtlas();
}

function wakeAtlas() {
  if (!atlas.isWorking && atlas.isVisible && atlas.done < CELLS.length) workOnAtlas();
}

// Shows a map whose lemmas are known, or one that is still to be drawn.
function showPlane(directions, lemmas = []) {
  axes = directions;
  Object.assign(atlas, { lemmas, done: lemmas.length });
  paintAtlas();
  showPoint();
  wakeAtlas();
}

const showFirstPlane = () => showPlane(FIRST_AXES, firstLemmas());

new IntersectionObserver(([entry]) => {
  atlas.isVisible = entry.isIntersecting;
  wakeAtlas();
}).observe(get("plane"));
isDark.addEventListener("change", paintAtlas);
whenever("other-plane", "click", () => showPlane(randomAxes()));
whenever("first-plane", "click", showFirstPlane);
