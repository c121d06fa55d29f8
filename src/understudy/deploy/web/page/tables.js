// Tables of text: read from a file that somebody drops, written for somebody to save.

/** The rows of a file of values between commas, semicolons or tabs: lists of strings. */
export function parseTable(content, separator) {
  const rows = [];
  let row = [];
  let value = "";
  let quoted = false;
  const text = content.replace(/^\ufeff/, "");
  const endValue = () => {
    row.push(value);
    value = "";
  };
  const endRow = () => {
    endValue();
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
  };
  for (let i = 0; i < text.length; i++) {
    const one = text[i];
    if (quoted) {
      if (one !== '"') value += one;
      else if (text[i + 1] === '"') {
        value += '"';
        i++;
      } else quoted = false;
    } else if (one === '"' && value === "") quoted = true;
    else if (one === separator) endValue();
    else if (one === "\n" || one === "\r") {
      if (one === "\r" && text[i + 1] === "\n") i++;
      endRow();
    } else value += one;
  }
  if (quoted) throw new Error("a quotation mark is opened and never closed. Save the file again.");
  if (value !== "" || row.length) endRow();
  return rows;
}

/** What separates the values of a file: what its first line has most of. */
export function separatorOf(content) {
  const line = content.slice(0, Math.max(0, content.search(/\r|\n/)) || content.length);
  const count = (mark) => line.split(mark).length;
  return ["\t", ";", ","].reduce((best, mark) => (count(mark) > count(best) ? mark : best), ",");
}

/**
 * {names, rows, guessed} of a file: the names of its columns, and its rows. A .txt has one text a line, or the two of a pair with
 * a tab between them. The first row of a table has the names if one of them is in `known` or, which is a guess, if there are
 * several columns.
 */
export function readFile(name, content, known, pair) {
  if (!/\.(csv|tsv)$/i.test(name)) return { names: null, rows: rowsOf(content, pair), guessed: false };
  const rows = parseTable(content, /\.tsv$/i.test(name) ? "\t" : separatorOf(content));
  const usual = new Set([...known, "text", "sentence", "review", "title", "content", "body"]);
  const first = rows[0] ?? [];
  const told = first.some((one) => usual.has(one.trim().toLowerCase()));
  if (!told && first.length < 2) return { names: null, rows, guessed: false };
  return { names: first.map((one) => one.trim()), rows: rows.slice(1), guessed: !told };
}

/** The rows of a text: its lines that are not blank, those of pairs divided at tabs. */
export function rowsOf(content, pair) {
  return linesOf(content).map((line) => (pair ? line.split("\t") : [line]));
}

/** The lines of a text that are not blank. */
export function linesOf(content) {
  return content.split(/\r\n|\r|\n/).filter((line) => line.trim() !== "");
}

/** Some columns of a row as one text, with a space between them and without blank ones: as the model was trained. */
export function joined(row, columns) {
  if (columns.length === 1) return row[columns[0]] ?? "";
  return columns
    .map((i) => row[i] ?? "")
    .filter((one) => one.trim() !== "")
    .join(" ");
}

/** A table as the content of a CSV file. */
export function asCsv(rows) {
  const cell = (value) => (/[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  return rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
}
