// What is on the page: one text while it is typed, many texts from a file. The model itself is in worker.js.

import { asCsv, joined, readFile, rowsOf } from "./tables.js";

const SHOWN = 200; // rows of the table; all are saved
const $ = (id) => document.getElementById(id);
const made = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const percent = (share) => `${(100 * share).toFixed(share > 0.0995 && share < 0.9995 ? 1 : 2)} %`;
const milliseconds = (ms) => `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms`;
const bytes = (count) => (count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`);
const written = (label) => (Array.isArray(label) ? label.join(", ") || "none" : typeof label === "number" ? label.toFixed(3) : label);
const plural = (many, one) => (many === 1 ? one : `${one}s`);

let facts;
let pair = false;
let ready = false;
let job = 0;
let typed = 0; // the job of the text that is typed
let batch = null; // {job, texts, answers, began}
let table = null; // a dropped file: {names, rows}

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
worker.addEventListener("error", () => failed("The model could not start in this browser. It needs modules in workers and WebAssembly."));
worker.addEventListener("message", ({ data }) => {
  if (data.type === "progress") return loading(data.loaded);
  if (data.type === "ready") return started(data.ms);
  if (data.type === "error") return data.job === undefined || data.job === typed ? failed(data.message) : finished(data.message);
  if (data.type === "answer" && data.job === typed) return shown(data);
  if (batch && data.job === batch.job) return data.type === "answer" ? collected(data) : finished();
});

async function begin() {
  $("state").textContent = "Loading the model…";
  const response = await fetch(new URL("config.json", import.meta.url), { cache: "no-cache" }); // files of two exports do not mix
  if (!response.ok) throw new Error(`config.json cannot be fetched (${response.status}). Is the whole folder on the server?`);
  facts = (await response.json()).understudy;
  pair = facts.task.text.length === 2;
  document.title = $("title").textContent = facts.web.title;
  $("second-field").hidden = !pair;
  const names = facts.task.text.map((columns) => columns.join(" + "));
  if (pair) {
    $("first-label").textContent = names[0];
    $("second-label").textContent = names[1];
    $("one-title").textContent = "One pair of texts";
    $("many-title").textContent = "Many pairs";
    $("lines-label").textContent = "One pair a line, a tab between its texts";
    $("lines").placeholder = "Paste pairs here, or drop a .csv file";
  }
  about();
  $("loading").hidden = false;
  worker.postMessage({ type: "load" });
}

function loading(loaded) {
  const total = Object.values(facts.web.files).reduce((sum, size) => sum + size, 0);
  $("loading").value = Math.min(1, loaded / total);
}

function started(ms) {
  ready = true;
  $("loading").hidden = true;
  $("state").textContent = `Ready: loaded in ${ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`}. Everything from here on works offline.`;
  classify();
  enable();
}

function failed(message) {
  $("status").classList.add("failed");
  $("loading").hidden = true;
  $("state").textContent = message;
}

/** The text that is typed, or null where there is none. */
function text() {
  const parts = [$("first").value, $("second").value].slice(0, pair ? 2 : 1);
  return parts.some((part) => part !== "") ? (pair ? parts : parts[0]) : null;
}

let timer;
function typing() {
  $("result").classList.add("stale");
  clearTimeout(timer);
  timer = setTimeout(classify, 60);
}

function classify() {
  const one = text();
  if (!ready) return;
  if (one === null) {
    typed = 0;
    $("result").hidden = true;
    return;
  }
  if (typed) worker.postMessage({ type: "cancel", job: typed });
  typed = ++job;
  worker.postMessage({ type: "texts", job: typed, texts: [one] });
}

function shown({ label, probabilities, ms, cut }) {
  $("result").hidden = false;
  $("result").classList.remove("stale");
  $("answer").textContent = written(label);
  $("latency").textContent = `${milliseconds(ms)} on this device`;
  $("cut").hidden = !cut;
  $("cut").textContent = `Longer than ${facts.max_length} tokens: only its ${facts.truncation_side === "left" ? "end" : "beginning"} was read.`;
  const order = facts.task.labels.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
  const chosen = new Set([label].flat());
  $("bars").replaceChildren(
    ...order.slice(0, 30).map((i) => {
      const name = facts.task.labels[i];
      const item = made("li", chosen.has(name) ? "chosen" : "");
      const track = made("span", "track");
      const fill = made("span");
      fill.style.setProperty("--share", probabilities[i]);
      track.append(fill);
      const named = made("span", "name", name);
      named.title = name;
      item.append(named, track, made("span", "share", percent(probabilities[i])));
      return item;
    }),
  );
}

/** The texts that "Label all" would label. */
function given() {
  const chosen = table ? [...$("columns").querySelectorAll("select")].map((one) => one.value.split(",").map(Number)) : [];
  const rows = table ? table.rows : rowsOf($("lines").value, pair);
  if (!chosen.length) return rows.map((row) => (pair ? row : row[0]));
  return rows.map((row) => (pair ? chosen.map((columns) => joined(row, columns)) : joined(row, chosen[0])));
}

function enable() {
  const count = given().length;
  $("run").disabled = !ready || !count || batch !== null;
  $("run").textContent = count ? `Label ${count.toLocaleString("en")} ${plural(count, pair ? "pair" : "text")}` : "Label all";
}

function run() {
  const texts = given();
  if (!ready || !texts.length || batch) return;
  const odd = pair ? texts.findIndex((one) => one.length !== 2) : -1;
  if (odd >= 0) {
    $("many-state").textContent = `Row ${(odd + 1).toLocaleString("en")} is no pair. Write its two texts with a tab between them, or drop a table with a column for each.`;
    return;
  }
  batch = { job: ++job, texts, answers: [], began: performance.now() };
  $("stop").hidden = false;
  $("save").hidden = true;
  $("many-progress").hidden = false;
  $("table").hidden = false;
  $("rows").replaceChildren();
  const single = facts.task.kind === "single_label";
  const heads = [...(pair ? ["first text", "second text"] : ["text"]), facts.task.kind === "regression" ? "number" : "label", ...(single ? ["probability"] : [])];
  $("head").replaceChildren(...heads.map((name) => made("th", ["probability", "number"].includes(name) ? "number" : "", name)));
  worker.postMessage({ type: "texts", job: batch.job, texts });
  enable();
}

function collected({ i, label, probabilities }) {
  batch.answers.push({ label, probabilities });
  $("many-progress").value = batch.answers.length / batch.texts.length;
  if (i < SHOWN) {
    const row = made("tr");
    row.append(...[batch.texts[i]].flat().map((one) => made("td", "text", one.length > 300 ? `${one.slice(0, 300)}…` : one)));
    const number = facts.task.kind === "regression";
    row.append(made("td", number ? "label number" : "label", written(label)));
    if (facts.task.kind === "single_label") row.append(made("td", "number", percent(Math.max(...probabilities))));
    $("rows").append(row);
  }
  if (i % 25 === 0) $("many-state").textContent = `${batch.answers.length.toLocaleString("en")} of ${batch.texts.length.toLocaleString("en")}`;
}

let saved = null;
function finished(problem) {
  if (!batch) return;
  const { texts, answers, began } = batch;
  const seconds = (performance.now() - began) / 1000;
  saved = batch;
  batch = null;
  $("many-progress").hidden = true;
  $("stop").hidden = true;
  $("save").hidden = !answers.length;
  const rate = Math.round(answers.length / Math.max(seconds, 1e-3)).toLocaleString("en");
  const count = `${answers.length.toLocaleString("en")} of ${texts.length.toLocaleString("en")} labelled in ${seconds.toFixed(1)} s, ${rate} a second.`;
  const rest = answers.length > SHOWN ? ` The table shows the first ${SHOWN}; the file has all.` : "";
  $("many-state").textContent = problem ? `${problem} ${count}` : count + rest;
  enable();
}

function save() {
  const several = facts.task.kind !== "regression";
  const head = [...facts.task.text.map((columns) => columns.join(" + ")), facts.task.label, ...(several ? facts.task.labels.map((label) => `p(${label})`) : [])];
  const rows = saved.answers.map(({ label, probabilities }, i) => [
    ...[saved.texts[i]].flat(),
    Array.isArray(label) ? label.join(", ") : label,
    ...probabilities.map((share) => share.toFixed(6)),
  ]);
  const link = made("a");
  link.href = URL.createObjectURL(new Blob([asCsv([head, ...rows])], { type: "text/csv" }));
  link.download = `${facts.web.title}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function take(file) {
  if (!file || !facts) return;
  const known = facts.task.text.flat().map((name) => name.toLowerCase());
  try {
    const content = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    table = readFile(file.name, content, known, pair);
  } catch (error) {
    $("many-state").textContent = `${file.name}: ${error instanceof TypeError ? "is not UTF-8. Save it as UTF-8." : error.message}`;
    return;
  }
  $("lines").value = "";
  $("lines").placeholder = `${file.name}: ${table.rows.length.toLocaleString("en")} rows. Type here to leave it.`;
  const guessed = table.guessed ? `The first row is taken for the names of the columns: ${table.names.join(", ")}.` : "";
  $("many-state").textContent = table.rows.length ? guessed : `${file.name} has no rows.`;
  const names = table.names ?? [];
  $("columns").replaceChildren();
  $("columns").hidden = names.length < 2;
  if (names.length > 1) facts.task.text.forEach((columns, number) => $("columns").append(chooser(names, columns, number)));
  enable();
}

/** Which column of a file has a text. */
function chooser(names, columns, number) {
  const wanted = [...columns, "text", "sentence", "review", "content"].map((name) => name.toLowerCase());
  const likely = names.map((name) => wanted.indexOf(name.toLowerCase()));
  const best = likely.reduce((found, rank, i) => (rank >= 0 && (found < 0 || rank < likely[found]) ? i : found), -1);
  const label = made("label", "", pair ? `Text ${number + 1}: ` : "Column: ");
  const select = made("select");
  const folded = names.map((name) => name.toLowerCase());
  const all = columns.map((name) => folded.indexOf(name.toLowerCase()));
  if (columns.length > 1 && all.every((i) => i >= 0)) {
    const option = made("option", "", columns.join(" + "));
    option.value = all.join(",");
    select.append(option);
  }
  names.forEach((name, i) => {
    const option = made("option", "", name || `column ${i + 1}`);
    option.value = i;
    select.append(option);
  });
  if (select.options[0].value === all.join(",") && all.length > 1) select.selectedIndex = 0;
  else select.value = best >= 0 ? best : Math.min(number, names.length - 1);
  select.addEventListener("change", enable);
  label.append(select);
  return label;
}

function about() {
  const { task, quantized, web } = facts;
  const size = Object.values(web.files).reduce((sum, one) => sum + one, 0);
  const kinds = { single_label: `one of ${task.labels.length} labels`, multi_label: `any of ${task.labels.length} labels`, regression: "a number" };
  const told = {
    Model: `${facts.of}, ${facts.parameters.toLocaleString("en")} parameters, weights in ${quantized ? quantized.to : "fp32"}`,
    Answers: kinds[task.kind],
    "Longest text": `${facts.max_length.toLocaleString("en")} tokens; what is longer is cut`,
    Loads: bytes(size),
  };
  if (task.kind !== "regression") told.Temperature = facts.temperature.toFixed(2);
  if (quantized) {
    const score = (value) => (100 * value).toFixed(2);
    told[`${quantized.metric}`] = `${score(quantized.after)} in ${quantized.to}, ${score(quantized.before)} before (${quantized.rows.toLocaleString("en")} rows)`;
  }
  if (web.checked) {
    const { texts, other_labels: others, difference } = web.checked;
    const found = task.kind === "regression" ? `numbers differ by ${difference.toPrecision(1)} at most` : others ? `${others} labels differ` : "same answers";
    told.Checked = `against the original on ${texts.toLocaleString("en")} texts: ${found}`;
  }
  $("about").replaceChildren(...Object.entries(told).flatMap(([name, value]) => [made("dt", "", name), made("dd", "", value)]));
  const licence = (file, name) => {
    const link = made("a", "", name);
    link.href = file;
    return link;
  };
  $("licences").append("Made with understudy. Uses ", licence("LICENSE-tokenizers.txt", `@huggingface/tokenizers ${web.packages["@huggingface/tokenizers"]}`));
  if (web.graph) $("licences").append(" and ", licence("LICENSE-onnxruntime.txt", `onnxruntime-web ${web.packages["onnxruntime-web"]}`));
  $("licences").append(".");
}

for (const id of ["first", "second"]) $(id).addEventListener("input", typing);
$("lines").addEventListener("input", () => {
  table = null;
  $("columns").hidden = true;
  enable();
});
$("lines").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
});
$("run").addEventListener("click", run);
$("save").addEventListener("click", save);
$("stop").addEventListener("click", () => {
  if (!batch) return;
  worker.postMessage({ type: "cancel", job: batch.job });
  finished("Stopped.");
});
$("file").addEventListener("change", () => take($("file").files[0]));
for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    $("many").classList.add("dropping");
  });
}
for (const kind of ["dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    $("many").classList.remove("dropping");
    if (kind === "drop") take(event.dataTransfer?.files[0]);
  });
}
begin().catch((error) => failed(String(error.message ?? error)));
