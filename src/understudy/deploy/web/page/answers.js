// Logits in, labels and probabilities out: the same as understudy/inference/answers.py.

export const THRESHOLD = 0.5; // of several labels, the least probability of one that is answered

/** The probabilities of a row of logits; of a number (regression) the row itself. */
export function probabilities(logits, kind, temperature) {
  if (kind === "regression") return Array.from(logits);
  const scaled = Array.from(logits, (value) => value / temperature);
  if (kind === "multi_label") return scaled.map((value) => 0.5 * (1 + Math.tanh(0.5 * value)));
  const largest = Math.max(...scaled);
  const weights = scaled.map((value) => Math.exp(value - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** {label, probabilities}: a name, a list of names or a number; and a share for each label, in the order of the task. */
export function prediction(logits, facts) {
  const { kind, labels } = facts.task;
  if (!Array.from(logits).every(Number.isFinite)) throw new Error("The model's answer is not a finite number. Export it again.");
  if (kind === "regression") return { label: logits[0], probabilities: [] };
  const shares = probabilities(logits, kind, facts.temperature);
  if (kind === "multi_label") return { label: labels.filter((_, i) => shares[i] >= THRESHOLD), probabilities: shares };
  return { label: labels[shares.indexOf(Math.max(...shares))], probabilities: shares };
}
