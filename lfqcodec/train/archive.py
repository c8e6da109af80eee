"""Reading `.lfqpack`: clips and pictures of a training set, still compressed, in one file.

It is a zip file without compression. `manifest.json` comes first and lists the members: what they were
called, their source, frames, size of picture, bytes, place in the file and SHA-256. Members are named by
number, and are only ever read through the manifest; nothing is extracted by a path that the file gives.
Reading needs the standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from lfqcodec.errors import InputVideoError

ARCHIVE_SUFFIX = ".lfqpack"
FORMAT = "lfqpack"
VERSION = 1
MANIFEST = "manifest.json"
KINDS = ("video", "image")
LOCAL_HEADER = 30
"""Bytes of a zip entry's header in front of its name and, as no extra field is written, its data."""
MAX_MANIFEST = 64 << 20
MAX_MEMBER = 1 << 30
_FILE = re.compile(r"[0-9]{6,9}\.(mp4|mkv|mov|avi|webm|y4m|m4v|ts|mpg|jpg|jpeg|png|webp|bmp)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ZIP_ERRORS = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, KeyError, ValueError)


@dataclass(frozen=True)
class Member:
    """One clip or picture. `offset` is where its `size` bytes begin in the archive.

    `file` is its name in the zip, `name` what it was called before; `copied` says that it was taken over
    without encoding it again.
    """

    file: str
    name: str
    source: str
    kind: str
    frames: int
    height: int
    width: int
    size: int
    offset: int
    sha256: str
    copied: bool

    @property
    def suffix(self) -> str:
        """Suffix of its file, with the dot."""
        return Path(self.file).suffix

    def to_json(self) -> dict[str, Any]:
        """The member as in the manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Any) -> Member:
        """Read a row of the manifest. Raises `ValueError` with the reason where it cannot be right."""
        if not isinstance(row, dict):
            raise ValueError("a member is not an object")
        fields: dict[str, Any] = {name: row.get(name) for name in cls.__annotations__}
        if not isinstance(fields["file"], str) or not _FILE.fullmatch(fields["file"]):
            raise ValueError(f"{fields['file']!r} is not a name of a member")
        file = fields["file"]
        for name, kind in cls.__annotations__.items():
            expected = {"str": str, "int": int, "bool": bool}[kind]
            if type(fields[name]) is not expected:
                raise ValueError(f"{file}: {name} is missing or no {kind}")
        member = cls(**fields)
        if member.kind not in KINDS:
            raise ValueError(f"{file}: {member.kind!r} is neither video nor image")
        if min(member.frames, member.height, member.width, member.size) < 1 or member.offset < 0:
            raise ValueError(f"{file}: a number is out of range")
        if member.size > MAX_MEMBER:
            raise ValueError(f"{file}: is larger than {MAX_MEMBER >> 20} MiB")
        if not _SHA256.fullmatch(member.sha256):
            raise ValueError(f"{file}: its SHA-256 is none")
        return member


class Archive:
    """An opened archive; a context manager. `members` is in the order of the manifest.

    Raises `InputVideoError` where the file is no archive, is of a newer version, or its manifest and its
    contents disagree. Members are checked when they are read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except _ZIP_ERRORS as error:
            raise InputVideoError(f"{path}: not a training archive ({error})") from error
        try:
            self.manifest = self._read_manifest()
            self.members = self._read_members()
        except BaseException:
            self._zip.close()
            raise

    def _read_manifest(self) -> dict[str, Any]:
        try:
            info = self._plain(MANIFEST)
            if info.file_size > MAX_MANIFEST:
                raise ValueError("it is too large")
            content = json.loads(self._zip.read(info))
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise ValueError("it is of another format")
        except (*_ZIP_ERRORS, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise InputVideoError(f"{self.path}: {MANIFEST} is missing or damaged ({reason})") from error
        version = content.get("version")
        if version != VERSION:
            raise InputVideoError(
                f"{self.path}: is of version {version!r}, and only version {VERSION} is known here"
            )
        return content

    def _read_members(self) -> list[Member]:
        rows = self.manifest.get("members")
        if not isinstance(rows, list) or not rows:
            raise InputVideoError(f"{self.path}: {MANIFEST} lists no members")
        members: dict[str, Member] = {}
        for row in rows:
            try:
                member = Member.from_json(row)
                if member.file in members:
                    raise ValueError(f"{member.file}: is listed twice")
            except ValueError as error:
                raise InputVideoError(f"{self.path}: {MANIFEST}: {error}") from error
            members[member.file] = member
        return list(members.values())

    def _plain(self, file: str) -> zipfile.ZipInfo:
        """Directory entry of a stored file. Raises `KeyError` or `ValueError`."""
        info = self._zip.getinfo(file)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError("it is compressed")
        return info

    def read(self, member: Member) -> bytes:
        """The bytes of a member, checked against its size and SHA-256.

        Raises `InputVideoError` that names the member where they differ.
        """
        what = f"{self.path}: member {member.file} ({member.name})"
        try:
            info = self._plain(member.file)
            if info.file_size != member.size:
                raise ValueError(f"{info.file_size} bytes, not {member.size}")
            data = self._zip.read(info)
        except _ZIP_ERRORS as error:
            raise InputVideoError(f"{what}: is damaged ({' '.join(str(error).split())})") from error
        if hashlib.sha256(data).hexdigest() != member.sha256:
            raise InputVideoError(f"{what}: is damaged (its SHA-256 differs)")
        return data

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
