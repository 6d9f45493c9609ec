"""Pictures, sound and video in chat: seen, counted, and understood."""

from __future__ import annotations

from typing import Any

from mimo_gb10.release import version_key
from mimo_gb10.smoke import media
from mimo_gb10.smoke.chat import ChatAnswer, ask, request, text_part, url_part
from mimo_gb10.smoke.check import Check, Outcome, Session, fail, ok, skip, warn
from mimo_gb10.smoke.expect import known_defect
from mimo_gb10.smoke.judge import has_word, word_error_rate, words

ROOM = 1024
FEW = 16
"""Tokens that an untrained model is asked for."""

LEAST = {"image": 16, "audio": 8, "video": 32}
"""Prompt tokens that each medium adds at the very least; a server that drops it adds none. Our estimate: a picture of
448 pixels a side is 14 x 14 merged patches of 32 pixels."""

HEARD_WELL, HEARD = 0.2, 0.5
"""Word error rates: up to the first is well, above the second is not heard. Our estimate; the voice is synthetic."""


def _ask(session: Session, text: str, *parts: dict[str, Any]) -> tuple[ChatAnswer, int]:
    """The answer, and how many prompt tokens the media added."""
    room = ROOM if session.trained else FEW
    answer = ask(session.client, request(session.model, [*parts, text_part(text)], max_tokens=room))
    plain = ask(session.client, request(session.model, [text_part(text)], max_tokens=1))
    return answer, (answer.prompt_tokens or 0) - (plain.prompt_tokens or 0)


def _dropped(kind: str, added: int, answer: ChatAnswer, count: int = 1) -> Outcome | None:
    least = LEAST[kind] * count
    if added >= least:
        return None
    says = f"the {kind} added {added} prompt tokens, at least {least} are due: it did not reach the model"
    return fail(says, answer.evidence())


def image(session: Session) -> Outcome:
    """One picture: a red circle, a blue square, a green triangle and a digit."""
    text = "Which digit is in the picture, and which colour is the circle? Answer as: digit, colour."
    answer, added = _ask(session, text, url_part("image", media.data_uri(media.SHAPES)))
    dropped = _dropped("image", added, answer)
    if dropped or not session.trained:
        return dropped or ok(f"{added} prompt tokens of picture", answer.evidence(), numbers={"image_tokens": added})
    digit, colour = has_word(answer.content, media.SHAPES_DIGIT), has_word(answer.content, "red")
    if digit and colour:
        return ok(
            f"saw the {media.SHAPES_DIGIT} and the red circle", answer.evidence(), numbers={"image_tokens": added}
        )
    remedy = "On GB10 the vision tower's sinks and window are ignored (github.com/sgl-project/sglang/issues/37983)."
    seen = "the digit only" if digit else "the colour only" if colour else "neither digit nor colour"
    return fail(f"saw {seen}: {answer.content[:60]!r}", answer.evidence(), help=remedy)


def images(session: Session) -> Outcome:
    """Two pictures, told apart and in order."""
    text = "Which digit is in the first picture, and which in the second? Answer as: first, second."
    parts = [url_part("image", media.data_uri(name)) for name in (media.SHAPES, media.CROSS)]
    answer, added = _ask(session, text, *parts)
    dropped = _dropped("image", added, answer, 2)
    if dropped or not session.trained:
        return dropped or ok(f"{added} prompt tokens of pictures", answer.evidence(), numbers={"image_tokens": added})
    digits = [ch for ch in answer.content if ch.isdigit()]
    wanted = [media.SHAPES_DIGIT, media.CROSS_DIGIT]
    if digits == wanted:
        return ok(f"saw {' and '.join(wanted)} in order", answer.evidence(), numbers={"image_tokens": added})
    if sorted(set(digits)) == sorted(wanted):
        return warn(f"saw both digits, not simply in order: {answer.content[:60]!r}", answer.evidence())
    return fail(f"saw {digits or 'no digit'}, should have seen {wanted}", answer.evidence())


def _heard(session: Session, part: dict[str, Any]) -> Outcome:
    text = "Write down what is said, word for word, and nothing else."
    answer, added = _ask(session, text, part)
    dropped = _dropped("audio", added, answer)
    if dropped or not session.trained:
        return dropped or ok(f"{added} prompt tokens of sound", answer.evidence(), numbers={"audio_tokens": added})
    return judge_transcript(answer.content, answer.evidence())


def judge_transcript(heard: str, *evidence: str) -> Outcome:
    """Whether a text is what is said in our recording."""
    rate = word_error_rate(media.SENTENCE, heard)
    numbers = {"word_error_rate": round(rate, 3)}
    if rate <= HEARD_WELL:
        return ok(f"heard it, word error rate {rate:.0%}", *evidence, numbers=numbers)
    says = f"word error rate {rate:.0%}: {heard[:80]!r}"
    if rate <= HEARD:
        return warn(says, f"said: {media.SENTENCE}", *evidence, numbers=numbers)
    return fail(says, f"said: {media.SENTENCE}", *evidence, numbers=numbers)


def audio(session: Session) -> Outcome:
    """A spoken sentence as ``audio_url``, which every release takes."""
    return _heard(session, url_part("audio", media.data_uri(media.WAV)))


def audio_inline(session: Session) -> Outcome:
    """The same as ``input_audio``, as the OpenAI library sends it. SGLang takes it from 0.5.19 on."""
    catalog = session.release
    if catalog is not None and version_key(catalog.version) < version_key("0.5.19"):
        return skip(f"SGLang {catalog.version} does not know input_audio; 0.5.19 and later do")
    data = media.data_uri(media.MP3).partition(",")[2]
    return _heard(session, {"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}})


def video(session: Session) -> Outcome:
    """Three seconds: a red square moves to the right."""
    text = "Which colour is the square, and does it move to the left or to the right? Answer as: colour, direction."
    answer, added = _ask(session, text, url_part("video", media.data_uri(media.CLIP)))
    dropped = _dropped("video", added, answer)
    if dropped or not session.trained:
        return dropped or ok(f"{added} prompt tokens of video", answer.evidence(), numbers={"video_tokens": added})
    colour = has_word(answer.content, "red")
    direction = moves_right(answer.content)
    if colour and direction:
        return ok("saw the red square move to the right", answer.evidence(), numbers={"video_tokens": added})
    if colour:
        return warn(f"saw the colour, not the direction: {answer.content[:60]!r}", answer.evidence())
    return fail(f"saw no red square: {answer.content[:60]!r}", answer.evidence())


def moves_right(text: str) -> bool:
    """Whether a text says that something moves to the right: "right", "left to right", and not the other way."""
    found = " ".join(words(text)).replace("left to right", "right").replace("to the right from the left", "right")
    return has_word(found, "right") and not has_word(found, "left")


# --- transcription

PATH = "/v1/audio/transcriptions"


def _upload(session: Session, name: str, **fields: str) -> Any:
    fields = {"model": session.model, **fields}
    answer = session.client.upload(PATH, fields, name, media.content(name), media.media_type(name))
    if answer.status != 200:
        help = known_defect([answer.text])
        return fail(f"HTTP {answer.status} for {name}", answer.excerpt(), help=help)
    return answer


def _judge_text(session: Session, text: object, *evidence: str) -> Outcome:
    if not isinstance(text, str):
        return fail(f"text is {type(text).__name__}", *evidence)
    if not session.trained:
        return ok("a transcript came", *evidence)
    if not text.strip():
        return fail("the transcript is empty", *evidence)
    return judge_transcript(text, *evidence)


def transcribe_json(session: Session) -> Outcome:
    """WAV, no language said, the default format."""
    answer = _upload(session, media.WAV)
    if isinstance(answer, Outcome):
        return answer
    data = answer.json()
    if not isinstance(data, dict):
        return fail("the answer is not an object", answer.excerpt())
    usage = data.get("usage")
    if usage is not None and (not isinstance(usage, dict) or usage.get("seconds") != 5):
        return fail(f"usage is {usage}; the recording has {media.SECONDS} s, 5 when rounded up", answer.excerpt())
    return _judge_text(session, data.get("text"), answer.excerpt())


def transcribe_language(session: Session) -> Outcome:
    """The same with the language said: another path through the server."""
    answer = _upload(session, media.WAV, language="en", response_format="json", temperature="0")
    if isinstance(answer, Outcome):
        return answer
    data = answer.json()
    return _judge_text(session, data.get("text") if isinstance(data, dict) else None, answer.excerpt())


def transcribe_text(session: Session) -> Outcome:
    """MP3, answered as plain text."""
    answer = _upload(session, media.MP3, response_format="text")
    if isinstance(answer, Outcome):
        return answer
    if answer.media_type != "text/plain":
        return fail(f"content type {answer.media_type}, not text/plain", answer.excerpt())
    return _judge_text(session, answer.text, answer.excerpt())


def transcribe_verbose(session: Session) -> Outcome:
    """FLAC, answered with duration and segments."""
    answer = _upload(session, media.FLAC, response_format="verbose_json", language="en")
    if isinstance(answer, Outcome):
        return answer
    data = answer.json()
    if not isinstance(data, dict) or not isinstance(data.get("segments"), list):
        return fail("no list of segments", answer.excerpt())
    duration = data.get("duration")
    if not isinstance(duration, int | float) or abs(duration - media.SECONDS) > 0.2:
        return fail(f"duration is {duration}, the recording has {media.SECONDS} s", answer.excerpt())
    times = [(item.get("start"), item.get("end")) for item in data["segments"] if isinstance(item, dict)]
    if any(not isinstance(value, int | float) or value > media.SECONDS + 30 for pair in times for value in pair):
        return fail(f"segments at {times}", answer.excerpt())
    return _judge_text(session, data.get("text"), answer.excerpt())


def transcribe_stream(session: Session) -> Outcome:
    """The transcript as it is made."""
    from mimo_gb10.smoke.client import form

    fields = {"model": session.model, "stream": "true", "language": "en"}
    body = form(fields, media.WAV, media.content(media.WAV), media.media_type(media.WAV))
    found = session.client.stream(PATH, None, upload=body)
    pieces = []
    for _, event in found.events:
        choices = event.get("choices") if isinstance(event, dict) else None
        if not isinstance(choices, list) or event.get("object") != "transcription.chunk":
            return fail("an event is no transcription.chunk", repr(event)[:200])
        for choice in choices:
            delta = choice.get("delta") if isinstance(choice, dict) else None
            pieces.append((delta or {}).get("content") or "" if isinstance(delta, dict | None) else "")
    text = "".join(pieces)
    return _judge_text(session, text, f"{len(found.events)} events: {text[:160]!r}")


CHECKS = (
    Check("image", "media", "a picture whose content is known", image),
    Check("images", "media", "two pictures, in order", images),
    Check("audio", "media", "a spoken sentence in chat", audio),
    Check("audio-inline", "media", "the same as input_audio", audio_inline),
    Check("video", "media", "a clip whose content is known", video),
    Check("transcribe-json", "transcription", "WAV, JSON", transcribe_json),
    Check("transcribe-language", "transcription", "WAV, language said", transcribe_language),
    Check("transcribe-text", "transcription", "MP3, plain text", transcribe_text),
    Check("transcribe-verbose", "transcription", "FLAC, verbose JSON", transcribe_verbose),
    Check("transcribe-stream", "transcription", "WAV, streamed", transcribe_stream),
)
