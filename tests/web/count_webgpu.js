// Counts what a program asks of WebGPU, by wrapping the interface objects: load this before the program to be counted.
// A classic script for a page (addInitScript, <script>) that Node can also import once Dawn's globals are in place.
//
//     const counter = countWebGPU();      from now on everything counts
//     counter.reset();                    sets the counts to zero; live bytes stay, the peak starts again from them
//     counter.read();                     { dispatches, passes, submits, pipelines, bindGroups, buffers, ..., liveBytes, peakBytes }
//
// liveBytes adds up the sizes of buffers that were created and not destroyed; a collected buffer is not seen to go.
globalThis.countWebGPU = function countWebGPU() {
  const counts = {};
  const zero = () => {
    for (const name of Object.values(METHODS).flatMap(Object.values)) counts[name] = 0;
    counts.bufferBytesCreated = counts.shaderChars = counts.bytesWritten = 0;
  };
  const METHODS = {
    GPUDevice: {
      createComputePipeline: "pipelines", createComputePipelineAsync: "pipelines", createShaderModule: "shaderModules",
      createBuffer: "buffers", createBindGroup: "bindGroups", createBindGroupLayout: "bindGroupLayouts",
      createPipelineLayout: "pipelineLayouts", createCommandEncoder: "encoders", createTexture: "textures",
    },
    GPUQueue: { submit: "submits", writeBuffer: "bufferWrites", onSubmittedWorkDone: "waits" },
    GPUCommandEncoder: { beginComputePass: "passes", copyBufferToBuffer: "copies", clearBuffer: "clears" },
    GPUComputePassEncoder: {
      dispatchWorkgroups: "dispatches", dispatchWorkgroupsIndirect: "dispatches", setPipeline: "setPipelines", setBindGroup: "setBindGroups",
    },
    GPUBuffer: { mapAsync: "maps", destroy: "destroys" },
  };
  const sizes = new WeakMap(); // of the buffers that live
  let liveBytes = 0;
  let peakBytes = 0;
  const after = {
    createBuffer(buffer, _, { size }) {
      sizes.set(buffer, size);
      counts.bufferBytesCreated += size;
      liveBytes += size;
      peakBytes = Math.max(peakBytes, liveBytes);
    },
    destroy(_, buffer) {
      liveBytes -= sizes.get(buffer) ?? 0;
      sizes.delete(buffer);
    },
    createShaderModule(_, __, { code }) {
      counts.shaderChars += code.length;
    },
    writeBuffer(_, __, ___, ____, data, offset = 0, size) {
      const unit = ArrayBuffer.isView(data) ? data.BYTES_PER_ELEMENT ?? 1 : 1; // offset and size count elements of a typed array
      counts.bytesWritten += size === undefined ? data.byteLength - offset * unit : size * unit;
    },
  };
  zero();
  for (const [type, methods] of Object.entries(METHODS)) {
    const prototype = globalThis[type]?.prototype;
    if (!prototype) throw new Error(`countWebGPU: there is no ${type} here`);
    for (const [method, name] of Object.entries(methods)) {
      const original = prototype[method];
      if (typeof original !== "function") throw new Error(`countWebGPU: ${type} has no ${method}`);
      prototype[method] = function (...args) {
        counts[name]++;
        const result = original.apply(this, args);
        after[method]?.(result, this, ...args);
        return result;
      };
    }
  }
  return {
    reset() {
      zero();
      peakBytes = liveBytes;
    },
    read: () => ({ ...counts, liveBytes, peakBytes }),
  };
};
