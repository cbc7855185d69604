// ---- The point ----
const SIDES = { right: 3.5, up: 2.5 }; // of the map, in standard deviations of noise
const place = { right: 0.6, up: 0.4 };
let axes = strongestAxes(); // the codes to the right, and up
let lastMove = 0; // when the point was moved, in milliseconds
let isFrameAsked = false;

function strongestAxes() {
  const size = (k) => Math.hypot(...network.fromZ.matrix.map((row) => row[k]));
  const order = Array.from({ length: network.latentSize }, (_, k) => k);
  order.sort((a, b) => size(b) - size(a));
  const unit = (k) => new Float32Array(network.latentSize).fill(1, k, k + 1);
  return order.slice(0, 2).map(unit);
}

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
  if (!event.buttons) return;
  const box = get("plane").getBoundingClientRect();
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
whenever("plane", "pointerdown", (event) => {
  get("plane").setPointerCapture(event.pointerId);
  followPointer(event);
});
whenever("plane", "pointermove", followPointer);
whenever("plane", "keydown", (event) => {
  const arrow = ARROWS[event.key];
  if (!arrow) return;
  event.preventDefault();
  movePoint(place.right + 0.1 * arrow[0], place.up + 0.1 * arrow[1]);
});

// ---- The map, from coarse to fine while nothing else is to be done ----
const WIDE = 112;
const HIGH = 80;
const PIXELS = 10; // of a cell
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

const lemmaAt = (x, y) => (x < WIDE && y < HIGH ? atlas.lemmas[y * WIDE + x] : undefined);

// The lemma of four coarser cells around this one, if they agree: then nothing is spelled.
function sharedLemma({ x, y, step }) {
  const wide = 2 * step;
  const [left, top] = [x - (x % wide), y - (y % wide)];
  const lemma = lemmaAt(left, top);
  const others = [lemmaAt(left + wide, top), lemmaAt(left, top + wide)];
  others.push(lemmaAt(left + wide, top + wide));
  return step < 8 && others.every((other) => other === lemma) ? lemma : undefined;
}

function spellCell(cell) {
  const right = SIDES.right * ((2 * cell.x + 1) / WIDE - 1);
  const up = SIDES.up * (1 - (2 * cell.y + 1) / HIGH);
  atlas.lemmas[cell.y * WIDE + cell.x] = sharedLemma(cell) ?? decode(network, codeAt(right, up), 0);
}

function colourOf(lemma) {
  const letter = network.alphabet.indexOf(lemma[0]);
  if (!COLUMNS[0].has(lemma)) return isDark.matches ? "#3a3e46" : "#b9bcc2";
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

// Writes a verb in the middle of its region, if there is room.
function paintNames() {
  pen.fillStyle = isDark.matches ? "#fffd" : "#000c";
  const size = (NAME * WIDE * PIXELS) / get("atlas").clientWidth;
  pen.font = `${size}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const regions = new Map();
  for (const cell of CELLS) {
    const lemma = lemmaAt(cell.x, cell.y);
    if (!regions.has(lemma)) regions.set(lemma, []);
    regions.get(lemma).push(cell);
  }
  for (const [lemma, cells] of regions) {
    const middle = (axis) =>
      Math.round(cells.reduce((sum, cell) => sum + cell[axis], 0) / cells.length);
    const [x, y] = [middle("x"), middle("y")];
    const half = Math.ceil(pen.measureText(lemma).width / 2 / PIXELS);
    const around = [-half, 0, half].flatMap((dx) =>
      [-1, 0, 1].map((dy) => lemmaAt(x + dx, y + dy)),
    );
    const hasRoom = COLUMNS[0].has(lemma) && around.every((other) => other === lemma);
    if (hasRoom) pen.fillText(lemma, (x + 0.5) * PIXELS, (y + 0.5) * PIXELS);
  }
}

function paintAtlas() {
  CELLS.slice(0, atlas.done).forEach(paintCell);
  if (atlas.done < CELLS.length) return;
  paintBorders();
  paintNames();
}

function workOnAtlas() {
  const begin = performance.now();
  const hasTime = begin - lastMove > PAUSE;
  while (hasTime && atlas.done < CELLS.length && performance.now() - begin < SLICE) {
    spellCell(CELLS[atlas.done]);
    paintCell(CELLS[atlas.done]);
    atlas.done += 1;
  }
  atlas.isWorking = atlas.isVisible && atlas.done < CELLS.length;
  if (atlas.isWorking) setTimeout(workOnAtlas, hasTime ? 0 : PAUSE);
  if (atlas.done === CELLS.length) paintAtlas();
}

function wakeAtlas() {
  if (!atlas.isWorking && atlas.isVisible && atlas.done < CELLS.length) workOnAtlas();
}

function showPlane(directions) {
  axes = directions;
  atlas.done = 0;
  atlas.lemmas = [];
  pen.clearRect(0, 0, WIDE * PIXELS, HIGH * PIXELS);
  showPoint();
  wakeAtlas();
}

new IntersectionObserver(([entry]) => {
  atlas.isVisible = entry.isIntersecting;
  wakeAtlas();
}).observe(get("plane"));
isDark.addEventListener("change", paintAtlas);
whenever("other-plane", "click", () => showPlane(randomAxes()));
whenever("first-plane", "click", () => showPlane(strongestAxes()));
