"""Uploaded files, served so that a browser shows what cannot act and saves the rest."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import Response

#: By extension; the type that an upload says is not looked at.
_SHOWN = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "mp4": "video/mp4",
    "3gp": "video/3gpp",
    "3gpp": "video/3gpp",
}


def served(filename: str, content: bytes) -> Response:
    """
    Return a file.

    :param filename: as it was uploaded
    """
    kind = _SHOWN.get(filename.rpartition(".")[2].lower())
    how = "attachment" if kind is None else "inline"
    name = quote(filename.encode("utf-8", "replace"), safe="")
    return Response(
        content,
        media_type=kind or "application/octet-stream",
        headers={"Content-Disposition": f"{how}; filename*=UTF-8''{name}"},
    )
