"""Where making batches computes: what the files are, and how their decoding gets cheaper."""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Evidence
from perfkit.model.run_facts import LoaderFacts
from perfkit.reports.format import time_us
from perfkit.reports.rule import fact

_IMAGES = (
    "store images no larger than training needs, decode them on the GPU "
    "(torchvision.io.decode_jpeg(device='cuda'), DALI), and move uint8, to be normalized there"
)
_VIDEOS = (
    "store clips at the size and frame rate training needs, and decode only the frames it takes "
    "(torchcodec, also on the GPU; DALI)"
)
_SOUNDS = "resample and cut once, store raw samples (.npy, .wav), and make spectrograms on the GPU"
_TEXTS = "tokenize once and store token ids as an array that is mapped into memory"
_PACKED = "unpack once, or use a faster codec (zstd or lz4 instead of gzip, parallel readers)"
_KINDS = {
    _IMAGES: (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"),
    _VIDEOS: (".mp4", ".mkv", ".avi", ".webm", ".mov"),
    _SOUNDS: (".flac", ".mp3", ".ogg", ".opus", ".m4a"),
    _TEXTS: (".json", ".jsonl", ".txt", ".csv"),
    _PACKED: (".gz", ".bz2", ".xz", ".npz"),
}


def decoding_hint(diagnosis: Diagnosis, loader: LoaderFacts | None) -> str:
    """A sentence for the remedy; empty where something else binds or the files do not tell."""
    if loader is None or loader.bound != "cpu":
        return ""
    places = diagnosis.run.file_systems if diagnosis.run else []
    types = [p.file_types for p in places if p.role == "dataset" and p.file_types]
    if not types:
        return ""
    most = max(types[0], key=lambda end: types[0][end])
    advice = next((text for text, ends in _KINDS.items() if most in ends), None)
    return f" The files are {most}: {advice}." if advice else ""


def cost_of_a_sample(loader: LoaderFacts | None) -> list[Evidence]:
    """The processor time of one sample, collation and all."""
    if loader is None or loader.bound != "cpu" or not loader.items:
        return []
    if loader.make_us is None or loader.cpu_share is None:
        return []
    each = loader.make_us * loader.cpu_share / loader.items
    return [fact(f"a sample takes {time_us(each)} of processor time", each, "us/sample")]
