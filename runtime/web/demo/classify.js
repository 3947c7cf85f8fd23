// Classifies the image that the user drops, pastes or chooses: PP-OCR's direction of a line of text.

/** What the model was trained on: 48 pixels high, at most 192 wide and zeros to the right, blue first, from -1 to 1. */
function toTensor(image, [, , height, width]) {
  const w = Math.min(width, Math.ceil((height * image.width) / image.height));
  const canvas = new OffscreenCanvas(w, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, w, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, w, height);
  const { data } = context.getImageData(0, 0, w, height);
  const x = new Float32Array(3 * height * width);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < w; column++) {
      for (let channel = 0; channel < 3; channel++) {
        x[(channel * height + row) * width + column] = data[(row * w + column) * 4 + 2 - channel] / 127.5 - 1;
      }
    }
  }
  return x;
}

function show(canvas, image) {
  const scale = Math.min(canvas.width / image.width, canvas.height / image.height);
  const [w, h] = [image.width * scale, image.height * scale];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, (canvas.width - w) / 2, (canvas.height - h) / 2, w, h);
  canvas.hidden = false;
}

export async function classifier(model, section, timed) {
  const labels = (await (await fetch("textdir.txt")).text()).trim().split("\n");
  const [input] = model.inputs;
  const [output] = model.outputs;
  const shape = [1, 3, 48, 192].map((size, axis) => (typeof input.shape[axis] === "number" ? input.shape[axis] : size));
  const drop = section.querySelector(".drop");
  const list = section.querySelector(".classes");

  async function classify(blob) {
    const image = await createImageBitmap(blob);
    show(section.querySelector("canvas"), image);
    const data = toTensor(image, shape);
    const result = await timed(() => model.run({ [input.name]: { data, shape } }));
    const classes = [...result[output.name]].map((score, k) => ({ score, label: labels[k] ?? `class ${k}` }));
    list.replaceChildren(
      ...classes.sort((a, b) => b.score - a.score).slice(0, 5).map(({ score, label }) => {
        const item = document.createElement("li");
        const bar = document.createElement("span");
        const fill = document.createElement("i");
        const percent = document.createElement("b");
        bar.className = "bar";
        fill.style.width = `${score * 100}%`;
        bar.append(fill);
        percent.textContent = `${(score * 100).toFixed(1)} %`;
        item.append(label, bar, percent);
        return item;
      }),
    );
  }
  const take = (files) => {
    const image = [...files].find((f) => f.type.startsWith("image/"));
    if (image) classify(image).catch(console.error);
  };
  const field = drop.querySelector("input");
  field.addEventListener("change", () => take(field.files));
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); take(event.dataTransfer.files); });
  drop.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") field.click(); });
  addEventListener("paste", (event) => take(event.clipboardData.files));
  for (const button of section.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", async () => classify(await (await fetch(button.dataset.sample)).blob()).catch(console.error));
  }
}
