"use strict";
// Texts and labels come from people and files: they are only ever set as text, never as HTML.

const at = (id) => document.getElementById(id);
const ROWS_AT_ONCE = 128;
let models = [];

function made(kind, text, classes) {
  const node = document.createElement(kind);
  if (text !== undefined) node.textContent = text;
  if (classes) node.className = classes;
  return node;
}

async function asked(path, body, signal) {
  const sent = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal };
  for (;;) {
    const answer = await fetch(path, body === undefined ? {} : sent);
    if (answer.status === 503 && body !== undefined && body.texts) { // the server has much to do: wait as it says
      await waited(1000 * (Number(answer.headers.get("Retry-After")) || 1), signal);
      continue;
    }
    const told = await answer.json();
    if (!answer.ok) throw new Error((told.detail || [answer.statusText]).join(" "));
    return told;
  }
}

function waited(milliseconds, signal) {
  return new Promise((done, failed) => {
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); failed(signal.reason); }, { once: true });
  });
}

const shown = (number, digits = 1) => Number(number).toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });

async function begin() {
  try {
    const told = await asked("models");
    models = told.models;
    const broken = Object.keys(told.problems);
    at("state").textContent = `${models.length} ${models.length === 1 ? "model" : "models"}: ${models.map((model) => model.name).join(", ")}` +
      (broken.length ? `. Not loaded again: ${broken.join(", ")}` : "");
    at("second").hidden = at("pair-column").hidden = !models.some((model) => model.texts_a_row === 2);
    for (const model of models) {
      const label = made("label", undefined, "check");
      const box = made("input");
      box.type = "checkbox";
      box.checked = true;
      box.value = model.name;
      label.append(box, ` ${model.name}`);
      at("choices").append(label);
    }
    const linked = new URLSearchParams(location.hash.slice(1)); // …/#text=A+quiet+film asks at once
    if (linked.has("text")) {
      at("text").value = linked.get("text");
      at("other").value = linked.get("other") ?? "";
      await ask();
    }
  } catch (error) {
    at("state").textContent = `The server does not answer: ${error.message}`;
    at("state").classList.add("fault");
  }
}

// ---- one text, all models

let turn = 0;

async function ask(event) {
  event?.preventDefault();
  const text = at("text").value, other = at("other").value, mine = ++turn;
  const cards = models.map((model) => {
    const card = made("article");
    const title = made("h3", model.name);
    title.append(made("span", "…", "soft"));
    card.append(title);
    return card;
  });
  at("answers").replaceChildren(...cards);
  at("legend").hidden = true;
  for (const [place, model] of models.entries()) { // one after the other, so that the times are each model's own
    if (mine !== turn) return;
    await answer(model, cards[place], model.texts_a_row === 2 ? [text, other] : text, () => mine === turn);
  }
}

async function answer(model, card, text, current) {
  const title = card.firstChild, started = performance.now();
  try {
    const told = await asked("predict", { text, model: model.name });
    if (!current()) return;
    const there = performance.now() - started;
    title.lastChild.textContent = `${shown(told.computed_ms, 2)} ms in the model, ${shown(there)} ms in all`;
    const { label, probabilities } = told.predictions[0];
    const name = Array.isArray(label) ? (label.length ? label.join(", ") : "no label") : typeof label === "number" ? shown(label, 3) : label;
    card.append(made("p", name, "label"));
    if (probabilities) card.append(bars(probabilities));
    if (at("explain").checked) await explain(model, card, text, current);
  } catch (error) {
    title.lastChild.textContent = "";
    card.append(made("p", error.message, "fault"));
  }
}

function bars(probabilities) {
  const list = made("dl");
  const likeliest = Object.entries(probabilities).sort((one, two) => two[1] - one[1]).slice(0, 8);
  for (const [label, share] of likeliest) {
    const bar = made("meter");
    bar.max = 1;
    bar.value = share;
    bar.setAttribute("aria-label", label);
    list.append(made("dt", label), bar, made("dd", `${shown(100 * share)} %`));
  }
  const rest = Object.keys(probabilities).length - likeliest.length;
  if (rest > 0) list.append(made("dt", `${rest} more`), made("span"), made("dd", ""));
  return list;
}

async function explain(model, card, text, current) {
  if (!model.attributions) {
    card.append(made("p", "No gradients here: which words count is not known for this format.", "soft"));
    return;
  }
  const told = await asked("attributions", { text, model: model.name });
  if (!current()) return;
  card.append(heat(told, Array.isArray(text) ? text : [text]));
  card.append(made("p", `${told.method}, for “${told.label}”; ${shown(told.computed_ms, 2)} ms`, "soft"));
  at("legend").hidden = false;
}

function heat(told, texts) {
  const box = made("div", undefined, "heat");
  const most = Math.max(...told.tokens.map((token) => Math.abs(token.score)), 1e-12);
  const placed = told.tokens.filter((token) => token.start !== null && token.end > token.start);
  if (!placed.length) { // the tokenizer tells no places: the tokens stand side by side
    for (const token of told.tokens) box.append(mark(token.token, token.score, most), " ");
    return box;
  }
  texts.forEach((text, number) => {
    const characters = Array.from(text); // as Python counts them
    const scores = new Array(characters.length).fill(0);
    const edges = new Set([0, characters.length]);
    for (const token of placed.filter((one) => one.text === number)) {
      edges.add(token.start).add(token.end);
      for (let i = token.start; i < token.end; i++) scores[i] += token.score;
    }
    const places = [...edges].sort((one, two) => one - two);
    if (number) box.append(made("br"));
    for (let i = 0; i + 1 < places.length; i++) {
      box.append(mark(characters.slice(places[i], places[i + 1]).join(""), scores[places[i]], most));
    }
  });
  return box;
}

function mark(text, score, most) {
  if (!score) return made("span", text);
  const node = made("mark", text);
  const strength = Math.min(Math.abs(score) / most, 1);
  node.style.backgroundColor = `rgba(var(${score > 0 ? "--for" : "--against"}), ${(0.75 * strength).toFixed(3)})`;
  node.title = `${score > 0 ? "+" : "−"}${Math.abs(score).toPrecision(3)}`;
  return node;
}

// ---- a file of texts

let table = null, stopping = null, link = null;

function parsedTable(content) {
  const first = content.split(/\r?\n/, 1)[0];
  const comma = [",", ";", "\t"].map((mark) => [first.split(mark).length, mark]).sort((one, two) => two[0] - one[0])[0][1];
  const rows = [];
  let row = [], cell = "", quoted = false, begun = false;
  for (let i = 0; i < content.length; i++) {
    const c = content[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (content[i + 1] === '"') { cell += '"'; i++; } else quoted = false;
    } else if (c === '"' && cell === "") { quoted = begun = true;
    } else if (c === comma) { row.push(cell); cell = ""; begun = true;
    } else if (c === "\n" || c === "\r") {
      if (c === "\r" && content[i + 1] === "\n") i++;
      if (begun || cell !== "") rows.push([...row, cell]);
      row = []; cell = ""; begun = false;
    } else { cell += c; }
  }
  if (quoted) throw new Error("A quotation mark is opened and never closed.");
  if (begun || cell !== "") rows.push([...row, cell]);
  return rows;
}

// a .txt has one text a line, of pairs two with a tab between them: no names of columns, and commas are part of the text
function linesOf(content) {
  const pairs = models.some((model) => model.texts_a_row === 2);
  const rows = content.split(/\r\n|\r|\n/).filter((line) => line.trim()).map((line) => pairs ? line.split("\t") : [line]);
  return [rows.some((row) => row.length > 1) ? ["text", "second text"] : ["text"], ...rows];
}

async function opened(file) {
  if (!file) return;
  stopping?.abort();
  at("result").hidden = true;
  try {
    const content = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    const [header, ...rows] = /\.txt$/i.test(file.name) ? linesOf(content) : parsedTable(content);
    if (!header || !rows.length) throw new Error("It holds no rows, or a line of column names alone.");
    table = { header, rows, name: file.name.replace(/\.[^.]*$/, "") };
    at("found").textContent = `${file.name}: ${rows.length.toLocaleString("en")} rows, columns ${header.join(", ")}`;
    const usual = header.findIndex((name) => /^(text|sentence1?|review|content|question1?|premise|body)$/i.test(name.trim()));
    for (const [id, chosen] of [["column", Math.max(usual, 0)], ["other-column", Math.min(Math.max(usual, 0) + 1, header.length - 1)]]) {
      at(id).replaceChildren(...header.map((name, place) => new Option(name || `column ${place + 1}`, place, place === chosen, place === chosen)));
    }
    at("rows").hidden = false;
    at("told").textContent = "";
    at("told").className = "";
    at("start").focus();
  } catch (error) {
    at("rows").hidden = false;
    at("found").textContent = file.name;
    table = null;
    at("told").textContent = error instanceof TypeError ? "The file is not UTF-8. Save it as CSV in UTF-8." : error.message;
    at("told").className = "fault";
  }
}

async function answerRows(event) {
  event.preventDefault();
  const chosen = [...at("choices").querySelectorAll("input:checked")].map((box) => models.find((model) => model.name === box.value));
  if (!table || !chosen.length) return;
  stopping = new AbortController();
  const { signal } = stopping, { header, rows, name } = table;
  const column = Number(at("column").value), other = Number(at("other-column").value);
  const added = rows.map(() => []);
  at("start").disabled = true;
  at("stop").hidden = at("progress").hidden = false;
  at("result").hidden = true;
  at("told").className = "";
  const started = performance.now();
  try {
    for (let begin = 0; begin < rows.length; begin += ROWS_AT_ONCE) {
      const some = rows.slice(begin, begin + ROWS_AT_ONCE);
      const single = some.map((row) => row[column] ?? "");
      const answers = await Promise.all(chosen.map((model) => asked("predict", {
        texts: model.texts_a_row === 2 ? some.map((row, i) => [single[i], row[other] ?? ""]) : single, model: model.name,
      }, signal)));
      answers.forEach((told) => told.predictions.forEach(({ label, probabilities }, i) => {
        added[begin + i].push(Array.isArray(label) ? label.join("|") : label, typeof label === "string" && probabilities ? probabilities[label].toFixed(6) : "");
      }));
      const done = Math.min(begin + ROWS_AT_ONCE, rows.length);
      at("progress").value = done / rows.length;
      at("told").textContent = `${done.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows, ${shown(1000 * done / (performance.now() - started), 0)} a second`;
    }
    const names = chosen.flatMap((model) => [`${model.name}_label`, `${model.name}_probability`]);
    const width = rows.reduce((most, row) => Math.max(most, row.length), header.length);
    const lines = [header, ...rows].map((row, i) => [...Array.from({ length: width }, (_, c) => row[c] ?? ""), ...(i ? added[i - 1] : names)]);
    if (link) URL.revokeObjectURL(link);
    link = URL.createObjectURL(new Blob([lines.map((line) => line.map(cellOf).join(",")).join("\r\n"), "\r\n"], { type: "text/csv" }));
    at("result").href = link;
    at("result").download = `${name}-answers.csv`;
    at("result").hidden = false;
    at("result").focus();
  } catch (error) {
    at("told").textContent = signal.aborted ? "Stopped." : error.message;
    at("told").className = signal.aborted ? "" : "fault";
  } finally {
    at("start").disabled = false;
    at("stop").hidden = at("progress").hidden = true;
  }
}

function cellOf(value) {
  const text = String(value);
  return /[",;\s]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

at("ask").addEventListener("submit", ask);
at("ask").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); at("ask").requestSubmit(); } });
at("file").addEventListener("change", () => opened(at("file").files[0]));
at("rows").addEventListener("submit", answerRows);
at("stop").addEventListener("click", () => stopping?.abort());
for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => { event.preventDefault(); at("drop").classList.add("over"); });
for (const kind of ["dragleave", "drop"]) addEventListener(kind, (event) => { event.preventDefault(); at("drop").classList.remove("over"); });
addEventListener("drop", (event) => opened(event.dataTransfer?.files[0]));
begin();
