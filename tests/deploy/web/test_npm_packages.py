"""Packages of npm: from a folder, from the cache, never with another hash; without npm a sentence says what to do."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from understudy.deploy.web.packages import NpmPackage, package_files
from understudy.errors import ModelError

FILES = {"dist/a.mjs": b"export const a = 1;\n", "LICENSE": b"Do as you like.\n"}


def archive(files: dict[str, bytes]) -> bytes:
    """A package as npm packs it, with a file that is not wanted."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for name, content in {**files, "other.js": b"no", "../escaped.js": b"no"}.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return out.getvalue()


ARCHIVE = archive(FILES)
PACKAGE = NpmPackage(
    "@toy/pack",
    "1.2.3",
    base64.b64encode(hashlib.sha512(ARCHIVE).digest()).decode(),
    tuple((name, name.rpartition("/")[2], hashlib.sha256(content).hexdigest()) for name, content in FILES.items()),
)
EXPECTED = {"a.mjs": FILES["dist/a.mjs"], "LICENSE": FILES["LICENSE"]}


@pytest.fixture(autouse=True)
def _no_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def stand_in(tmp_path: Path, script: str) -> None:
    """A program that is called npm."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "npm").write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(tmp_path / "bin" / "npm", 0o755)


def test_an_archive_is_read_once_and_kept(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "toy-pack-1.2.3.tgz").write_bytes(ARCHIVE)
    assert package_files(PACKAGE, folder=str(tmp_path / "given")) == EXPECTED
    assert not list(tmp_path.rglob("escaped.js"))
    assert package_files(PACKAGE) == EXPECTED  # from the cache: there is no npm


def test_a_damaged_cache_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "toy-pack-1.2.3.tgz").write_bytes(ARCHIVE)
    package_files(PACKAGE, folder=str(tmp_path / "given"))
    kept = Path(os.environ["UNDERSTUDY_CACHE"]) / "npm" / "toy-pack-1.2.3" / "a.mjs"
    kept.write_bytes(b"another")
    with pytest.raises(ModelError, match="npm is not installed"):
        package_files(PACKAGE)
    assert package_files(PACKAGE, folder=str(tmp_path / "given")) == EXPECTED
    assert kept.read_bytes() == FILES["dist/a.mjs"]


def test_installed_packages_are_read(tmp_path: Path) -> None:
    place = tmp_path / "node_modules" / "@toy" / "pack"
    (place / "dist").mkdir(parents=True)
    (place / "package.json").write_text("{}")
    for name, content in FILES.items():
        (place / name).write_bytes(content)
    assert package_files(PACKAGE, folder=str(tmp_path)) == EXPECTED


def test_another_version_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "node_modules" / "@toy" / "pack"
    (place / "dist").mkdir(parents=True)
    (place / "package.json").write_text("{}")
    (place / "dist" / "a.mjs").write_bytes(b"export const a = 2;\n")
    with pytest.raises(ModelError, match=r"its hash is another.*npm pack @toy/pack@1\.2\.3"):
        package_files(PACKAGE, folder=str(tmp_path))
    (place / "dist" / "a.mjs").unlink()
    with pytest.raises(ModelError, match="is missing"):
        package_files(PACKAGE, folder=str(tmp_path))


def test_a_changed_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toy-pack-1.2.3.tgz").write_bytes(archive({**FILES, "LICENSE": b"All mine.\n"}))
    with pytest.raises(ModelError, match=r"is not @toy/pack 1\.2\.3 as npm has it"):
        package_files(PACKAGE, folder=str(tmp_path))


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds neither toy-pack-1\.2\.3\.tgz nor node_modules/@toy/pack"):
        package_files(PACKAGE, folder=str(tmp_path))


def test_npm_fetches_without_scripts(tmp_path: Path) -> None:
    (tmp_path / "there.tgz").write_bytes(ARCHIVE)
    stand_in(
        tmp_path,
        f'echo "$@" > {tmp_path}/told; for last; do :; done; /bin/cp {tmp_path}/there.tgz "$last/toy-pack-1.2.3.tgz"',
    )
    assert package_files(PACKAGE) == EXPECTED
    told = (tmp_path / "told").read_text()
    assert told.startswith("pack @toy/pack@1.2.3 --ignore-scripts")


def test_no_network_is_said(tmp_path: Path) -> None:
    stand_in(tmp_path, 'echo "npm error network ENOTFOUND registry.npmjs.org" >&2; exit 1')
    with pytest.raises(ModelError, match=r"npm does not get it \(npm error network ENOTFOUND.*--npm_folder"):
        package_files(PACKAGE)
