// Reads tensors as tests store them: numpy's .npy and ONNX's TensorProto (.pb). Gives { name, dtype, dims, bytes }, little-endian and dense.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const NUMPY = { "<f4": "float32", "<f2": "float16", "<f8": "float64", "<i8": "int64", "<i4": "int32", "|u1": "uint8", "|i1": "int8", "|b1": "bool" };
const ONNX = { 1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64" };
const ARRAYS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array, int8: Int8Array, bool: Uint8Array, float16: Uint16Array };

function readNpy(file) {
  const data = readFileSync(file);
  const long = data[6] >= 2;
  const start = long ? 12 : 10;
  const end = start + (long ? data.readUInt32LE(8) : data.readUInt16LE(8));
  const header = data.toString("latin1", start, end);
  const descr = /'descr': '([^']+)'/.exec(header)?.[1];
  const dtype = NUMPY[descr];
  if (!dtype || /'fortran_order': True/.test(header)) throw new Error(`${file}: dtype ${descr}, or column order, is not read here`);
  const dims = (/'shape': \(([^)]*)\)/.exec(header)?.[1].match(/\d+/g) ?? []).map(Number);
  return { name: "", dtype, dims, bytes: new Uint8Array(data.subarray(end)) };
}

function readPb(file) {
  const data = readFileSync(file);
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = data[at++];
      if (byte === undefined) throw new Error(`${file}: ends in the middle of a number`);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, value);
    }
  };
  const tensor = { name: "", dtype: "", dims: [], bytes: null };
  const packed = (end, read) => { const out = []; while (at < end) out.push(read()); return out; };
  const numbers = { 4: [], 5: [], 7: [], 10: [] }; // float_data, int32_data, int64_data, double_data
  while (at < data.length) {
    const tag = Number(varint());
    const [field, wire] = [tag >> 3, tag & 7];
    if (wire === 0) {
      const value = varint();
      if (field === 1) tensor.dims.push(Number(value));
      else if (field === 2) tensor.dtype = ONNX[Number(value)];
      else numbers[field]?.push(value);
    } else if (wire === 2) {
      const end = Number(varint()) + at;
      if (field === 1) tensor.dims.push(...packed(end, varint).map(Number));
      else if (field === 8) tensor.name = data.toString("utf8", at, end);
      else if (field === 9) tensor.bytes = new Uint8Array(data.subarray(at, end));
      else if (field === 4) numbers[4].push(...packed(end, () => data.readFloatLE((at += 4) - 4)));
      else if (field === 10) numbers[10].push(...packed(end, () => data.readDoubleLE((at += 8) - 8)));
      else if (field in numbers) numbers[field].push(...packed(end, varint));
      at = end;
    } else throw new Error(`${file}: wire type ${wire} in a tensor`);
  }
  if (!tensor.dtype) throw new Error(`${file}: an element type that is not read here`);
  if (!tensor.bytes) {
    const values = Object.values(numbers).find((list) => list.length) ?? [];
    const Store = ARRAYS[tensor.dtype];
    const convert = Store === BigInt64Array ? (v) => v : Number;
    tensor.bytes = new Uint8Array(Store.from(values, convert).buffer);
  }
  return tensor;
}

export function readTensor(file) {
  const tensor = file.endsWith(".npy") ? readNpy(file) : readPb(file);
  const width = ARRAYS[tensor.dtype].BYTES_PER_ELEMENT;
  const wanted = tensor.dims.reduce((a, b) => a * b, width);
  if (tensor.bytes.length !== wanted) throw new Error(`${file}: ${tensor.bytes.length} bytes for ${tensor.dtype} [${tensor.dims}], not ${wanted}`);
  return tensor;
}

/** The tensor's elements as a typed array (float16 as bits). */
export const elements = ({ dtype, bytes }) => new ARRAYS[dtype](bytes.slice().buffer);

/** The inputs and outputs of one test case: a folder with input_0.pb or .npy, ..., or a model's folder with test_data_set_0. */
export function readCase(folder) {
  const nested = join(folder, "test_data_set_0");
  const dir = existsSync(nested) && statSync(nested).isDirectory() ? nested : folder;
  const list = (kind) => {
    const found = [];
    const names = new Set(readdirSync(dir));
    for (let i = 0; ; i++) {
      const name = [`${kind}_${i}.pb`, `${kind}_${i}.npy`].find((n) => names.has(n));
      if (!name) return found;
      found.push(readTensor(join(dir, name)));
    }
  };
  const inputs = list("input");
  if (inputs.length === 0) throw new Error(`${dir}: no input_0.pb or input_0.npy`);
  return { inputs, outputs: list("output") };
}
