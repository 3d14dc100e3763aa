"""Model weights and tokenizer ranks: obtained from the first source that works, verified by sha256 before use."""

from reasoning_bank.assets.catalog import CATALOG, MINILM, Asset, AssetFile
from reasoning_bank.assets.install import Assets, AssetStatus
from reasoning_bank.assets.verified import Progress, ProgressCallback

__all__ = ["CATALOG", "MINILM", "Asset", "AssetFile", "AssetStatus", "Assets", "Progress", "ProgressCallback"]
