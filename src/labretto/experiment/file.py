"""A file that a person brings as the answer to a question: where it stands in the run's record, and its bytes.

As an annotation (`run.ask("A photo", answer=labretto.File)`) it makes a form with a field for a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema


class File(str):
    """The place of a file in the record of its run, such as `files/photo.png`; in every other way a text.

    Attributes:
        path: where it lies on the machine of the hub; None where nobody said which record is meant.
    """

    __slots__ = ("path",)
    path: Path | None

    def __new__(cls, place: str, folder: Path | None = None) -> File:
        """The file at `place` of the record in `folder`."""
        file = super().__new__(cls, place)
        file.path = None if folder is None else folder / place
        return file

    def read_bytes(self) -> bytes:
        """What is in it."""
        if self.path is None:
            raise FileNotFoundError(f"{self!s} is a place in a record; open the record to read it.")
        return self.path.read_bytes()

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        def made(value: str, info: ValidationInfo) -> File:
            return cls(value, (info.context or {}).get("folder"))

        return core_schema.with_info_after_validator_function(
            made, core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "file"}
