"""What a check is, what it finds, and what it may look at."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from mimo_gb10.recipe import Recipe
from mimo_gb10.release import Release, known_releases, load_release
from mimo_gb10.smoke.client import Client, Failure

T = TypeVar("T")


Numbers = Mapping[str, float | int | str | None]


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Outcome:
    """What one check found.

    Attributes:
        status: ok, warn, fail or skip.
        says: In one sentence, with the value that decided.
        evidence: What was seen, a line each.
        help: What to do, or an empty string.
        numbers: Measured values by name; the unit is in the name.
    """

    status: Status
    says: str
    evidence: tuple[str, ...] = ()
    help: str = ""
    numbers: Numbers = field(default_factory=dict)


def ok(says: str, *evidence: str, numbers: Numbers | None = None) -> Outcome:
    """It is right."""
    return Outcome(Status.OK, says, evidence, "", numbers or {})


def warn(says: str, *evidence: str, help: str = "", numbers: Numbers | None = None) -> Outcome:
    """It works, and somebody should look."""
    return Outcome(Status.WARN, says, evidence, help, numbers or {})


def fail(says: str, *evidence: str, help: str = "", numbers: Numbers | None = None) -> Outcome:
    """It is wrong."""
    return Outcome(Status.FAIL, says, evidence, help, numbers or {})


def skip(says: str) -> Outcome:
    """It was not checked, and why."""
    return Outcome(Status.SKIP, says)


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: Kebab-case, unique.
        area: The group it belongs to.
        what: One line for people.
        run: Does it. It may raise `Failure`, which counts as failed.
        trained: Whether it needs a trained model; the ``structural`` profile leaves it out.
    """

    name: str
    area: str
    what: str
    run: Callable[[Session], Outcome]
    trained: bool = False

    def profiles(self) -> str:
        """The profiles that it is part of, in words."""
        return "full" if self.trained else "full, structural"


class Session:
    """What a check may look at. Facts of the server are read once, when the first check asks for them.

    Args:
        client: The server under test.
        recipe: What it should run, or None.
        trained: Whether answers can be judged by what they say; not with random weights.
        streams: How many requests at once is "many".
        reference: A second server with the same model, to compare greedy texts with, or None.
        salt: Makes prompts of this run unlike those of earlier ones, so that no prefix of them is cached.
    """

    def __init__(
        self,
        client: Client,
        *,
        recipe: Recipe | None = None,
        trained: bool = True,
        streams: int = 8,
        reference: Client | None = None,
        salt: str | None = None,
    ) -> None:
        self.client = client
        self.recipe = recipe
        self.trained = trained
        self.streams = streams
        self.reference = reference
        self.salt = salt or secrets.token_hex(4)
        self._read: dict[str, Any] = {}

    def _once(self, name: str, read: Callable[[], T]) -> T:
        """What `read` gives the first time; a failure is remembered too, so that it costs its time once."""
        if name not in self._read:
            try:
                self._read[name] = read()
            except Failure as problem:
                self._read[name] = problem
        found = self._read[name]
        if isinstance(found, Failure):
            raise found
        return found  # type: ignore[no-any-return]

    @property
    def models(self) -> Sequence[Mapping[str, Any]]:
        """The entries of ``/v1/models``.

        Raises:
            Failure: If it cannot be read.
        """
        return self._once("models", self._models)

    def _models(self) -> Sequence[Mapping[str, Any]]:
        answer = self.client.get("/v1/models").expect()
        data = answer.json()
        entries = data.get("data") if isinstance(data, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) and entry.get("id") for entry in entries):
            raise Failure("shape", "/v1/models is no list of models", answer.excerpt())
        return entries

    @property
    def model(self) -> str:
        """The name of the first model; SGLang takes any name, so a server without the list still gets requests."""
        try:
            return str(self.models[0]["id"])
        except (Failure, IndexError):
            return "default"

    @property
    def context_length(self) -> int | None:
        """The longest context in tokens, as ``/v1/models`` says; None if it does not."""
        try:
            value = self.models[0].get("max_model_len")
        except (Failure, IndexError):
            return None
        return value if isinstance(value, int) else None

    @property
    def info(self) -> Mapping[str, Any]:
        """``/server_info``: arguments, version and state. It may hold the server's key: values are shown by name only.

        Raises:
            Failure: If it cannot be read under any of its names.
        """
        return self._once("info", self.fresh_info)

    def fresh_info(self) -> Mapping[str, Any]:
        """``/server_info`` as it is now."""
        answer = self.client.get("/server_info")
        if answer.status == 404:
            # The older name; every release with a catalog knows both.
            answer = self.client.get("/get_server_info")
        if answer.status != 200:
            raise Failure("status", f"/server_info: HTTP {answer.status}", f"HTTP {answer.status}")
        data = answer.json()
        if not isinstance(data, dict):
            raise Failure("shape", "/server_info is not an object")
        return data

    def argument(self, name: str, otherwise: Any = None) -> Any:
        """What the server says about one of its arguments, by attribute name; `otherwise` if it says nothing."""
        try:
            value = self.info.get(name)
        except Failure:
            return otherwise
        return otherwise if value is None else value

    @property
    def version(self) -> str | None:
        """The release that the server says it is, or None."""
        value = self.argument("version")
        return value if isinstance(value, str) else None

    @property
    def release(self) -> Release | None:
        """The catalog of the release that runs, else of the recipe's; None if there is none."""
        known = known_releases()
        wanted = [self.version] if self.version else []
        wanted += [self.recipe.sglang] if self.recipe else []
        return next((load_release(version) for version in wanted if version in known), None)

    @property
    def reasoning_parser(self) -> str | None:
        """The reasoning parser that runs: the server's word, else the recipe's."""
        return self._parser("reasoning_parser", "reasoning-parser")

    @property
    def tool_call_parser(self) -> str | None:
        """The tool call parser that runs: the server's word, else the recipe's."""
        return self._parser("tool_call_parser", "tool-call-parser")

    def _parser(self, attribute: str, flag: str) -> str | None:
        value = self.argument(attribute)
        if value is None and self.version is None and self.recipe is not None:
            value = self.recipe.flags.get(flag)
        return value if isinstance(value, str) else None

    @property
    def speculative(self) -> str | None:
        """The speculative algorithm that runs, or None."""
        value = self.argument("speculative_algorithm")
        return value if isinstance(value, str) else None


def together(jobs: Sequence[Callable[[], T]]) -> list[T | Failure]:
    """Run jobs at once, each in a thread; the results, or what went wrong, in the order of the jobs."""
    results: list[T | Failure | None] = [None] * len(jobs)

    def work(at: int, job: Callable[[], T]) -> None:
        try:
            results[at] = job()
        except Failure as problem:
            results[at] = problem
        except Exception as problem:  # A thread would print it and go on.
            results[at] = Failure("shape", f"the answer could not be read: {type(problem).__name__}: {problem}")

    # Daemons: an interrupted run does not wait for answers.
    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [result for result in results if result is not None]
