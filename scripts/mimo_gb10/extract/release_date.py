"""When a release was built, from the timestamps inside its wheel."""

from __future__ import annotations

import zipfile
from pathlib import Path

from mimo_gb10.extract.values import Unresolved


def release_date(path: Path) -> str:
    """The day on which a wheel was built, as ``YYYY-MM-DD``.

    It is the timestamp of the member ``RECORD``, which the build writes last. A zip timestamp has no
    time zone, and the wheels for other platforms may have been built on the day before or after.

    Raises:
        Unresolved: the wheel has no ``RECORD``.
    """
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".dist-info/RECORD"):
                year, month, day, *_ = info.date_time
                return f"{year:04}-{month:02}-{day:02}"
    raise Unresolved("the wheel has no RECORD")
