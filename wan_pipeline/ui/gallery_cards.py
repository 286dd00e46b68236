"""What the gallery shows, as HTML: the grid, the sheet of one clip, two clips side by side. All typed text is escaped.

A button's `data-act` says what a click on it asks for, and the nearest `data-clip` of which clip.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from wan_pipeline.clips.gallery import Clip, GalleryPage, GalleryQuery
from wan_pipeline.jobs.background.verifications import Verification, VerifyState
from wan_pipeline.ui.cards import STAGES, Names, file_url, notice
from wan_pipeline.ui.icons import action, icon, sign
from wan_pipeline.ui.settings_cards import history, settings, table

PAGE_SIZE = 48


# The grid ----------------------------------------------------------------------------------------------------------


def grid(page: GalleryPage, query: GalleryQuery, offset: int, picked: Sequence[str]) -> str:
    if not page.items:
        return _nothing(query)
    tiles = "".join(_tile(clip, clip.id in picked) for clip in page.items)
    return f'<div class="grid" role="list">{tiles}</div>{_pager(page, offset)}'


def count(total: int) -> str:
    return f'<p class="count">{total:,} clip{"" if total == 1 else "s"}</p>'


def _nothing(query: GalleryQuery) -> str:
    if query == GalleryQuery():
        title, text = "No clips yet", "What you make appears here, with everything needed to make it again."
    elif query == GalleryQuery(binned=True):
        title, text = "The bin is empty", "Deleted clips wait here until you empty the bin."
    else:
        title, text = "Nothing found", "No clip fits this search and these filters."
    return f'<div class="nothing"><span class="reel" aria-hidden="true"></span><h2>{title}</h2><p>{text}</p></div>'


def _tile(clip: Clip, is_picked: bool) -> str:
    words = escape(clip.request.prompt or "Clip without a prompt", quote=True)
    if clip.poster.is_file():
        picture = f'<img src="{file_url(clip.poster)}" alt="" loading="lazy" decoding="async">'
    else:
        picture = '<span class="mark">Its files are gone</span>'
    note = f'<span class="noted" title="{escape(clip.note, quote=True)}">{icon("edit")}</span>' if clip.note else ""
    star = sign("star", "Star", "star", kind="star", pressed=clip.starred)
    kind = "clip picked" if is_picked else "clip"
    pick = sign("pick", "Pick to compare", "compare", kind="pick", pressed=is_picked)
    return (
        f'<article role="listitem" class="{kind}" data-clip="{escape(clip.id, quote=True)}">'
        f'<button type="button" class="poster" data-act="open" aria-label="Open clip: {words}">{picture}</button>'
        f'<div class="over">{pick}{star}</div>'
        f'<p class="title" title="{words}">{words}</p><p class="meta">{_meta(clip)}{note}</p></article>'
    )


def _meta(clip: Clip) -> str:
    request = clip.request
    when = clip.made_at.astimezone().strftime("%d %b, %H:%M")
    parts = [
        when,
        f"{request.width} × {request.height}",
        f"{(request.num_frames - 1) / request.fps:.3g} s",
        clip.project,
    ]
    return " · ".join(escape(part) for part in parts if part)


def _pager(page: GalleryPage, offset: int) -> str:
    if page.total <= PAGE_SIZE:
        return ""
    last = offset + len(page.items)
    newer = "" if offset else " disabled"
    older = "" if last < page.total else " disabled"
    return (
        '<nav class="pager" aria-label="Pages">'
        f'<button type="button" class="act" data-act="newer"{newer}>{icon("left")}<span>Newer</span></button>'
        f"<p>{offset + 1:,} to {last:,} of {page.total:,}</p>"
        f'<button type="button" class="act" data-act="older"{older}><span>Older</span>{icon("right")}</button></nav>'
    )


def picks(clips: Sequence[Clip]) -> str:
    """The bar that says what has been picked to compare."""
    if not clips:
        return ""
    pictures = "".join(f'<img src="{file_url(clip.poster)}" alt="">' for clip in clips)
    if len(clips) == 1:
        text, button = "Pick one more to compare", ""
    else:
        text, button = "Two clips picked", action("compare", "Compare", "compare", kind="main")
    return (
        f'<div class="bar-below" role="status">{pictures}<p>{text}</p>{button}'
        f"{sign('unpick', 'Pick none', 'close')}</div>"
    )


def toast(text: str, undo: Sequence[str] = (), more: str = "") -> str:
    """What has just been done, for some seconds, with a way back. `more` is HTML."""
    ids = escape(" ".join(undo), quote=True)
    back = f'<button type="button" class="link" data-act="undo" data-ids="{ids}">Undo</button>' if undo else ""
    return f'<div class="toast" role="status" data-at="{time.monotonic_ns()}"><p>{escape(text)}</p>{back}{more}</div>'


# The sheet of one clip ---------------------------------------------------------------------------------------------


def sheet(clip: Clip, names: Names, *, is_local: bool = False) -> str:
    """One clip, large, with all that can be done with it. `is_local`: the person sits at the studio's own computer."""
    ratio = f"--ratio: {clip.request.width / clip.request.height:.5f}"
    return (
        f'<div class="sheet" data-clip="{escape(clip.id, quote=True)}" role="dialog" aria-modal="true" '
        f'aria-label="Clip"><div class="sheet-view">{_close()}'
        f"{sign('previous', 'Newer clip', 'left', kind='step before')}"
        f'<div class="frame" style="{ratio}">{_player(clip)}</div>'
        f"{sign('next', 'Older clip', 'right', kind='step after')}"
        f'</div><aside class="sheet-side">{_head(clip)}{_buttons(clip, is_local)}{_note(clip)}'
        f"{table(settings(clip.request, names) | history(clip))}</aside></div>"
    )


def _close() -> str:
    return sign("close", "Close", "close", kind="close")


def _player(clip: Clip) -> str:
    if not clip.path.is_file():
        return '<div class="message failed"><h2>This clip is gone</h2><p>Its settings are still here.</p></div>'
    poster = f' poster="{file_url(clip.poster)}"' if clip.poster.is_file() else ""
    label = escape(f"Clip: {clip.request.prompt}", quote=True)
    return (
        f'<video src="{file_url(clip.path)}"{poster} aria-label="{label}" '
        "autoplay muted loop playsinline controls></video>"
    )


def _head(clip: Clip) -> str:
    star = sign("star", "Star", "star", kind="star", pressed=clip.starred)
    return (
        f'<div class="sheet-head"><p class="prompt">{escape(clip.request.prompt or "Without a prompt")}</p>{star}</div>'
    )


def _buttons(clip: Clip, is_local: bool) -> str:
    if clip.is_binned:
        return f'<div class="acts">{action("unbin", "Put back", "restore", kind="main")}</div>'
    name = f"wan-studio-{clip.request.seed}-{clip.id[:8]}.mp4"
    save = (
        f'<a class="act" href="{file_url(clip.path)}" download="{escape(name, quote=True)}">'
        f"{icon('download')}<span>Download</span></a>"
    )
    return (
        f'<div class="acts">{action("reuse", "Reuse settings", "reuse", kind="main")}'
        f"{action('vary', 'Vary seed', 'dice')}{action('frame', 'Use last frame', 'frame')}{save}"
        f"{action('share', 'Share copy', 'share')}{action('verify', 'Verify', 'verify')}"
        f"{action('folder', 'Open folder', 'folder') if is_local else ''}"
        f"{action('bin', 'Delete', 'bin', kind='bad')}</div>"
    )


def _note(clip: Clip) -> str:
    return (
        '<label class="note"><span>Note</span><textarea data-change="note" rows="2" maxlength="2000" '
        f'placeholder="For yourself; the search finds it">{escape(clip.note)}</textarea></label>'
    )


def share_link(copy: Path) -> str:
    """Where the copy without its settings can be had; it downloads by itself."""
    link = f'<a data-auto href="{file_url(copy)}" download="{escape(copy.name, quote=True)}">Download it again</a>'
    return f'<p class="notice good" role="status">A copy without prompt and settings is on its way. {link}</p>'


def verification(state: Verification | None) -> str:
    """How making the clip once more stands, or what came of it."""
    if state is None:
        return ""
    match state.state:
        case VerifyState.WAITING:
            text = "It will be made once more as soon as the queue is idle, and compared."
        case VerifyState.RENDERING:
            step = f", step {state.step} of {state.total}" if state.total else ""
            text = f"Being made once more: {STAGES[state.stage].lower()}{step}."
        case VerifyState.FAILED:
            return notice(state.error or "It could not be verified; logs/verify.log may say why.")
        case VerifyState.DONE:
            kind = "good" if state.verdict and state.verdict.identical else "warning"
            return (
                f'<p class="notice {kind}" role="status">{escape(state.verdict.sentence if state.verdict else "")}</p>'
            )
    return f'<p class="notice busy" role="status"><span class="spinner" aria-hidden="true"></span>{escape(text)}</p>'
