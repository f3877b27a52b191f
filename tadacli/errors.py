"""The errors a person can cause or mend; everything else is a bug and stays an ordinary exception."""


class TadaError(Exception):
    """A known failure: what went wrong, and what to do about it.

    `message` says what and which; `hint` says what to do next and may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def reason(self) -> str:
        """Both in one line, as results say it."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(TadaError):
    """An option or argument that cannot be meant as it was given."""

    exit_code = 2


class NothingScoredError(TadaError):
    """An evaluation in which not one item has both a score and a class."""

    exit_code = 3


class VideoError(TadaError):
    """A video that cannot be opened or decoded, or that lacks a frame that was asked for."""


class CheckpointError(TadaError):
    """A weights file that is missing, damaged or made for another network."""


class FetchError(TadaError):
    """A file that could not be downloaded, or that is not the one that was asked for."""


class NoConnectionError(FetchError):
    """A server that could not be reached at all, as on a machine without a network."""


class NotThereError(FetchError):
    """A file that the server or the folder does not have."""


class SpecError(TadaError):
    """A model specification that is unknown, incomplete or contradicts itself."""


class UndecidedError(SpecError):
    """A model whose settings need a person's word: one is not known, or two sides say different things."""


class OutputError(TadaError):
    """Results that cannot be written, or that must not be overwritten."""
