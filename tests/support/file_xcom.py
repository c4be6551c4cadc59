"""An XCom backend that keeps values in files, and gives Airflow a reference."""

import json
import os
import uuid
from pathlib import Path

from airflow.sdk.bases.xcom import BaseXCom

PREFIX = "file://"


class FileXCom(BaseXCom):
    @staticmethod
    def serialize_value(value, **kwargs):
        path = Path(os.environ["FILE_XCOM"]) / str(uuid.uuid4())
        path.write_text(json.dumps(BaseXCom.serialize_value(value)))
        return BaseXCom.serialize_value(f"{PREFIX}{path}")

    @staticmethod
    def deserialize_value(result):
        reference = BaseXCom.deserialize_value(result)
        stored = json.loads(Path(reference.removeprefix(PREFIX)).read_text())

        class Stored:
            value = stored

        return BaseXCom.deserialize_value(Stored)
