"""Writing files whole: through a temporary file and a rename."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mimo_gb10.findings import Location, Refused, error


@dataclass(frozen=True, slots=True)
class Output:
    """One file to write.

    Attributes:
        text: Its content.
        executable: Whether it is a script to run.
    """

    text: str
    executable: bool = False


def write_files(folder: Path, outputs: Mapping[str, Output]) -> None:
    """Write files into a folder, which is made if it is not there; all of them or none.

    Raises:
        Refused: If the folder or a file cannot be written; nothing is left behind.
    """
    made: list[Path] = []
    waiting: list[tuple[Path, Path]] = []
    try:
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir()
            made.append(missing)
        for name, output in outputs.items():
            place = (folder / name).parent
            for missing in reversed([path for path in (place, *place.parents) if not path.exists()]):
                missing.mkdir()
                made.append(missing)
            handle, temporary = tempfile.mkstemp(dir=place, prefix=f".{(folder / name).name}.")
            waiting.append((Path(temporary), folder / name))
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(output.text)
            Path(temporary).chmod(0o755 if output.executable else 0o644)
        for _, path in waiting:
            if path.is_dir():
                raise IsADirectoryError(21, "a folder is in the way", str(path))
        for temporary_path, path in waiting:
            temporary_path.replace(path)
    except OSError as problem:
        for temporary_path, _ in waiting:
            temporary_path.unlink(missing_ok=True)
        for missing in reversed(made):
            with contextlib.suppress(OSError):
                missing.rmdir()
        reason = problem.strerror or type(problem).__name__
        raise Refused(
            [
                error(
                    "out-unwritable",
                    f"cannot write to {str(folder)!r}: {reason}",
                    "Name a folder that you can write to.",
                    Location(str(folder)),
                )
            ]
        ) from None


def create_file(path: Path, text: str) -> None:
    """Write a file that must not exist yet.

    Raises:
        Refused: If it exists, or cannot be written.
    """
    place = Location(str(path))
    try:
        with path.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        remedy = "Choose another name, or move the file away."
        raise Refused([error("file-exists", f"{str(path)!r} exists and is left as it is", remedy, place)]) from None
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        remedy = "Name a file in a folder that you can write to."
        raise Refused([error("out-unwritable", f"cannot write {str(path)!r}: {reason}", remedy, place)]) from None
