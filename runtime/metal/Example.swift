// Runs a model that `odc compile model.onnx -t metal -o DIR/` wrote: loads DIR/manifest.json, kernels/*.metal and
// weights.bin, makes every pipeline once, and records all kernels of a run into one compute encoder.
import Foundation
import Metal

struct Manifest: Decodable {
    struct Kernel: Decodable { let name: String, file: String, workgroup: [Int], threadgroup_memory: [Int] }
    struct Weight: Decodable { let offset: Int, len: Int }
    /// Exactly one of input, output, weight and arena is there.
    struct Place: Decodable { let input: Int?, output: Int?, weight: Int?, arena: Int?, offset: Int? }
    struct Command: Decodable { let kernel: Int, buffers: [Place], dims: [Int32], grid: [Int] }
    struct Tensor: Decodable { let name: String, dtype: String, shape: [Int] }
    let kernels: [Kernel], weights: [Weight], commands: [Command]
    let arena_bytes: Int, inputs: [Tensor], outputs: [Tensor]
}

enum ModelError: Error { case noDevice, noMemory, noKernel(String), badManifest }

final class Model {
    let device: MTLDevice, manifest: Manifest
    private let pipelines: [MTLComputePipelineState], weights: MTLBuffer, arena: MTLBuffer

    init(directory: URL, device: MTLDevice) throws {
        self.device = device
        let manifest = try JSONDecoder().decode(Manifest.self, from: Data(contentsOf: directory.appendingPathComponent("manifest.json")))
        self.manifest = manifest
        let options = MTLCompileOptions()
        options.languageVersion = .version2_4
        options.fastMathEnabled = false // models rely on infinities and NaN; from macOS 15 on: mathMode = .safe
        pipelines = try manifest.kernels.map { kernel in
            let source = try String(contentsOf: directory.appendingPathComponent(kernel.file), encoding: .utf8)
            let library = try device.makeLibrary(source: source, options: options)
            guard let function = library.makeFunction(name: kernel.name) else { throw ModelError.noKernel(kernel.name) }
            return try device.makeComputePipelineState(function: function)
        }
        let data = try Data(contentsOf: directory.appendingPathComponent("weights.bin"), options: .alwaysMapped)
        let buffer = data.withUnsafeBytes { bytes in
            bytes.baseAddress.flatMap { device.makeBuffer(bytes: $0, length: bytes.count) } ?? device.makeBuffer(length: 16)
        }
        guard let weights = buffer, let arena = device.makeBuffer(length: max(manifest.arena_bytes, 16), options: .storageModePrivate)
        else { throw ModelError.noMemory }
        self.weights = weights
        self.arena = arena
    }

    /// Records a run. Runs share the arena: encode the next one on the same queue.
    func encode(into commands: MTLCommandBuffer, inputs: [MTLBuffer], outputs: [MTLBuffer]) throws {
        guard let encoder = commands.makeComputeCommandEncoder() else { throw ModelError.noMemory } // serial: each kernel sees the one before
        defer { encoder.endEncoding() }
        for command in manifest.commands {
            let kernel = manifest.kernels[command.kernel]
            encoder.setComputePipelineState(pipelines[command.kernel])
            for (index, place) in command.buffers.enumerated() {
                let offset = place.offset ?? 0
                if let i = place.input { encoder.setBuffer(inputs[i], offset: offset, index: index) }
                else if let i = place.output { encoder.setBuffer(outputs[i], offset: offset, index: index) }
                else if let i = place.weight { encoder.setBuffer(weights, offset: manifest.weights[i].offset + offset, index: index) }
                else if let at = place.arena { encoder.setBuffer(arena, offset: at, index: index) }
                else { throw ModelError.badManifest }
            }
            if !command.dims.isEmpty { // sizes follow the buffers, filled up to whole int4
                let dims = command.dims + Array(repeating: 0, count: (4 - command.dims.count % 4) % 4)
                encoder.setBytes(dims, length: dims.count * 4, index: command.buffers.count)
            }
            for (index, bytes) in kernel.threadgroup_memory.enumerated() { encoder.setThreadgroupMemoryLength(bytes, index: index) }
            let (grid, group) = (command.grid, kernel.workgroup)
            encoder.dispatchThreadgroups(MTLSize(width: grid[0], height: grid[1], depth: grid[2]),
                                         threadsPerThreadgroup: MTLSize(width: group[0], height: group[1], depth: group[2]))
        }
    }
}

// Example: one input of ones, the first output's floats.
guard let device = MTLCreateSystemDefaultDevice(), let queue = device.makeCommandQueue() else { throw ModelError.noDevice }
let model = try Model(directory: URL(fileURLWithPath: CommandLine.arguments[1]), device: device)
func buffer(_ tensor: Manifest.Tensor) throws -> MTLBuffer {
    let ones = [Float](repeating: 1, count: max(tensor.shape.reduce(1, *), 4)) // f32 tensors
    guard let buffer = device.makeBuffer(bytes: ones, length: ones.count * 4) else { throw ModelError.noMemory }
    return buffer
}
let (inputs, outputs) = (try model.manifest.inputs.map(buffer), try model.manifest.outputs.map(buffer))
guard let commands = queue.makeCommandBuffer() else { throw ModelError.noMemory }
try model.encode(into: commands, inputs: inputs, outputs: outputs)
commands.commit()
commands.waitUntilCompleted()
if let error = commands.error { throw error }
let count = model.manifest.outputs[0].shape.reduce(1, *)
print(Array(UnsafeBufferPointer(start: outputs[0].contents().assumingMemoryBound(to: Float.self), count: count)).prefix(10))
