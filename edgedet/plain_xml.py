"""XML documents of unknown origin: elements, attributes and text, and nothing that grows."""

from __future__ import annotations

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat


def parse_xml(data: bytes, *, depth: int = 32, elements: int = 1_000_000) -> Element:
    """The root of an XML document, which must not declare anything.

    A declaration can make entities of entities, whose text grows without bound, or fetch files: the
    first is refused before it is read.

    Args:
        data: the document.
        depth: how deep elements may be nested.
        elements: how many there may be.

    Raises:
        ValueError: not well-formed, with a DOCTYPE, nested too deep, or too many elements; the text
            says which, and can follow the name of the file.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    nested = counted = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal nested, counted
        nested += 1
        counted += 1
        if nested > depth:
            raise ValueError(f"nests elements more than {depth} deep")
        if counted > elements:
            raise ValueError(f"has more than {elements} elements")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal nested
        nested -= 1
        builder.end(name)

    def refuse(*_: object) -> None:
        raise ValueError("has a DOCTYPE, which it does not need")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f"is not well-formed xml ({error})") from None
    return builder.close()
