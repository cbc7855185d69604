// The models of lab5_utils.py, in JavaScript, with the weights that page.py has packed.
"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const EOS = 0; // ends a word; before the gate it opens the gate

// ---- Weights ----
function readBytes(text) {
  return Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0)).buffer;
}

// A vector, or a matrix as an array of its rows; a row is whole numbers times a scale.
function readWeight({ shape, scales, numbers }) {
  const columns = shape.at(-1);
  const values = new Float32Array(new Int8Array(readBytes(numbers)));
  const rowOf = (scale, row) =>
    values.subarray(row * columns, (row + 1) * columns).map((number) => number * scale);
  const rows = Array.from(new Float32Array(readBytes(scales)), rowOf);
  return shape.length > 1 ? rows : rows[0];
}

function readModel(stored) {
  const weights = {};
  for (const [name, weight] of Object.entries(stored.weights)) weights[name] = readWeight(weight);
  const layer = (name) => ({ matrix: weights[`${name}.weight`], bias: weights[`${name}.bias`] });
  return {
    alphabet: [...stored.alphabet],
    isBackwards: stored.backwards,
    isGated: "decoder.gate_mlp.0.weight" in weights,
    encoderCondition: weights["encoder.condition.weight"],
    encoderLstm: makeLstm(weights, "encoder"),
    mu: layer("encoder.mu"),
    decoderCondition: weights["decoder.condition.weight"],
    fromZ: layer("decoder.from_z"),
    decoderLstm: makeLstm(weights, "decoder"),
    letter: layer("decoder.letter"),
    gate: [layer("decoder.gate_mlp.0"), layer("decoder.gate_mlp.2")],
  };
}

// ---- Layers ----
function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

const linear = ({ matrix, bias }, input) => bias.map((b, row) => b + dot(matrix[row], input));
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const argmax = (values) => values.indexOf(Math.max(...values));
const join = (a, b) => Float32Array.of(...a, ...b);

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power);
  return powers.map((power) => power / sum);
}

// What a letter adds to the LSTM's four gates is computed once.
function makeLstm(weights, part) {
  const name = `${part}.lstm`;
  const recurrentBias = weights[`${name}.bias_hh_l0`];
  const bias = weights[`${name}.bias_ih_l0`].map((b, row) => b + recurrentBias[row]);
  const input = { matrix: weights[`${name}.weight_ih_l0`], bias };
  return {
    ofLetter: weights[`${part}.embedding.weight`].map((letter) => linear(input, letter)),
    recurrent: weights[`${name}.weight_hh_l0`],
  };
}

function stepLstm(lstm, letter, { h, c }) {
  const size = h.length;
  const gates = lstm.ofLetter[letter].map((input, row) => input + dot(lstm.recurrent[row], h));
  const [input, forget, cell, output] = [0, 1, 2, 3].map((k) =>
    gates.subarray(k * size, (k + 1) * size),
  );
  const nextC = c.map((x, k) => sigmoid(forget[k]) * x + sigmoid(input[k]) * Math.tanh(cell[k]));
  return { h: nextC.map((x, k) => sigmoid(output[k]) * Math.tanh(x)), c: nextC };
}

// ---- Encoder and decoder ----
function encode(model, word, tense) {
  const size = model.mu.matrix[0].length;
  const condition = model.encoderCondition[tense];
  const h = new Float32Array(size);
  h.set(condition, size - condition.length);
  let state = { h, c: new Float32Array(size) };
  for (const letter of model.isBackwards ? [...word].reverse() : word) {
    state = stepLstm(model.encoderLstm, model.alphabet.indexOf(letter) + 1, state);
  }
  return linear(model.mu, stepLstm(model.encoderLstm, EOS, state).h);
}

function initialState(model, z, tense) {
  const known = model.isGated ? z : join(z, model.decoderCondition[tense]);
  const c = linear(model.fromZ, known);
  return { h: c.map(Math.tanh), c };
}

function logitsAfterGate(model, h, blind, tense) {
  const hidden = linear(model.gate[0], join(h, model.decoderCondition[tense])).map(Math.tanh);
  return linear(model.gate[1], hidden).map((logit, k) => logit + (k === EOS ? 0 : blind[k]));
}

// The letters of a form, its end included. Each has its probability, and says whether the tense is
// known by then (isOpen), and whether the gate opens before it (opens). Forms that begin alike share
// their states.
function spell(model, z, tense, states = new Map()) {
  const letters = [];
  let state = initialState(model, z, tense);
  let letter = model.alphabet.length + 1; // SOS
  let isOpen = !model.isGated;
  while (letter !== EOS && letters.length <= DATA.longest) {
    const read = (model.isGated ? "" : tense) + wordOf(letters);
    if (!states.has(read)) states.set(read, stepLstm(model.decoderLstm, letter, state));
    state = states.get(read);
    let logits = linear(model.letter, state.h);
    const opens = !isOpen && argmax(logits) === EOS;
    isOpen ||= opens;
    if (model.isGated && isOpen) logits = logitsAfterGate(model, state.h, logits, tense);
    letter = argmax(logits);
    const text = model.alphabet[letter - 1] ?? "";
    letters.push({ text, probability: softmax(logits)[letter], isOpen, opens });
  }
  return letters;
}

const wordOf = (letters) => letters.map((letter) => letter.text).join("");
function spellForms(model, z) {
  const states = new Map();
  return DATA.tenses.map((_, tense) => spell(model, z, tense, states));
}

const generate = (model, z) => spellForms(model, z).map(wordOf);

const MODELS = {};
for (const [name, stored] of Object.entries(DATA.models)) MODELS[name] = readModel(stored);
