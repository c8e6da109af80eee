"""Reading `.lfqpack`: clips and pictures of a training set, still compressed, in one file.

It is a zip file without compression. `manifest.json` lists the members: what they were called, their source,
frames, size of picture, bytes and SHA-256. Members are named by number, and are only ever read through the
manifest; nothing is extracted by a path that the file gives. Reading needs the standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfqcodec.errors import InputVideoError

ARCHIVE_SUFFIX = ".lfqpack"
FORMAT = {"format": "lfqpack", "version": 1}
MANIFEST = "manifest.json"
MAX_MEMBER = 1 << 30
_MAX_MANIFEST = 64 << 20
_FILE = re.compile(r"[0-9]{6,9}\.(mp4|mkv|mov|avi|webm|y4m|m4v|ts|mpg|jpg|jpeg|png|webp|bmp)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ZIP_ERRORS = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, KeyError, ValueError)


@dataclass(frozen=True)
class Member:
    """One clip or picture: `file` is its name in the zip, `name` what it was called before.

    Raises `ValueError` with the reason where a value cannot be right.
    """

    file: str
    name: str
    source: str
    kind: str
    frames: int
    height: int
    width: int
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.file, str) or not _FILE.fullmatch(self.file):
            raise ValueError(f"{self.file!r} is not a name of a member")
        for field, kind in type(self).__annotations__.items():
            if type(getattr(self, field)) is not {"str": str, "int": int}[kind]:
                raise ValueError(f"{self.file}: {field} is missing or no {kind}")
        if self.kind not in ("video", "image"):
            raise ValueError(f"{self.file}: {self.kind!r} is neither video nor image")
        if min(self.frames, self.height, self.width, self.size) < 1 or self.size > MAX_MEMBER:
            raise ValueError(f"{self.file}: a number is out of range")
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.file}: its SHA-256 is none")

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Member:
        """A row of the manifest. Raises `ValueError`, or `TypeError` where it is no object."""
        values: dict[str, Any] = {name: row[name] for name in cls.__annotations__ if name in row}
        return cls(**values)


class Archive:
    """An opened archive. `members` is in the order of the manifest.

    Raises `InputVideoError` where the file is no archive, or its manifest is of another version or damaged.
    Members are checked when they are read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except _ZIP_ERRORS as error:
            raise InputVideoError(f"{path}: not a training archive ({error})") from error
        try:
            self.members = self._read_manifest()
        except (*_ZIP_ERRORS, TypeError, RecursionError) as error:
            self._zip.close()
            reason = " ".join(str(error).split())
            raise InputVideoError(f"{path}: {MANIFEST} is missing or damaged ({reason})") from error

    def _read_manifest(self) -> list[Member]:
        info = self._stored(MANIFEST)
        if info.file_size > _MAX_MANIFEST:
            raise ValueError("it is too large")
        content = json.loads(self._zip.read(info))
        if not isinstance(content, dict) or {name: content.get(name) for name in FORMAT} != FORMAT:
            raise ValueError("it is of another format or version")
        rows: Any = content.get("members")
        members = [Member.from_json(row) for row in rows]
        if not members or len({member.file for member in members}) < len(members):
            raise ValueError("members are missing, or listed twice")
        return members

    def _stored(self, file: str) -> zipfile.ZipInfo:
        """Directory entry of a file. Raises `KeyError` or `ValueError`."""
        info = self._zip.getinfo(file)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError("it is compressed")
        return info

    def read(self, member: Member) -> bytes:
        """The bytes of a member, checked against its size and SHA-256.

        Raises `InputVideoError` that names the member where they differ.
        """
        try:
            info = self._stored(member.file)
            if info.file_size != member.size:
                raise ValueError(f"{info.file_size} bytes, not {member.size}")
            data = self._zip.read(info)
            if hashlib.sha256(data).hexdigest() != member.sha256:
                raise ValueError("its SHA-256 differs")
        except _ZIP_ERRORS as error:
            reason = " ".join(str(error).split())
            what = f"{self.path}: member {member.file} ({member.name})"
            raise InputVideoError(f"{what}: is damaged ({reason})") from error
        return data

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()
