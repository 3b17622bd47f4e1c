"""OME-TIFF of several files, each of which describes the pages of all: each is read only for its own pages."""

from xml.etree import ElementTree


def own_pages(xml: str, name: str) -> str:
    """Return the OME-XML of a file without the pages of other files; the numbers of its own begin at 0.

    Args:
        xml: as it stands in the file.
        name: of the file; it decides where the XML gives the file no identifier.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:  # tifffile then reads the pages as they come
        return xml
    for pixels in root.iterfind(".//{*}Pixels"):
        given = pixels.findall("{*}TiffData")
        own = [data for data in given if _is_own(data.find("{*}UUID"), root.get("UUID"), name)]
        if len(own) == len(given):
            continue
        for data in given:
            if data not in own:
                pixels.remove(data)
        for axis in "CZT":
            number = {data: int(data.get(f"First{axis}", 0)) for data in own}
            kept = sorted(set(number.values()))
            for data in own:
                data.set(f"First{axis}", str(kept.index(number[data])))
            samples = [int(channel.get("SamplesPerPixel", 1)) for channel in pixels.findall("{*}Channel")]
            pixels.set(f"Size{axis}", str(len(kept) * (samples[0] if axis == "C" and samples else 1)))
    return ElementTree.tostring(root, "unicode")


def _is_own(uuid: ElementTree.Element | None, own: str | None, name: str) -> bool:
    if uuid is None:
        return True
    return uuid.text == own if own else uuid.get("FileName", "").lower() == name.lower()
