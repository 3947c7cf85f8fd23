"""Seeded model inputs: photographs, token ids, log-mel frames, noise. make_input(spec, seed) is a pure function.

A spec is {"kind": ..., "shape": [...], "dtype": ...} and what its kind needs; the recipes in models/*.json hold them.
"""
import hashlib, json, math, os
import numpy as np

# scikit-image carries these photographs in its wheel.
PHOTOS = ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "ihc.png", "hubble_deep_field.jpg", "motorcycle_left.png"]
MEAN_STD = {"imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])}


def photo(name):
    import skimage.data, skimage.io
    image = skimage.io.imread(os.path.join(os.path.dirname(skimage.data.__file__), name))
    if image.ndim == 2:
        image = np.stack([image] * 3, -1)
    return image[..., :3].astype(np.float32) / 255.0


def images(spec, seed):
    from skimage.transform import resize
    nchw = spec["layout"] == "nchw"
    n, a, b, c = spec["shape"]
    channels, h, w = (a, b, c) if nchw else (c, a, b)
    out = []
    for i in range(n):
        im = photo(spec.get("image") or PHOTOS[(seed + i) % len(PHOTOS)])
        im = resize(im, (h, w), order=1, anti_aliasing=True).astype(np.float32)
        if channels == 1:
            im = (im @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        if spec["norm"] in MEAN_STD:
            mean, std = MEAN_STD[spec["norm"]]
            im = (im - np.array(mean)) / np.array(std)
        elif spec["norm"] == "m1p1":
            im = im * 2 - 1
        elif spec["norm"] == "255bgr_mean":
            im = np.round(im * 255)[..., ::-1] - np.array([104, 117, 123])
        elif spec["norm"] != "01":
            raise ValueError("unknown norm " + spec["norm"])
        out.append(im.transpose(2, 0, 1) if nchw else im)
    return np.stack(out)


def speech(n, seed, sr=16000):
    """A speech-like signal: voiced segments (glottal pulses through formant resonators), noise, pauses."""
    from scipy.signal import lfilter
    r = np.random.default_rng(seed)
    out = np.zeros(n, np.float64)
    t = int(0.05 * sr)
    while t < n:
        length = int(r.uniform(0.08, 0.35) * sr)
        f0 = r.uniform(90, 240) * (1 + 0.05 * np.cumsum(r.standard_normal(length)) / sr)
        src = np.where(np.diff(np.floor(np.cumsum(f0) / sr), prepend=0) > 0, 1.0, 0.0)
        if r.random() < 0.25:
            src = 0.1 * r.standard_normal(length)
        for f, width in zip((r.uniform(300, 900), r.uniform(900, 2300), r.uniform(2300, 3200)), (80, 120, 180)):
            p = math.exp(-math.pi * width / sr)
            src = lfilter([1 - p], [1, -2 * p * math.cos(2 * math.pi * f / sr), p * p], src)
        src *= np.hanning(length) / (np.abs(src).max() + 1e-9) * r.uniform(0.2, 0.7)
        end = min(n, t + length)
        out[t:end] += src[: end - t]
        t += length + int(r.uniform(0.0, 0.25) * sr * (r.random() < 0.5))
    return (out + 0.002 * r.standard_normal(n)).astype(np.float32)


def logmel(x, n_mels, frames, n_fft=400, hop=160, sr=16000):
    """Whisper's features: log10 of a mel spectrogram, clipped 8 below its maximum, scaled to about [-1, 1]."""
    x = np.pad(x, n_fft // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(x, n_fft)[::hop] * np.hanning(n_fft + 1)[:-1]
    power = np.abs(np.fft.rfft(windows)) ** 2
    mel = lambda f: 2595 * np.log10(1 + f / 700)
    edges = 700 * (10 ** (np.linspace(mel(0), mel(sr / 2), n_mels + 2) / 2595) - 1)
    bank = np.zeros((n_mels, n_fft // 2 + 1))
    freq = np.linspace(0, sr / 2, n_fft // 2 + 1)
    for i in range(n_mels):
        a, b, c = edges[i:i + 3]
        bank[i] = np.maximum(0, np.minimum((freq - a) / (b - a + 1e-9), (c - freq) / (c - b + 1e-9)))
    m = np.log10(np.maximum(power @ bank.T, 1e-10)).T
    m = (np.maximum(m, m.max() - 8) + 4) / 4
    return np.pad(m, ((0, 0), (0, max(0, frames - m.shape[1]))), mode="edge")[:, :frames].astype(np.float32)


TEXT = ("The quick brown fox jumps over the lazy dog. A compiler lowers a graph of tensor operators to machine code. "
        "In 1969 two people walked on the Moon; 3.14159 is close to pi. def f(x): return x * x + 1\n") * 60
DEFAULT_DTYPE = {"ids": "int64", "arange": "int64", "mask": "int64", "bytes": "int64"}


def make_input(spec, seed):
    kind, shape = spec["kind"], spec["shape"]
    key = int(hashlib.sha1(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8], 16)
    r = np.random.default_rng([seed, key])
    if kind == "image":
        a = images(spec, seed)
    elif kind == "logmel":
        a = np.stack([logmel(speech(shape[-1] * 160, seed * 7 + i), shape[-2], shape[-1]) for i in range(shape[0])])
    elif kind == "normal":
        a = r.standard_normal(shape) * spec.get("std", 1.0) + spec.get("mean", 0.0)
    elif kind == "uniform":
        a = r.uniform(spec.get("low", 0.0), spec.get("high", 1.0), shape)
    elif kind == "ids":
        a = r.integers(spec.get("low", 0), spec["high"], shape)
        for position, value in spec.get("fix", {}).items():
            a[..., int(position)] = value
    elif kind == "values":
        a = np.array(spec["values"], dtype=spec.get("dtype", "float32")).reshape(shape)
    elif kind == "full":
        a = np.full(shape, spec["value"])
    elif kind == "arange":
        a = np.broadcast_to(np.arange(spec.get("start", 0), spec.get("start", 0) + shape[-1]), shape)
    elif kind == "mask":  # row i begins with lens[i] ones
        a = (np.arange(shape[-1])[None] < np.array(spec["lens"])[:, None]).reshape(shape)
    elif kind == "bytes":
        start = int(r.integers(0, 100))
        a = np.frombuffer(TEXT.encode()[start:start + int(np.prod(shape))], np.uint8).reshape(shape)
    elif kind == "rays":  # unit directions
        a = r.standard_normal(shape)
        a /= np.linalg.norm(a, axis=-1, keepdims=True)
    else:
        raise ValueError("unknown kind " + kind)
    return np.ascontiguousarray(a.astype(spec.get("dtype", DEFAULT_DTYPE.get(kind, "float32"))))
