"""The web server of a study: which trial is next, the videos under names that tell nothing, and the votes."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import threading
import time
from pathlib import Path
from typing import Any

import av
import av.error
from flask import Flask, Response, abort, jsonify, request, send_file
from werkzeug.exceptions import HTTPException

from benchmarks.rating.store import Vote, Votes
from benchmarks.rating.study import Study, StudyError, Trial

_PAGE = Path(__file__).parent
_RATER = re.compile(r"[\w.@ -]{1,64}")
_ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}


# Of a showing, what must have passed before a vote is taken: containers tell their length inexactly.
_SHOWING = 0.9
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Desk:
    """What the server knows: the study, the votes, and when each rater was given a trial.

    Raises `StudyError` for a video that cannot be played.
    """

    def __init__(self, study: Study, votes: Votes) -> None:
        self.study = study
        self.votes = votes
        # Raters do not have `study.json`: its hash is a key, and a server that starts again keeps the names.
        self._key = bytes.fromhex(study.digest)
        self._files: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._given: dict[tuple[str, str], float] = {}
        self._lengths: dict[Path, float] = {}
        for clip in study.clips:
            for path in (clip.reference, *clip.videos.values()):
                self._files[self.name_of(path)] = path
                self._lengths[path] = _length(path)

    def name_of(self, path: Path) -> str:
        """A name for a video that does not tell what it is."""
        return self._hidden(path.relative_to(self.study.folder.resolve()).as_posix())

    def token_of(self, trial: Trial) -> str:
        """A name for a trial, whose identity tells the codecs."""
        return self._hidden(trial.identity)

    def _hidden(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:24]

    def file(self, name: str) -> Path | None:
        """The video of that name."""
        return self._files.get(name)

    def left_for(self, rater: str) -> tuple[list[Trial], int]:
        """The trials that a rater has not answered, in order, and how many there are in all."""
        trials = self.study.trials(rater)
        done = {vote.trial for vote in self.votes.of(self.study.digest, rater)}
        return [trial for trial in trials if trial.identity not in done], len(trials)

    def begin(self, rater: str, trial: Trial) -> None:
        """Note when a rater first got a trial."""
        with self._lock:
            self._given.setdefault((rater, trial.identity), time.monotonic())

    def seconds(self, rater: str, trial: Trial) -> float:
        """How long ago that was; 0 where the server was started again since."""
        with self._lock:
            began = self._given.get((rater, trial.identity))
        return 0.0 if began is None else time.monotonic() - began

    def too_early(self, rater: str, trial: Trial) -> bool:
        """Whether the videos cannot have been shown to their end; after a new start nobody knows."""
        seconds = self.seconds(rater, trial)
        return 0 < seconds < _SHOWING * self._lengths[trial.clip.videos[trial.left]]


def _length(path: Path) -> float:
    """Seconds of a video."""
    try:
        with av.open(str(path)) as media:
            if not media.streams.video:
                raise StudyError(f"{path}: is not a video")
            return float((media.duration or 0) / av.time_base)
    except (av.error.FFmpegError, OSError) as error:
        raise StudyError(f"{path}: is not a video ({error.strerror})") from error


def _answers_to(name: str, host: str) -> bool:
    """Whether a request for `name` is for a server bound to `host`.

    A page elsewhere that points its own name here (DNS rebinding) asks for that name: answered are loopback,
    the bound address, and any address where all are bound.
    """
    name, host = name.lower().strip("[]"), host.lower()
    if name in ("localhost", "127.0.0.1", "::1", host):
        return True
    try:
        return ipaddress.ip_address(host).is_unspecified and bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def make_app(study: Study, votes: Votes, host: str) -> Flask:
    """The application, for a server bound to `host`. Raises `StudyError`."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 4096
    desk = Desk(study, votes)

    @app.before_request
    def _right_host() -> None:
        name = request.host if request.host.endswith("]") else request.host.rsplit(":", 1)[0]
        if not _answers_to(name, host):
            abort(403, "this server does not answer to that name")

    @app.after_request
    def _headers(response: Response) -> Response:
        response.headers.update(_HEADERS)
        if not request.path.startswith("/media/"):
            response.headers["Cache-Control"] = "no-store"
        return response

    @app.errorhandler(HTTPException)
    def _error(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.description), error.code or 500

    @app.get("/")
    def _page() -> Response:
        return send_file(_PAGE / "page.html", mimetype="text/html")

    @app.get("/<name>")
    def _asset(name: str) -> Response:
        if name not in _ASSETS:
            abort(404)
        return send_file(_PAGE / name, mimetype=_ASSETS[name])

    @app.get("/media/<name>")
    def _media(name: str) -> Response:
        path = desk.file(name)
        if path is None:
            abort(404)
        return send_file(path, mimetype="video/mp4", conditional=True, download_name="video.mp4")

    def state(rater: str) -> Response:
        left, count = desk.left_for(rater)
        answer: dict[str, Any] = {"title": study.title, "question": study.question, "count": count}
        answer["done"] = count - len(left)
        if left:
            trial = left[0]
            desk.begin(rater, trial)
            videos = trial.clip.videos
            answer["trial"] = desk.token_of(trial)
            paths = {
                "left": videos[trial.left],
                "right": videos[trial.right],
                "reference": trial.clip.reference,
            }
            answer["media"] = {side: f"media/{desk.name_of(path)}" for side, path in paths.items()}
        return jsonify(answer)

    def rater_in(values: Any) -> str:
        rater = values.get("rater") if hasattr(values, "get") else None
        if not isinstance(rater, str) or not _RATER.fullmatch(rater):
            abort(400, "a name of 1 to 64 letters, digits, spaces or . _ - @ is needed")
        return rater

    @app.get("/api/state")
    def _state() -> Response:
        return state(rater_in(request.args))

    @app.post("/api/vote")
    def _vote() -> Response:
        # Forms of other sites cannot send this type without asking first.
        if request.mimetype != "application/json":
            abort(415, "votes are JSON")
        given = request.get_json()
        rater = rater_in(given)
        wanted, side = given.get("trial"), given.get("side")
        if side not in ("left", "right"):
            abort(400, "side must be left or right")
        trial = next((trial for trial in study.trials(rater) if desk.token_of(trial) == wanted), None)
        if trial is None:
            abort(400, "there is no such trial")
        if desk.too_early(rater, trial):
            abort(409, "the videos have not been shown to their end")
        winner = trial.left if side == "left" else trial.right
        seconds = round(desk.seconds(rater, trial), 3)
        names = (study.digest, rater, trial.identity, trial.clip.name)
        desk.votes.add(Vote(*names, trial.left, trial.right, winner, seconds))
        return state(rater)

    return app
