// Texts in, token ids out: the same as the tokenizer of the trained model.
//
// @huggingface/tokenizers finds the pieces. What a browser could do otherwise than the tokenizer that the model was trained
// with, because it has other tables of Unicode, is done here by the tables of characters.json: which characters are removed,
// are spaces, marks, punctuation, or have a lower-case form.

import { Tokenizer } from "./tokenizers.js";

const KINDS = ["removed", "space", "chinese", "decomposed", "mark", "lowered", "white", "punctuation", "word"];
const [REMOVED, SPACE, CHINESE, DECOMPOSED, MARK, LOWERED, WHITE, PUNCTUATION, WORD] = KINDS.map((_, i) => 1 << i);
const CHARACTERS = 0x110000;

/** Flags of every character, from ranges {kind: [first, last, first, last, …]}. */
export function flagsOf(ranges) {
  const flags = new Uint16Array(CHARACTERS);
  KINDS.forEach((kind, bit) => {
    const ends = ranges[kind];
    for (let i = 0; i < ends.length; i += 2) {
      for (let code = ends[i]; code <= ends[i + 1]; code++) flags[code] |= 1 << bit;
    }
  });
  return flags;
}

/** Reads texts for one model: special tokens are added, long texts are cut, nothing is padded. */
export class Reader {
  constructor(content, facts, ranges) {
    this.facts = facts;
    this.flags = flagsOf(ranges);
    const added = facts.spell_special ? content.added_tokens.filter((token) => !token.special) : content.added_tokens;
    this.tokenizer = new Tokenizer({ ...content, added_tokens: added, post_processor: null }, { unk_token: content.model.unk_token });
    const normalizer = this.normalizer(content.normalizer);
    const splitter = this.splitter(content.pre_tokenizer);
    if (normalizer) this.tokenizer.normalizer = normalizer;
    if (splitter) this.tokenizer.pre_tokenizer = splitter;
    this.tokenizer.model = byWord(this.tokenizer.model);
  }

  /** {ids, segments, cut}: of a text, or of a pair of texts as a list of two. */
  encode(text) {
    const parts = (Array.isArray(text) ? text : [text]).map((part) => this.pieces(part));
    const { template, segments: kind } = this.facts.web.reading;
    const limit = this.facts.max_length - template.filter((slot) => "id" in slot).length;
    const kept = cutLengths(parts.map((part) => part.length), limit);
    const left = this.facts.truncation_side === "left";
    const cut = parts.map((part, i) => (left ? part.slice(part.length - kept[i]) : part.slice(0, kept[i])));
    const ids = [];
    const segments = [];
    let begun = 0; // 1 from the first token of the second text on
    for (const slot of template) {
      const added = "id" in slot ? [slot.id] : cut[slot.text];
      if (slot.text === 1 && added.length) begun = 1;
      const segment = kind === "types" ? slot.type : kind === "sequences" ? begun : 0;
      for (const id of added) {
        ids.push(id);
        segments.push(segment);
      }
    }
    const lost = parts.some((part, i) => part.length > kept[i]);
    if (ids.length) return { ids, segments, cut: lost };
    return { ids: [this.facts.pad_id], segments: [kind === "none" ? 0 : this.facts.pad_segment], cut: lost };
  }

  /** The ids of a text without special tokens. */
  pieces(text) {
    const whole = typeof text.toWellFormed === "function" ? text.toWellFormed() : text;
    return this.tokenizer.encode(whole, { add_special_tokens: false }).ids;
  }

  /** What rewrites a text, or null where the library's own does as well. */
  normalizer(config) {
    if (config?.type === "BertNormalizer") return (text) => this.bert(text, config);
    if (config?.type === "Lowercase") return (text) => this.mapped(text, (one, flags) => (flags & LOWERED ? one.toLowerCase() : one));
    if (config?.type !== "Sequence") return null;
    const steps = config.normalizers.map((one) => this.normalizer(one) ?? librarys("normalizer", one));
    return (text) => steps.reduce((found, step) => step(found), text);
  }

  /** What splits a text into words, or null where the library's own does as well. */
  splitter(config) {
    const each = (split) => (texts) => (Array.isArray(texts) ? texts : [texts]).flatMap(split);
    if (config?.type === "BertPreTokenizer") return each((text) => this.words(text));
    if (config?.type === "Punctuation" && (config.behavior ?? "Isolated") === "Isolated") return each((text) => this.words(text, 0));
    if (config?.type === "Whitespace") return each((text) => this.runs(text));
    if (config?.type !== "Sequence") return null;
    const steps = config.pretokenizers.map((one) => this.splitter(one) ?? librarys("pre_tokenizer", one));
    return (text, options) => steps.reduce((found, step) => step(found, options), [text]);
  }

  mapped(text, change) {
    let found = "";
    for (const one of text) found += change(one, this.flags[one.codePointAt(0)]);
    return found;
  }

  bert(text, { clean_text, handle_chinese_chars, strip_accents, lowercase }) {
    if (clean_text) text = this.mapped(text, (one, flags) => (flags & REMOVED ? "" : flags & SPACE ? " " : one));
    if (handle_chinese_chars) text = this.mapped(text, (one, flags) => (flags & CHINESE ? ` ${one} ` : one));
    if (strip_accents ?? lowercase) {
      text = this.mapped(text, (one, flags) => (flags & DECOMPOSED ? one.normalize("NFD") : one));
      text = this.mapped(text, (one, flags) => (flags & MARK ? "" : one));
    }
    return lowercase ? this.mapped(text, (one, flags) => (flags & LOWERED ? one.toLowerCase() : one)) : text;
  }

  /** Splits at white space, which is lost, and around each mark of punctuation. */
  words(text, white = WHITE) {
    const found = [];
    let word = "";
    for (const one of text) {
      const flags = this.flags[one.codePointAt(0)];
      if (!(flags & (white | PUNCTUATION))) {
        word += one;
        continue;
      }
      if (word) found.push(word);
      word = "";
      if (!(flags & white)) found.push(one);
    }
    if (word) found.push(word);
    return found;
  }

  /** Runs of letters and digits, and runs of what is neither these nor white space. */
  runs(text) {
    const found = [];
    let last = -1;
    for (const one of text) {
      const flags = this.flags[one.codePointAt(0)];
      const kind = flags & WORD ? 1 : flags & WHITE ? 0 : 2;
      if (kind && kind === last) found[found.length - 1] += one;
      else if (kind) found.push(one);
      last = kind;
    }
    return found;
  }
}

/** How many tokens of each text are kept, so that there are at most `limit`: the longer of two is cut first. */
export function cutLengths(lengths, limit) {
  if (lengths.length === 1) return [Math.min(lengths[0], limit)];
  if (lengths[0] + lengths[1] <= limit) return lengths;
  const swapped = lengths[0] > lengths[1];
  let short = Math.min(...lengths);
  let long = short > limit ? short : Math.max(short, limit - short);
  if (short + long > limit) {
    short = Math.floor(limit / 2);
    long = short + (limit % 2);
  }
  return swapped ? [long, short] : [short, long];
}

/** A model of pieces that joins unknown characters within a word only, as the tokenizer of the trained model does. */
function byWord(model) {
  const { tokens_to_ids, unk_token_id, vocab } = model;
  return Object.assign((words) => words.flatMap((word) => model([word])), { tokens_to_ids, unk_token_id, vocab });
}

/** A step of the library alone. */
function librarys(kind, config) {
  const model = { type: "WordPiece", vocab: {}, unk_token: "?" };
  const empty = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, model };
  return new Tokenizer({ ...empty, [kind]: config }, {})[kind];
}
