// A model of understudy in a browser: text in, label and probabilities out. Nothing is sent anywhere.
//
// Everything that an answer depends on is in config.json, which understudy.load reads, too.

import { prediction } from "./answers.js";
import { Bag, readArrays } from "./bag.js";
import { Reader } from "./reader.js";

export class Model {
  constructor(facts, reader, compute) {
    this.facts = facts;
    this.reader = reader;
    this.compute = compute;
  }

  /**
   * @param read from the name of a file of this folder to a promise of its bytes.
   */
  static async load(read) {
    const json = async (name) => JSON.parse(new TextDecoder().decode(await read(name)));
    const facts = (await json("config.json")).understudy;
    const [content, ranges, compute] = await Promise.all([
      json("tokenizer.json"),
      json("characters.json"),
      facts.web.graph ? graph(read, facts) : bag(read, facts),
    ]);
    return new Model(facts, new Reader(content, facts, ranges), compute);
  }

  /** The outputs for a text, or for a pair of texts as a list of two: a Float32Array. */
  async logits(text) {
    const { ids, segments } = this.reader.encode(text);
    return this.compute(ids, segments);
  }

  /** {label, probabilities, ms, cut}: `cut` is whether the text was too long to be read whole. */
  async answer(text) {
    const begin = performance.now();
    const { ids, segments, cut } = this.reader.encode(text);
    const found = prediction(await this.compute(ids, segments), this.facts);
    return { ...found, ms: performance.now() - begin, cut };
  }
}

async function bag(read, facts) {
  const model = new Bag(readArrays(await read("bag.npz")), facts.task.text.length === 2);
  return async (ids, segments) => model.logits(ids, segments);
}

async function graph(read, facts) {
  const [ort, wasm, bytes] = await Promise.all([import("./ort.js"), read("ort-wasm.wasm"), read("model.onnx")]);
  ort.env.wasm.numThreads = 1; // more need headers that a static server does not send
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = { mjs: new URL("./ort-wasm.js", import.meta.url).href };
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 });
  const row = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  return async (ids, segments) => {
    const all = { input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: segments };
    const found = await session.run(Object.fromEntries(facts.inputs.map((name) => [name, row(all[name])])));
    return found.logits.data;
  };
}
