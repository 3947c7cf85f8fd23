// The shape program: sizes from the dims of the inputs, in checked arithmetic. Numbers are exact up to 2^53; more is an error.

import { bad, OdcError } from "./error.js";
import type { Check, Instr, Manifest, SymbolInfo } from "./manifest.js";

/** Undefined: depends on an input dim that is not known. */
export type Slots = (number | undefined)[];

class Fault extends Error {}

/** Rounds towards minus infinity; the remainder of doubles is exact, so the quotient is too. */
function floorDiv(a: number, b: number): number {
  const rest = a % b;
  const quotient = (a - rest) / b;
  return rest !== 0 && rest < 0 !== b < 0 ? quotient - 1 : quotient;
}

function step({ op, a, b }: Instr, slots: Slots, dim: (input: number, axis: number) => number | undefined): number | undefined {
  if (op === "const") return a;
  if (op === "dim") return dim(a, b);
  const x = slots[a];
  const y = op === "align" ? b : slots[b];
  if (x === undefined || y === undefined) return undefined;
  if (op === "min") return Math.min(x, y);
  if (op === "max") return Math.max(x, y);
  let value: number;
  if (op === "add") value = x + y;
  else if (op === "sub") value = x - y;
  else if (op === "mul") value = x * y;
  else {
    if (y === 0) throw new Fault("a division by zero");
    if (op === "floordiv") value = floorDiv(x, y);
    else if (op === "ceildiv") value = -floorDiv(-x, y);
    else if (op === "mod") value = x - floorDiv(x, y) * y;
    else value = -floorDiv(-x, y) * y;
  }
  if (!Number.isSafeInteger(value)) throw new Fault("a size of 2^53 or more");
  return value + 0; // no -0
}

/** What follows from the known dims. A fault ends it early: the slots before it have their values. */
export function evaluate(m: Manifest, dim: (input: number, axis: number) => number | undefined): { slots: Slots; fault: string | undefined } {
  const slots: Slots = [];
  try {
    for (const instr of m.shapes.instrs) slots.push(step(instr, slots, dim));
  } catch (e) {
    if (!(e instanceof Fault)) throw e;
    return { slots, fault: `${e.message} in instruction ${slots.length} of the shape program` };
  }
  return { slots, fault: undefined };
}

export function symbolText(s: SymbolInfo): string {
  const bounds = s.hi === Infinity ? `at least ${s.lo}` : s.lo === s.hi ? `${s.lo}` : `${s.lo}..${s.hi}`;
  return s.multipleOf > 1 ? `${bounds}, a multiple of ${s.multipleOf}` : bounds;
}

function holds({ relation, a, b }: Check, slots: Slots): boolean | undefined {
  const x = slots[a];
  const y = relation === "equal" ? slots[b] : b;
  if (x === undefined || y === undefined) return undefined;
  if (relation === "at-least") return x >= y;
  if (relation === "at-most") return x <= y;
  if (relation === "equal") return x === y;
  return x % y === 0;
}

/** All slots for these input shapes, or the reason why the model does not take them. */
export function bindShapes(m: Manifest, shapes: readonly (readonly number[])[]): number[] {
  const refuse = (why: string): never => {
    throw new OdcError("shape", `${why}. The model "${m.name}" takes ${m.inputs.map((t) => `${t.name}: ${t.dtype}[${t.text}]`).join(", ")}.`);
  };
  m.inputs.forEach((t, i) => {
    const shape = shapes[i] ?? [];
    if (shape.length !== t.shape.length) refuse(`Input "${t.name}" has the shape [${shape}] of rank ${shape.length}, not ${t.shape.length}`);
    for (const dim of shape) if (!Number.isSafeInteger(dim) || dim < 0) refuse(`Input "${t.name}" has the shape [${shape}]: ${dim} is no size`);
  });
  const { slots, fault } = evaluate(m, (input, axis) => shapes[input]?.[axis]);
  for (const s of m.symbols) {
    const value = slots[s.slot];
    if (value !== undefined && (value < s.lo || value > s.hi || value % s.multipleOf !== 0)) refuse(`Dim "${s.name}" is ${value}, not ${symbolText(s)}`);
  }
  m.inputs.forEach((t, i) => {
    t.shape.forEach((slot, axis) => {
      const [want, have] = [slots[slot], shapes[i]?.[axis]];
      if (want !== undefined && want !== have) refuse(`Input "${t.name}" has the shape [${shapes[i] ?? ""}]: axis ${axis} is ${have}, not ${want}`);
    });
  });
  for (const check of m.shapes.checks) {
    if (holds(check, slots) === false) throw new OdcError("shape", `These input shapes do not fit the model: ${check.what}.`);
  }
  if (fault !== undefined) throw new OdcError("too-large", `These input shapes are too large: ${fault}.`);
  return slots.map((value, k) => {
    if (value === undefined) throw bad(`slot ${k} of the shape program has no value`);
    return value;
  });
}

/**
 * The shapes of inputs of which some are only known by their number of elements: a shape is found when it follows from static
 * dims, from other inputs, or when one dim is left open.
 */
export function inferShapes(m: Manifest, given: readonly (readonly number[] | { elements: number | undefined })[]): number[][] {
  const shapes = given.map((g) => ("elements" in g ? undefined : [...g]));
  /** A dim of an input that is also the size of another whose shape is known. */
  const shared = (input: number, axis: number): number | undefined => {
    const slot = m.shapes.instrs.findIndex((n) => n.op === "dim" && n.a === input && n.b === axis);
    for (const [i, t] of m.inputs.entries()) {
      const at = t.shape.indexOf(slot);
      if (at >= 0 && shapes[i]) return shapes[i][at];
    }
    return undefined;
  };
  for (;;) {
    const open = shapes.findIndex((s) => s === undefined);
    if (open < 0) return shapes as number[][];
    const { slots } = evaluate(m, (input, axis) => shapes[input]?.[axis] ?? shared(input, axis));
    const found = m.inputs.some((t, i) => {
      const g = given[i];
      if (shapes[i] || g === undefined || !("elements" in g)) return false;
      const dims = t.shape.map((slot) => slots[slot]);
      const unknown = dims.flatMap((d, axis) => (d === undefined ? [axis] : []));
      if (unknown.length > 1 || (unknown.length === 1 && g.elements === undefined)) return false;
      const rest = dims.reduce<number>((n, d) => n * (d ?? 1), 1);
      if (unknown.length === 1 && rest === 0) return false;
      if (unknown.length === 0 ? g.elements !== undefined && g.elements !== rest : (g.elements ?? 0) % rest !== 0) {
        throw new OdcError("shape", `Input "${t.name}" has ${g.elements} elements, which no ${t.dtype}[${t.text}] has${unknown.length ? "" : ` here (${rest})`}.`);
      }
      shapes[i] = dims.map((d) => d ?? (g.elements ?? 0) / rest);
      return true;
    });
    const t = m.inputs[open];
    if (!found && t) {
      throw new OdcError("shape", `The shape of input "${t.name}", ${t.dtype}[${t.text}], does not follow from its number of elements: give { data, shape }.`);
    }
  }
}
