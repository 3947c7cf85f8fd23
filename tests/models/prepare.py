"""Write the inputs, labels and goldens of the two models carried here. Run in the environment that tests/zoo/make.sh makes.

    python prepare.py all                                  everything below ppocrv2_cls/ and magika_v3_3/, as carried
    python prepare.py bytes FILE OUT.npy                   Magika's features of any file
    python prepare.py line IMAGE OUT.npy                   an image of one line of text for the direction classifier
"""
import math, os, sys
import numpy as np
from PIL import Image, ImageDraw, ImageFont

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "zoo"))
import golden

BLOCK, EACH, PADDING = 4096, 1024, 256  # magika 1.0.3, standard_v3_3/config.min.json


def file_features(data):
    """Magika's input: the first and the last 1024 bytes that are not white space, padded with 256."""
    head, tail = data[:BLOCK].lstrip()[:EACH], data[-BLOCK:].rstrip()[-EACH:]
    row = list(head) + [PADDING] * (EACH - len(head)) + [PADDING] * (EACH - len(tail)) + list(tail)
    return np.array([row], dtype=np.int32)


def line_tensor(image, height=48, width=192):
    """RapidOCR's preprocessing: 48 pixels high, at most 192 wide, (x/255 - 0.5) / 0.5, zeros to the right."""
    w = min(width, math.ceil(height * image.width / image.height))
    x = np.asarray(image.convert("RGB").resize((w, height), Image.BILINEAR), np.float32)[..., ::-1]  # it reads BGR
    out = np.zeros((1, 3, height, width), np.float32)
    out[0, :, :, :w] = (x.transpose(2, 0, 1) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return out


def draw_line(text):
    """A line of text in Pillow's own font (Aileron, CC0), dark on light."""
    font = ImageFont.load_default(size=28)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("RGB", (right - left + 16, 48), (250, 250, 245))
    ImageDraw.Draw(image).text((8 - left, 24 - (top + bottom) / 2), text, fill=(30, 30, 40), font=font)
    return image


def carried():
    folder = os.path.join(HERE, "ppocrv2_cls")
    image = draw_line("Hello, compiler")
    image.save(os.path.join(folder, "upright.png"))
    image.rotate(180).save(os.path.join(folder, "turned.png"))
    upright, turned = (line_tensor(Image.open(os.path.join(folder, n + ".png"))) for n in ("upright", "turned"))
    np.save(os.path.join(folder, "upright.npy"), upright)
    np.save(os.path.join(folder, "turned.npy"), turned)
    golden.make(folder, [{"x": upright}, {"x": np.concatenate([turned, upright])}])

    folder = os.path.join(HERE, "magika_v3_3")
    features = []
    for name, source in (("rust", "ir/src/core/dim.rs"), ("python", "tests/zoo/inputs.py")):  # as they are today
        with open(os.path.join(HERE, "..", "..", source), "rb") as f:
            features.append(file_features(f.read()))
        np.save(os.path.join(folder, name + ".npy"), features[-1])
    golden.make(folder, [{"bytes": features[0]}, {"bytes": np.concatenate(features[::-1])}])


def main():
    if sys.argv[1:] == ["all"]:
        carried()
    elif len(sys.argv) == 4 and sys.argv[1] == "bytes":
        with open(sys.argv[2], "rb") as f:
            np.save(sys.argv[3], file_features(f.read()))
    elif len(sys.argv) == 4 and sys.argv[1] == "line":
        np.save(sys.argv[3], line_tensor(Image.open(sys.argv[2])))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
