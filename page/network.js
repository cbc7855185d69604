"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const EOS = 0; // ends a word; before the gate it opens the gate

// ---- Weights ----
function bytesOf(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes.buffer;
}

function readWeight(stored) {
  if (stored.values) return new Float32Array(bytesOf(stored.values));
  const numbers = new Int8Array(bytesOf(stored.numbers));
  const scales = new Float32Array(bytesOf(stored.scales));
  const row = (_, r) => {
    const part = numbers.subarray(r * stored.columns, (r + 1) * stored.columns);
    return Float32Array.from(part, (number) => number * scales[r]);
  };
  return Array.from(scales, row);
}

function readModel(stored) {
  const weights = {};
  for (const [name, weight] of Object.entries(stored.weights)) {
    weights[name] = readWeight(weight);
  }
  const layer = (name) => ({
    matrix: weights[`${name}.weight`],
    bias: weights[`${name}.bias`],
  });
  const model = {
    alphabet: stored.alphabet,
    sos: stored.alphabet.length + 1,
    isGated: "decoder.gate_mlp.0.weight" in weights,
    condition: weights["encoder.condition.weight"],
    reader: makeLstm(weights, "encoder"),
    mu: layer("encoder.mu"),
    toldCondition: weights["decoder.condition.weight"],
    fromZ: layer("decoder.from_z"),
    speller: makeLstm(weights, "decoder"),
    letter: layer("decoder.letter"),
    gate: [layer("decoder.gate_mlp.0"), layer("decoder.gate_mlp.2")],
  };
  model.latentSize = model.mu.bias.length;
  return model;
}

// ---- Layers ----
// In four sums, since a processor begins one addition before it has finished another.
function dot(a, b) {
  const whole = a.length - (a.length % 4);
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  for (let i = 0; i < whole; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (let i = whole; i < a.length; i++) s0 += a[i] * b[i];
  return s0 + s1 + s2 + s3;
}

const linear = ({ matrix, bias }, input) => bias.map((b, r) => b + dot(matrix[r], input));
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const argmax = (values) => values.indexOf(Math.max(...values));
const join = (a, b) => Float32Array.of(...a, ...b);

function logSoftmax(scores) {
  const largest = Math.max(...scores);
  const sum = scores.reduce((total, score) => total + Math.exp(score - largest), 0);
  return scores.map((score) => score - largest - Math.log(sum));
}

// An LSTM reads letters alone: what a letter adds to its gates is computed once.
function makeLstm(weights, part) {
  const name = `${part}.lstm`;
  const bias = weights[`${name}.bias_ih_l0`].map((b, r) => b + weights[`${name}.bias_hh_l0`][r]);
  const input = { matrix: weights[`${name}.weight_ih_l0`], bias };
  const embedding = weights[`${part}.embedding.weight`];
  return {
    ofLetter: embedding.map((vector) => linear(input, vector)),
    recurrent: weights[`${name}.weight_hh_l0`],
  };
}

function stepLstm(lstm, letter, { h, c }) {
  const size = h.length;
  const input = lstm.ofLetter[letter];
  const gate = (k, r) => input[k * size + r] + dot(lstm.recurrent[k * size + r], h);
  const next = { h: new Float32Array(size), c: new Float32Array(size) };
  for (let r = 0; r < size; r++) {
    const kept = sigmoid(gate(1, r)) * c[r];
    next.c[r] = kept + sigmoid(gate(0, r)) * Math.tanh(gate(2, r));
    next.h[r] = sigmoid(gate(3, r)) * Math.tanh(next.c[r]);
  }
  return next;
}

// ---- The models: the same as in lab5_utils.py ----
const numbersOf = (model, word) =>
  [...word].map((letter) => model.alphabet.indexOf(letter) + 1).concat(EOS);

function encode(model, word, tense) {
  const size = model.mu.matrix[0].length;
  const h = new Float32Array(size);
  h.set(model.condition[tense], size - model.condition[tense].length);
  let state = { h, c: new Float32Array(size) };
  for (const letter of numbersOf(model, word)) state = stepLstm(model.reader, letter, state);
  return linear(model.mu, state.h);
}

function start(model, z, tense) {
  const known = model.isGated ? z : join(z, model.toldCondition[tense]);
  const c = linear(model.fromZ, known);
  return { h: c.map(Math.tanh), c };
}

// What follows, by what the model knows before its gate and behind it.
function scoresOf(model, h, tense, isOpen) {
  const blind = linear(model.letter, h);
  if (!model.isGated || !isOpen) return blind;
  const hidden = linear(model.gate[0], join(h, model.toldCondition[tense])).map(Math.tanh);
  return linear(model.gate[1], hidden).map((told, k) => told + (k === EOS ? 0 : blind[k]));
}

// The letters of a form: each with its probability, and what the model knew of the tense.
// `states` are the LSTM's by what it has read: forms that begin alike share them.
function spell(model, z, tense, states = new Map()) {
  const letters = [];
  let state = start(model, z, tense);
  let letter = model.sos;
  let isOpen = !model.isGated;
  while (letter !== EOS && letters.length <= DATA.longest) {
    const read = (model.isGated ? "" : tense) + wordOf(letters);
    if (!states.has(read)) states.set(read, stepLstm(model.speller, letter, state));
    state = states.get(read);
    let scores = scoresOf(model, state.h, tense, isOpen);
    const opens = !isOpen && argmax(scores) === EOS;
    if (opens) {
      isOpen = true;
      scores = scoresOf(model, state.h, tense, isOpen);
    }
    letter = argmax(scores);
    const probability = Math.exp(logSoftmax(scores)[letter]);
    letters.push({ text: model.alphabet[letter - 1] ?? "", probability, isOpen, opens });
  }
  return letters;
}

function spellForms(model, z) {
  const states = new Map();
  return DATA.tenses.map((_, tense) => spell(model, z, tense, states));
}

const wordOf = (letters) => letters.map((letter) => letter.text).join("");
const decode = (model, z, tense) => wordOf(spell(model, z, tense));
const generate = (model, z) => spellForms(model, z).map(wordOf);

// −log p(word | z, tense) in nats, of a model with a gate: all places where it may open count.
function nats(model, z, word, tense) {
  let state = start(model, z, tense);
  let before = model.sos;
  let blind = 0; // nats of the letters so far, before the gate
  let paths = []; // nats of a path for each place where it may have opened
  for (const letter of numbersOf(model, word)) {
    state = stepLstm(model.speller, before, state);
    const costs = logSoftmax(scoresOf(model, state.h, tense, false)).map((x) => -x);
    paths.push(blind + costs[EOS]);
    const told = -logSoftmax(scoresOf(model, state.h, tense, true))[letter];
    paths = paths.map((path) => path + told);
    blind += costs[letter];
    before = letter;
  }
  const least = Math.min(...paths);
  return least - Math.log(paths.reduce((sum, path) => sum + Math.exp(least - path), 0));
}

const MODELS = {};
for (const [name, stored] of Object.entries(DATA.models)) MODELS[name] = readModel(stored);
const { network, pupil } = MODELS;
