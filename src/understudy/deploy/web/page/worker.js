// The model in a thread of its own, so that the page answers to the keyboard while it computes.

import { Model } from "./model.js";

let model;
const cancelled = new Set(); // numbers of jobs

async function read(name, progress) {
  const response = await fetch(new URL(name, import.meta.url), { cache: "no-cache" });
  if (!response.ok) throw new Error(`${name} cannot be fetched (${response.status}). Is the whole folder on the server?`);
  const chunks = [];
  let size = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    progress(value.length);
    size += value.length;
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

async function load() {
  const begin = performance.now();
  let loaded = 0;
  model = await Model.load((name) =>
    read(name, (count) => {
      loaded += count;
      postMessage({ type: "progress", loaded });
    }),
  );
  await model.logits(model.facts.task.text.length === 2 ? ["a", "b"] : "a"); // the first answer is the slowest
  postMessage({ type: "ready", ms: performance.now() - begin });
}

/** One answer at a time; a text that is typed does not wait for a whole file. */
let last = Promise.resolve();
function inTurn(text) {
  const next = last.then(() => model.answer(text));
  last = next.catch(() => {});
  return next;
}

async function answer({ job, texts }) {
  for (let i = 0; i < texts.length; i++) {
    if (cancelled.has(job)) return;
    postMessage({ type: "answer", job, i, ...(await inTurn(texts[i])) });
    if (i % 16 === 15) await new Promise((resume) => setTimeout(resume)); // so that other messages are heard
  }
  postMessage({ type: "done", job });
}

addEventListener("message", ({ data }) => {
  if (data.type === "cancel") return cancelled.add(data.job);
  const work = data.type === "load" ? load() : answer(data);
  work.catch((error) => postMessage({ type: "error", job: data.job, message: String(error.message ?? error) }));
});
