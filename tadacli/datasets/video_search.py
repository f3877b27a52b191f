"""Finds the videos that people's annotations name: written by hand, on another system, or by another program."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from tadacli.datasets.tables import AnyPath, named
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import UsageError
from tadacli.video.inputs import VIDEO_SUFFIXES, is_video_name

# Where videos are looked for below the folder that is given.
FOLDERS = ("", "videos")
_SUFFIXES = tuple(sorted(VIDEO_SUFFIXES)) + tuple(sorted(suffix.upper() for suffix in VIDEO_SUFFIXES))


def without_suffix(video: str) -> str:
    """The name of a video, with its folders, but without the suffix of a video file."""
    return os.path.splitext(video)[0] if is_video_name(video) else video


class VideoSearch:
    """Finds videos by name below a folder.

    A name may lack its suffix, use the backslashes of Windows, or differ in case or in how accents are composed from
    the one file that it can mean; what was taken so is in `remarks`. A path of another computer stands for the file of
    its name, unless the annotations have two such paths.
    """

    def __init__(self, root: AnyPath, names: Iterable[str] = ()) -> None:
        """Searches below `root`; `names` are all that will be asked for. Raises `UsageError` if `root` is no folder."""
        self._root = os.fspath(root)
        self._files = VideoFiles(root)
        self._num_paths = Counter(_last(name) for name in set(names) if _is_elsewhere(name))
        self._other_names: dict[str, str] = {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to know of videos that have another name than the annotations say; nothing if all have theirs."""
        if not self._other_names:
            return ()
        examples = [f"{name!r} is {found}" for name, found in sorted(self._other_names.items())]
        return (f"{len(examples)} videos have other names than the annotations say: {named(examples, most=3)}",)

    def find(self, name: str, folders: Sequence[str] = FOLDERS, *, also: Sequence[str] = ()) -> Path | None:
        """The video of a name, in the first of the folders that has it.

        Args:
            name: The name as the annotations have it, maybe with folders.
            folders: Folders below the root.
            also: Further names to try if there is none of this.

        Returns:
            The file, or the folder of frames; None if there is none.

        Raises:
            UsageError: The name could mean several files.
        """
        spellings = [*self._spellings(name), *also]
        for spelling in spellings:
            found = find_video(self._files, spelling, folders)
            if found is not None:
                return found
        for spelling in spellings:
            for folder in folders:
                matches = self._files.find_alike(os.path.join(folder, spelling))
                if len(matches) > 1:
                    raise _ambiguous(name, matches)
                if matches:
                    wanted = _composed(_last(spelling))
                    if wanted not in (_composed(matches[0].name), _composed(matches[0].stem)):
                        self._other_names[name] = os.path.relpath(matches[0], self._root)
                    return matches[0]
        return None

    def find_exactly(self, names: Sequence[str]) -> Path | None:
        """The first file that has one of these very names, below the root or in its folder `videos`."""
        return self._files.find(os.path.join(folder, name) for name in names for folder in FOLDERS)

    def missing(self, name: str, folders: Sequence[str] = FOLDERS, *, also: Sequence[str] = ()) -> str:
        """Why there is no video of a name: the folder and the names that were tried."""
        tried = [os.path.join(folder, spelling) for spelling in [*self._spellings(name), *also] for folder in folders]
        return (
            f"no {named(list(dict.fromkeys(tried)))} in {os.path.abspath(self._root)}, in whatever case and with the "
            "suffix of any video"
        )

    def _spellings(self, name: str) -> list[str]:
        """The name, with slashes, below the root itself if it begins with the root's name, and without its folders."""
        spellings = [name, name.replace("\\", "/")]
        parts = PurePosixPath(spellings[-1]).parts
        if len(parts) > 1 and parts[0] == os.path.basename(os.path.abspath(self._root)):
            spellings.append("/".join(parts[1:]))
        if _is_elsewhere(name):
            # The folders next to the file may have been copied with it.
            spellings += ["/".join(parts[-number:]) for number in (3, 2) if number < len(parts)]
            # The name alone says nothing where two such paths share it.
            spellings += [_last(name)] if self._num_paths[_last(name)] < 2 else []
        return list(dict.fromkeys(spellings))


def find_video(videos: VideoFiles, name: str, folders: Sequence[str]) -> Path | None:
    """The video of this very name, which may lack its suffix, in the first folder that has it; None if none has.

    Raises `UsageError` if a name without a suffix could be several files.
    """
    for folder in folders:
        found = videos.find([os.path.join(folder, name)], folders=True)
        if found is not None:
            return found
        matches = [path for suffix in _SUFFIXES if (path := videos.find([os.path.join(folder, name + suffix)]))]
        if len(matches) > 1:
            raise _ambiguous(name, matches)
        if matches:
            return matches[0]
    return None


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _last(name: str) -> str:
    return PureWindowsPath(name).name


def _is_elsewhere(name: str) -> bool:
    return bool(PureWindowsPath(name).drive) or name.startswith(("/", "\\"))


def _ambiguous(name: str, matches: Sequence[Path]) -> UsageError:
    return UsageError(f"the video {name} could be {matches[0]} or {matches[1]}", hint="name it with its suffix")
