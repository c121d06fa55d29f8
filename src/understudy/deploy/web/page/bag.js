// A static model: the mean of rows of a table, and a small head. The same as understudy/inference/exported/bag.py.

const VIEWS = { "<f4": Float32Array, "<f2": Uint16Array, "|i1": Int8Array, "|u1": Uint8Array, "<i8": BigInt64Array };

/** The arrays of a .npz file, which is a zip archive whose files are not compressed: {name: {data, shape}}. */
export function readArrays(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error("bag.npz is damaged: copy the folder again.");
  const found = {};
  let at = view.getUint32(end + 16, true);
  for (let i = view.getUint16(end + 10, true); i > 0; i--) {
    const [size, nameSize, extra, comment] = [24, 28, 30, 32].map((o) => (o === 24 ? view.getUint32(at + o, true) : view.getUint16(at + o, true)));
    if (view.getUint16(at + 10, true) !== 0) throw new Error("bag.npz is compressed: export the model again.");
    const local = view.getUint32(at + 42, true);
    const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameSize));
    found[name.replace(/\.npy$/, "")] = readArray(bytes.slice(begin, begin + size));
    at += 46 + nameSize + extra + comment;
  }
  return found;
}

function readArray(bytes) {
  const view = new DataView(bytes.buffer);
  const [start, length] = bytes[6] === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const header = new TextDecoder().decode(bytes.subarray(start, start + length));
  const type = VIEWS[/'descr': *'([^']*)'/.exec(header)[1]];
  const shape = /'shape': *\(([^)]*)\)/.exec(header)[1].split(",").filter((part) => part.trim()).map(Number);
  if (!type || /'fortran_order': *True/.test(header)) throw new Error("bag.npz has an array of another kind: export the model again.");
  return { data: new type(bytes.buffer.slice(start + length)), shape };
}

/** The arrays of a static model, and its logits for the ids of a text. */
export class Bag {
  constructor(arrays, pair) {
    this.arrays = arrays;
    this.pair = pair;
    this.table = arrays.table ?? arrays.table_int8 ?? halves(arrays.table_fp16) ?? fours(arrays);
    this.scales = arrays.table_int8 && arrays.table_scale.data;
    this.width = this.table.shape[1];
  }

  logits(ids, segments) {
    const { bias, hidden_weight, hidden_bias, weight, output_bias } = this.arrays;
    let found = this.pair ? this.compared(ids, segments) : this.mean(ids);
    if (bias) found = found.map((value, i) => value + bias.data[i]);
    if (hidden_weight) found = linear(found, hidden_weight, hidden_bias);
    if (weight) {
      if (bias || hidden_weight) found = found.map((value) => Math.max(value, 0));
      found = linear(found, weight, output_bias);
    }
    return Float32Array.from(found);
  }

  /** The mean of the rows of these ids; zeros if there are none. */
  mean(ids) {
    const sum = new Float64Array(this.width);
    for (const id of ids) {
      const scale = this.scales ? this.scales[id] : 1;
      const begin = id * this.width;
      for (let i = 0; i < this.width; i++) sum[i] += scale * this.table.data[begin + i];
    }
    return sum.map((value) => value / Math.max(ids.length, 1));
  }

  compared(ids, segments) {
    const [u, v] = [0, 1].map((text) => this.mean(ids.filter((_, i) => segments[i] === text)));
    return Float64Array.from([...u, ...v, ...u.map((value, i) => Math.abs(value - v[i])), ...u.map((value, i) => value * v[i])]);
  }
}

/** A table of float16 numbers as float32. */
function halves(table) {
  return table && { data: Float32Array.from(table.data, half), shape: table.shape };
}

function half(bits) {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, (bits & 1023) / 1024];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
}

/** A table of 4-bit numbers, two a byte, of which 32 share a scale, as float32. */
function fours({ table_int4, table_scale, table_width }) {
  const [rows, blocks, bytes] = table_int4.shape;
  const width = Number(table_width.data[0]);
  const data = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < width; i++) {
      const block = row * blocks + Math.floor(i / (2 * bytes));
      const packed = table_int4.data[block * bytes + Math.floor((i % (2 * bytes)) / 2)];
      data[row * width + i] = ((i % 2 ? packed >> 4 : packed & 15) - 8) * table_scale.data[block];
    }
  }
  return { data, shape: [rows, width] };
}

function linear(input, weight, bias) {
  const [rows, columns] = weight.shape;
  const found = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = bias.data[row];
    for (let i = 0; i < columns; i++) sum += weight.data[row * columns + i] * input[i];
    found[row] = sum;
  }
  return found;
}
