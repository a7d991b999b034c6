"""A repository on the Hub: what it holds now, and commits that are made on what was seen or not at all.

Does not know what it is given to publish, and waits for nothing: who calls looks again after a BusyError.
"""

import hashlib
import importlib
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

TIMEOUT_S = 30.0
"""For an answer about the repository; uploads have those of the client."""
LONGEST_WAIT_S = 600.0
"""Nobody waits longer for a Hub that wants to be left alone."""
READ_BYTES = 1 << 20
"""A card or a lock that is larger than this is not read."""
ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
"""The client knows more of what an id may be; without an owner it would take the token's."""
MAY_CHANGE = (409, 412, 422, 429)
"""Answers after which the same may be accepted: somebody else was first, an upload was damaged, too much was asked."""


class HubError(RuntimeError):
    """The Hub cannot be reached, or does not do what was asked for."""


class BusyError(HubError):
    """The Hub refused what it may accept when asked again, or its answer was lost: nobody knows what it did."""

    after_s: float = 0.0
    """How long the Hub wants to be left alone."""


@dataclass(frozen=True)
class File:
    """What is to lie in the repository under one path: a file here, or bytes."""

    content: Path | bytes

    @cached_property
    def size(self) -> int:
        """In bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal, as the Hub names large files."""
        return self._hash("sha256")

    @cached_property
    def git(self) -> str:
        """The blob's name in git, as the Hub names ordinary files."""
        return self._hash("sha1", b"blob %d\0" % self.size)

    def _hash(self, algorithm: str, prefix: bytes = b"") -> str:
        whole = hashlib.new(algorithm, prefix)
        if isinstance(self.content, bytes):
            whole.update(self.content)
            return whole.hexdigest()
        with open(self.content, "rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
        return whole.hexdigest()


@dataclass(frozen=True)
class Blob:
    """A file of the repository."""

    size: int
    sha256: str | None
    """Of a large file; None for an ordinary one."""
    git: str

    def holds(self, file: File) -> bool:
        """Whether it is this file, byte for byte."""
        same = file.git == self.git if self.sha256 is None else file.sha256 == self.sha256
        return self.size == file.size and same


@dataclass(frozen=True)
class Head:
    """The newest state of the main branch."""

    commit: str
    private: bool
    files: Mapping[str, Blob]


@dataclass(frozen=True)
class Change:
    """One path that is written, or deleted where there is no file."""

    path: str
    file: File | None


@dataclass(frozen=True)
class Repo:
    """A dataset or model on the Hub, by its id, owner/name. The token is the client's own: HF_TOKEN or a login."""

    kind: Literal["dataset", "model"]
    id: str

    def __post_init__(self) -> None:
        if not ID.fullmatch(self.id):
            raise HubError(f"{self.id!r} is no repository on the Hub; expected owner/name, such as me/{self.kind}")

    @property
    def url(self) -> str:
        """For a person's browser."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.id}"

    def head(self) -> Head | None:
        """What there is now; None where there is no such repository, or none that this token may see."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError
        from huggingface_hub.hf_api import RepoFile

        api = HfApi()
        with self._told("read"):
            try:
                info = api.repo_info(self.id, repo_type=self.kind, timeout=TIMEOUT_S)
            except RepositoryNotFoundError:
                return None
            if not isinstance(info.private, bool) or info.sha is None:
                raise HubError(f"{self.id}: the Hub does not say whether it is private, or what it holds; try again")
            tree = api.list_repo_tree(self.id, recursive=True, revision=info.sha, repo_type=self.kind)
            blobs = {
                entry.path: Blob(entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id)
                for entry in tree
                if isinstance(entry, RepoFile)
            }
        return Head(info.sha, info.private, blobs)

    def create(self, *, private: bool) -> None:
        """Make it, empty. Whether it is private then, `head` says: an organization may have rules of its own."""
        from huggingface_hub import HfApi

        with self._told("create"):
            HfApi().create_repo(self.id, repo_type=self.kind, visibility="private" if private else "public")

    def read(self, path: str, head: Head) -> str | None:
        """A small text of the repository; None where there is none. Untrusted: anybody who may write wrote it."""
        from huggingface_hub import HfApi

        if path not in head.files:
            return None
        if head.files[path].size > READ_BYTES:
            raise HubError(
                f"{self.id}: its {path} has {head.files[path].size:,} bytes; more than {READ_BYTES:,} are odd"
            )
        with self._told("read"), tempfile.TemporaryDirectory() as folder, _quiet():
            local = HfApi().hf_hub_download(self.id, path, revision=head.commit, repo_type=self.kind, local_dir=folder)
            return Path(local).read_text(encoding="utf-8", errors="replace")

    def check_card(self, text: str) -> None:
        """Ask the Hub whether it takes the metadata of a README.md, which names a licence that it knows, for example.

        The client asks too, but with the commit, and by then the large files are there.
        """
        from huggingface_hub import constants, get_session

        asked = {"content": text, "repoType": self.kind}
        with self._told("write to"):
            url = f"{constants.ENDPOINT}/api/validate-yaml"
            reply = get_session().post(url, json=asked, timeout=TIMEOUT_S)
            if reply.status_code == 400:
                errors = "; ".join(str(error.get("message")) for error in reply.json().get("errors", []))
                raise HubError(f"{self.id}: the Hub does not take the card: {textwrap.shorten(errors, 2000)}")
            reply.raise_for_status()

    def commit(self, changes: list[Change], seen: Head, message: str) -> None:
        """Upload, look whether the repository is still as `seen`, and commit on that or not at all.

        Raises BusyError where the answer is one that may change, such as a commit of somebody else's in between.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        additions = [CommitOperationAdd(change.path, change.file.content) for change in changes if change.file]
        deletions = [CommitOperationDelete(change.path) for change in changes if not change.file]
        api = HfApi()
        with self._told("write to"), _quiet():
            api.preupload_lfs_files(self.id, additions, repo_type=self.kind, free_memory=False)
            now = api.repo_info(self.id, repo_type=self.kind, timeout=TIMEOUT_S)
            if (now.private, now.sha) != (seen.private, seen.commit):
                raise BusyError(f"{self.id}: it was changed by somebody else meanwhile")
            api.create_commit(
                self.id,
                [*additions, *deletions],
                commit_message=message,
                repo_type=self.kind,
                parent_commit=seen.commit,
            )

    @contextmanager
    def _told(self, act: str) -> Iterator[None]:
        """Errors of the client as ours."""
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

        try:
            yield
        except HFValidationError as error:
            raise HubError(f"{self.id} is no repository on the Hub: {_words(error)}") from error
        except OfflineModeIsEnabled as error:
            raise HubError(f"HF_HUB_OFFLINE is set, so {self.id} cannot be pushed to; unset it") from error
        except (ValueError, RuntimeError, OSError, transport_error()) as error:
            if isinstance(error, HubError):
                raise
            cause = error.__cause__ if type(error) is RuntimeError else error  # how a large file's trouble is wrapped
            reply = cause.response if isinstance(cause, HfHubHTTPError) else None
            raise self._error(act, cause or error, reply) from error

    def _error(self, act: str, error: BaseException, reply: Any) -> HubError:
        said = f"the Hub did not let us {act} {self.kind} {self.id}: {_words(error)}"
        if reply is None and isinstance(error, transport_error()):
            return BusyError(f"{said}; is {self.url} in reach?")
        if reply is None:
            return HubError(said)
        if reply.status_code in MAY_CHANGE or reply.status_code >= 500:
            busy, asked = BusyError(said), reply.headers.get("Retry-After", "")
            busy.after_s = min(float(asked), LONGEST_WAIT_S) if re.fullmatch(r"[0-9]{1,9}", asked) else 0.0
            return busy
        if reply.status_code in (401, 403):
            said += ". Log in with `hf auth login` or HF_TOKEN, as somebody who may write there."
        return HubError(said)


def transport_error() -> type[Exception]:
    """What the HTTP library under huggingface_hub raises, which was requests, then httpx, then httpx2."""
    import huggingface_hub

    library = type(huggingface_hub.get_session()).__module__.partition(".")[0]
    error: type[Exception] = importlib.import_module(library).HTTPError
    return error


def _words(error: BaseException) -> str:
    """What an error says, on one line, without the client's advice on HTTP."""
    said = re.sub(r"For more information check: \S+|Please make sure you .*", "", str(error))
    return textwrap.shorten(said, 300, placeholder="…") or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of huggingface_hub inside where nobody watches."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
