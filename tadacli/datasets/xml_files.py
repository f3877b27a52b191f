"""XML from outside: elements alone, without declarations and so without entities, and of bounded size."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tadacli.datasets.tables import AnyPath
from tadacli.errors import UsageError

_MOST_BYTES = 128 << 20


class _DoctypeError(Exception):
    """A document declares a document type."""


class _NoDoctype(ElementTree.TreeBuilder):
    """Builds the tree of a document that declares nothing: entities come from declarations alone."""

    def doctype(self, *_: object) -> None:
        raise _DoctypeError


def parse_xml(content: bytes, file: AnyPath) -> Element:
    """The root of a document.

    Args:
        content: Its bytes.
        file: Its name, for errors.

    Returns:
        The root element, with all that is in it.

    Raises:
        UsageError: It is not XML, declares a document type, or is larger than 128 MiB.
    """
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{file} has {len(content)} bytes, more than any annotations", hint="give a smaller file")
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(content)
        root: Element = parser.close()
    except _DoctypeError as error:
        raise UsageError(
            f"{file} declares a document type, which annotations do not", hint="save it again with its program"
        ) from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UsageError(f"{file} is not XML: {error}", hint="it may be unfinished") from error
    return root
