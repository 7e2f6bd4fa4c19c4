"""Reads a folder of event files with TensorBoard's own reader and prints what it found as JSON.

    python -m venv VENV && VENV/bin/pip install -r tools/tensorboard/requirements.txt
    VENV/bin/python tools/tensorboard/read.py RUN
"""

import io
import json
import struct
import sys

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.api_pb2 import DataType
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util import tensor_util

EVERYTHING = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}


def scalar(event):
    return [event.step, event.value]


def picture(event):
    png = event.encoded_image_string
    width, height = struct.unpack(">II", png[16:24])
    decoded = Image.open(io.BytesIO(png)).convert("RGB")
    return {
        "images": event.step,
        "size": [event.width, event.height],
        "size_in_png": [width, height],
        "pixels": [list(decoded.getpixel((x, y))) for y in range(height) for x in range(width)],
    }


def histogram(event):
    value = event.histogram_value
    return {
        "images": event.step,
        "range": [value.min, value.max],
        "number": value.num,
        "sum": value.sum,
        "sum_squares": value.sum_squares,
        "limits": list(value.bucket_limit),
        "counts": list(value.bucket),
    }


def text(event):
    return [event.step, tensor_util.make_ndarray(event.tensor_proto).item().decode()]


def hyperparameters(messages):
    found = {"values": {}, "kinds": {}, "metrics": []}
    for message in messages:
        data = HParamsPluginData.FromString(message)
        for name, value in data.session_start_info.hparams.items():
            found["values"][name] = getattr(value, value.WhichOneof("kind"))
        for info in data.experiment.hparam_infos:
            found["kinds"][info.name] = DataType.Name(info.type)
        found["metrics"] += [info.name.tag for info in data.experiment.metric_infos]
    return found


def contents(events, plugin):
    try:
        return events.PluginTagToContent(plugin)
    except KeyError:
        return {}


def read(folder):
    events = EventAccumulator(folder, size_guidance=EVERYTHING)
    events.Reload()
    tags = events.Tags()
    return {
        "scalars": {tag: [scalar(event) for event in events.Scalars(tag)] for tag in tags["scalars"]},
        "pictures": {tag: [picture(event) for event in events.Images(tag)] for tag in tags["images"]},
        "histograms": {tag: [histogram(event) for event in events.Histograms(tag)] for tag in tags["histograms"]},
        "texts": {tag: [text(event) for event in events.Tensors(tag)] for tag in contents(events, "text")},
        "hyperparameters": hyperparameters(contents(events, "hparams").values()),
    }


if __name__ == "__main__":
    json.dump(read(sys.argv[1]), sys.stdout)
