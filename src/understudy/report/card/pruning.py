"""What only the card of a pruned model shows: what was removed, and what that saves."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.report.numbers import human_bytes
from understudy.report.scores import PRUNED, UNPRUNED, Record, model_named


def pruning_lines(record: Record) -> list[str]:
    """What was removed and what it saves, a sentence each; nothing for a model that was not pruned."""
    return list(_lines(record))


def _lines(record: Record) -> Iterator[str]:
    known = record.get("pruned") or {}
    before, after = known.get("before") or {}, known.get("after") or {}
    for name in ("heads", "neurons"):
        was, now = before.get(name) or [], after.get(name) or []
        if was != now:
            layers = " ".join(f"{count:,}" for count in now)
            yield f"{sum(now):,} of {sum(was):,} {name} are left, by layer {layers}. The others were cut out of the matrices."
    if words := known.get("vocabulary"):
        saved = human_bytes(words["bytes_saved"])
        yield f"{words['after']:,} of {words['before']:,} words are left, which saves {saved}. Texts of these words are read as before; other words are cut into smaller pieces, or are unknown."
    pruned, whole = model_named(record, PRUNED) or {}, model_named(record, UNPRUNED) or {}
    if "zeros" in pruned:
        one, other = (human_bytes(model.get("compressed_bytes")) for model in (whole, pruned))
        yield f"{100 * pruned['zeros']:.1f} % of the weights of its blocks are zero. That saves nothing in memory and no time, because the matrices are as large as before; packed with zlib, the weights take {other} instead of {one}."
    if known.get("transformers") is False:
        yield "Its layers differ in size. understudy.load reads it; transformers alone builds all layers alike, and refuses it."
