"""Short forms of vocabularies: errors name the way out, and nothing heavy is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from understudy.data.tokens.specs import parse_choice, parse_spec
from understudy.errors import ConfigError


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("word:30000", r"neither words:N nor bpe:N, for example words:30000.*Did you mean 'words:30000'"),
        ("words", r"Did you mean 'words:8000'"),
        ("words:", r"Did you mean 'words:8000'"),
        ("bpe:-5", r"Did you mean 'bpe:8000'"),
        ("unigram:8000", "neither words:N nor bpe:N"),
        ("bpe:5", "asks for 5. For example: bpe:8000"),
        ("words:99999999999", "must ask for at most 4,294,967,295 tokens. For example: words:8000"),
        ("", "neither"),
    ],
)
def test_malformed_specs(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_spec(spec)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("new", "Did you mean 'new:16000'"),
        ("word:300", "Did you mean 'words:300'"),
        ("new:-3", "must be keep, new:N"),
        ("bpe:300", "for example new:16000, but is 'bpe:300'"),
        ("new:99999999999", "must ask for at most 4,294,967,295 tokens. For example: new:16000"),
        ("new:5", "more than the 5 special tokens. For example: new:16000"),
    ],
)
def test_malformed_choices(choice: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_choice(choice)


def test_parsing_loads_no_tokenizer() -> None:
    code = "import sys, understudy.data.tokens.specs; print(sorted({'torch', 'transformers', 'tokenizers', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
