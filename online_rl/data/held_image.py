"""An image that lies inside a data set and is fetched when it is shown: text that says where, so any process can."""

from __future__ import annotations

import json


class HeldImage(str):
    """`hf:[path, configuration, split, row, column, place]`."""

    __slots__ = ()
    PREFIX = "hf:"

    @classmethod
    def at(cls, *place: str | int | None) -> HeldImage:
        """The image of this place."""
        return cls(cls.PREFIX + json.dumps(place))

    @staticmethod
    def is_one(source: object) -> bool:
        """Whether a source of an image is such a text; it may have been through a file."""
        return isinstance(source, str) and source.startswith(HeldImage.PREFIX + "[")

    @staticmethod
    def fetch(source: str) -> bytes | str:
        """Its encoded bytes, or the path that the data set has in their place."""
        from online_rl.data.dataset_files import image_bytes

        return image_bytes(*json.loads(source[len(HeldImage.PREFIX) :]))
