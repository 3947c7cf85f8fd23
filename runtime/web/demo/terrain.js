// Draws a terrain in one step of a consistency model: noise in, heights out, shown as a shaded relief.

const SIZE = 128;
const SIGMA = 80; // of the noise that the model starts from
const HIGHEST = 22.16864; // metres, and the scale of the asinh in which the model gives heights
const SCALE = 0.1;

/** Standard normal numbers from a seed (mulberry32, Box-Muller). */
function normal(seed) {
  let state = seed | 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

const metres = (y) => SCALE * Math.sinh(Math.min(1, Math.max(0, (y + 1) / 2)) * Math.asinh(HIGHEST / SCALE));

/** Green valleys to white peaks: red, green, blue at equal steps of the height. */
const TINTS = [[74, 112, 88], [124, 146, 98], [186, 177, 126], [172, 139, 104], [140, 116, 104], [214, 208, 203], [250, 250, 250]];

function tint(t) {
  const at = Math.min(TINTS.length - 1.001, Math.max(0, t * (TINTS.length - 1)));
  const k = Math.floor(at);
  return TINTS[k].map((c, i) => c + (TINTS[k + 1][i] - c) * (at - k));
}

/** Rows of `size` values to rows of `n`, by a cubic B-spline: slopes without corners between the model's pixels. Transposes. */
function enlarge(values, size, n) {
  const rows = values.length / size;
  const out = new Float32Array(rows * n);
  for (let x = 0; x < n; x++) {
    const at = ((x + 0.5) * size) / n - 0.5;
    const t = at - Math.floor(at);
    const weights = [(1 - t) ** 3, 4 - 6 * t ** 2 + 3 * t ** 3, 1 + 3 * t + 3 * t ** 2 - 3 * t ** 3, t ** 3];
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      weights.forEach((w, k) => (sum += w * values[row * size + Math.min(size - 1, Math.max(0, Math.floor(at) - 1 + k))]));
      out[x * rows + row] = sum / 6;
    }
  }
  return out;
}

function draw(canvas, values) {
  const n = canvas.width;
  const heights = enlarge(enlarge(Float32Array.from(values, metres), SIZE, n), SIZE, n);
  let [low, high] = [Infinity, -Infinity];
  for (const h of heights) [low, high] = [Math.min(low, h), Math.max(high, h)];
  const span = Math.max(1e-6, high - low);
  const steep = (0.16 * n) / span; // as steep as it looks best
  const context = canvas.getContext("2d");
  const image = context.createImageData(n, n);
  for (let row = 0; row < n; row++) {
    for (let column = 0; column < n; column++) {
      const at = (r, c) => heights[Math.min(n - 1, r) * n + Math.min(n - 1, c)];
      const h = at(row, column);
      const [dx, dy] = [(at(row, column + 1) - h) * steep, (at(row + 1, column) - h) * steep];
      const light = (0.75 + 0.47 * dx + 0.47 * dy) / Math.hypot(1, dx, dy); // from the north-west
      const shade = 0.3 + Math.max(0, light);
      const [r, g, b] = tint((h - low) / span);
      image.data.set([r * shade, g * shade, b * shade, 255], (row * n + column) * 4);
    }
  }
  context.putImageData(image, 0, 0);
}

export async function terrain(model, section, timed) {
  const form = section.querySelector("form");
  const { seed, difficulty, next } = form.elements;
  const submit = form.querySelector("[type=submit]");

  async function generate() {
    submit.disabled = next.disabled = true;
    const random = normal(seed.valueAsNumber || 0);
    const noisy = Float32Array.from({ length: SIZE * SIZE }, () => random() * SIGMA);
    const inputs = {
      noisy: { data: noisy, shape: [1, 1, SIZE, SIZE] },
      sigma: Float32Array.of(SIGMA),
      difficulty: Float32Array.of((difficulty.valueAsNumber - 1) / 99),
    };
    try {
      const { denoised } = await timed(() => model.run(inputs));
      draw(section.querySelector("canvas"), denoised);
    } finally {
      submit.disabled = next.disabled = false;
    }
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); generate().catch(console.error); });
  next.addEventListener("click", () => { seed.value = (seed.valueAsNumber || 0) + 1; generate().catch(console.error); });
  await generate();
}
