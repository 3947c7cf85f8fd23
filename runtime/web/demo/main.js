// Starts both parts of the page; each loads its model with a progress line and says what it took.
import { load } from "./odc-runtime-web.js";
import { classifier } from "./classify.js";
import { terrain } from "./terrain.js";

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 1)} MB`;
const milliseconds = (ms) => (ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** Loads a model into a part of the page. `timed` shows how long a run took. */
async function part(id, file, start) {
  const section = document.getElementById(id);
  const figures = section.querySelector(".figures");
  const fail = (error) => {
    figures.classList.add("bad");
    figures.textContent = error.message;
    section.dataset.state = "failed";
  };
  try {
    const begin = performance.now();
    let size = 0;
    const model = await load(file, {
      onProgress({ loaded, total }) {
        size = total;
        figures.textContent = `Loading ${megabytes(loaded)} of ${megabytes(total)}`;
      },
    });
    const loaded = `${megabytes(size)} loaded in ${milliseconds(performance.now() - begin)}`;
    figures.textContent = loaded;
    section.dataset.state = "ready";
    const timed = async (run) => {
      figures.classList.remove("bad");
      figures.textContent = `${loaded} · running`;
      const begin = performance.now();
      try {
        const result = await run();
        figures.textContent = `${loaded} · ran in ${milliseconds(performance.now() - begin)} · ${megabytes(model.memory.total)} on the GPU`;
        section.dataset.runs = Number(section.dataset.runs ?? 0) + 1;
        return result;
      } catch (error) {
        fail(error);
        throw error;
      }
    };
    await start(model, section, timed);
  } catch (error) {
    fail(error);
  }
}

// One after the other, so that the small one is ready at once.
await part("classify", "textdir.odc", classifier);
await part("terrain", "terrain.odc", terrain);
