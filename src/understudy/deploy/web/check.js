// The answers of an exported page, computed by Node: {texts} on standard input, {ids, logits} on standard output.

import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { join, resolve } from "node:path";

const folder = resolve(process.argv[2]);
const { Model } = await import(pathToFileURL(join(folder, "model.js")).href);
const model = await Model.load(async (name) => new Uint8Array(await readFile(join(folder, name))));
let given = "";
for await (const chunk of process.stdin.setEncoding("utf-8")) given += chunk;
const answers = [];
for (const text of JSON.parse(given)) {
  const { ids, segments } = model.reader.encode(text);
  answers.push({ ids, segments, logits: Array.from(await model.compute(ids, segments)) });
}
process.stdout.write(JSON.stringify(answers));
