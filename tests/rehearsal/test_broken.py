from __future__ import annotations

import io
import struct
import wave
import zlib
from typing import Any

import pytest

from mimo_gb10.rehearsal.checks import broken, damage
from mimo_gb10.smoke import media
from mimo_gb10.smoke.check import Check, Outcome, Session, Status
from mimo_gb10.smoke.client import Client, parse_url
from mimo_gb10.smoke.runner import run
from tests.rehearsal.stand_in import StandIn, serve

SMALL = ("zero-bytes", "truncated", "text", "other-medium", "not-base64", "unreachable")


def checks_of(server: StandIn, **more: Any) -> tuple[Check, ...]:
    return broken.checks(server.alive, server.revive, settle=0.3, timeout=0.5, **more)


def outcomes(server: StandIn, *names: str, **more: Any) -> dict[str, Outcome]:
    """What the named checks find, all small ones if none is named."""
    checks = checks_of(server, **more)
    small = [check for check in checks if check.name.endswith(SMALL)]
    chosen = [check for check in checks if check.name in names] if names else small
    session = Session(Client(parse_url(server.url), None, 1.0), trained=False)
    return {result.check.name.removeprefix("broken-"): result.outcome for result in run(chosen, session)}


def test_each_modality_has_each_fault() -> None:
    with serve() as server:
        names = [check.name for check in checks_of(server)]
    assert len(set(names)) == len(names)
    for modality in ("image", "audio", "video"):
        assert {f"broken-{modality}-{fault}" for fault in (*SMALL, "huge")} <= set(names)
    assert "broken-transcription-truncated" in names
    assert "broken-transcription-not-base64" not in names
    assert "broken-image-large" in names


def test_refusals_are_right() -> None:
    with serve() as server:
        found = outcomes(server)
        assert server.revivals == 0
        # A text after each.
        assert [kind for kind, _ in server.seen].count("chat") >= 2 * 18
    assert {outcome.status for outcome in found.values()} == {Status.OK}, found
    assert found["image-text"].says.startswith("refused: HTTP 400")
    assert found["image-text"].numbers == {"http_status": 400, "ranks": "alive"}


def test_an_error_of_a_server_that_lives_is_a_warning() -> None:
    with serve("refuses-500") as server:
        found = outcomes(server, "broken-audio-truncated", "broken-transcription-text")
        assert server.revivals == 0
    assert {outcome.status for outcome in found.values()} == {Status.WARN}
    assert "HTTP 500 for what the client did wrong" in found["audio-truncated"].says
    # Not the whole upload that the message repeats.
    assert len(found["audio-truncated"].says) < 300


def test_a_connection_cut_of_a_server_that_lives_is_a_warning() -> None:
    with serve("cuts") as server:
        found = outcomes(server, "broken-image-text")["image-text"]
    assert found.status is Status.WARN
    assert found.numbers["http_status"] is None


@pytest.mark.parametrize("fault", ["dies", "dies-later"])
def test_a_death_is_a_failure_and_the_next_check_has_a_server(fault: str) -> None:
    with serve(fault) as server:
        found = outcomes(server, "broken-image-zero-bytes", "broken-audio-text")
        assert server.revivals == 2
    for outcome in found.values():
        assert outcome.status is Status.FAIL
        assert outcome.says == "the ranks died: rank 1 was ended by SIGABRT"
        assert outcome.numbers["ranks"] == "died"
        assert "it was started again" in outcome.evidence


def test_a_server_that_hangs_is_started_again() -> None:
    with serve("hangs") as server:
        found = outcomes(server, "broken-image-text")["image-text"]
        assert server.revivals == 1
    assert found.status is Status.FAIL
    assert found.says == "the server hangs: no complete answer within 0.5 s"
    assert found.numbers["ranks"] == "hung"


def test_without_a_server_the_rest_is_skipped() -> None:
    with serve("dies") as server:
        server.can_revive = False
        checks = [check for check in checks_of(server) if check.name.endswith(("image-text", "audio-text"))]
        session = Session(Client(parse_url(server.url), None, 1.0), trained=False)
        first, second = (check.run(session) for check in checks)
        assert server.revivals == 1
    assert first.status is Status.FAIL
    assert "it could not be started again" in first.evidence
    assert second.status is Status.SKIP


def test_a_server_that_was_dead_before_is_not_the_uploads_doing() -> None:
    with serve() as server:
        server.die()
        found = outcomes(server, "broken-image-text")["image-text"]
        assert server.revivals == 1
        assert found.status is Status.OK
        server.die()
        server.can_revive = False
        assert checks_of(server)[0].run(Session(Client(parse_url(server.url)))).status is Status.SKIP


def test_what_is_accepted_without_reason_is_a_warning() -> None:
    with serve("accepts") as server:
        found = outcomes(server)
    assert found["audio-truncated"].status is Status.OK
    assert {found[f"image-{fault}"].status for fault in SMALL if fault != "truncated"} == {Status.WARN}


def test_a_modality_that_fails_anyway_is_left_out() -> None:
    with serve() as server:
        found = outcomes(server, known=frozenset({"transcription", "tools"}))
    assert {outcome.status for name, outcome in found.items() if name.startswith("transcription")} == {Status.SKIP}


def test_a_huge_clip_is_not_made_and_that_is_said() -> None:
    with serve() as server:
        found = outcomes(server, "broken-video-huge")["video-huge"]
    assert found.status is Status.SKIP
    assert "encoder" in found.says


# --- the files


def test_the_bomb_is_a_right_image() -> None:
    data = damage.png(20000)
    assert len(data) < 500_000
    assert struct.unpack(">II", data[16:24]) == (20000, 20000)
    at, kinds, pixels = 8, [], zlib.decompressobj()
    size = 0
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + body),)
        if kind == b"IDAT":
            size += len(pixels.decompress(body))
        kinds.append(kind)
        at += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    assert size == 20000 * 2501


def test_the_silence_is_half_an_hour() -> None:
    data = damage.silence()
    assert len(data) < 30_000_000
    with wave.open(io.BytesIO(data)) as file:
        assert file.getnframes() / file.getframerate() == 1800
        assert file.readframes(4) == b"\x80" * 4


def test_the_damage_is_what_it_says() -> None:
    assert damage.zero("audio").content == b""
    assert damage.zero("audio").uri == "data:audio/wav;base64,"
    whole = media.content(media.CLIP)
    assert damage.truncated("video").content == whole[: len(whole) // 2]
    assert damage.other("image").content == media.content(media.WAV)
    assert damage.other("image").media_type == "image/png"
    assert damage.unreachable("video").uri.startswith("http://127.0.0.1:")
    assert "@@" in damage.not_base64("image").uri
    assert set(damage.FAULTS) == {*SMALL, "large", "huge"}
