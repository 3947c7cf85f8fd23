// Strings at the boundary: a model computes with numbers that stand for them. Mirrors runtime/src/strings.rs.

import { OdcError } from "./error.js";

/** Equal strings have equal numbers. Those that the model knows have theirs, others get new ones, which are remembered until `clear`. */
export class Strings {
  readonly #list: string[];
  readonly #numbers: Map<string, number>;
  readonly #own: number;

  constructor(list: readonly string[]) {
    this.#list = [...list];
    this.#numbers = new Map(list.map((text, k) => [text, k]));
    this.#own = list.length;
  }

  /** For inputs of type "str". */
  numbers(texts: readonly string[]): Int32Array<ArrayBuffer> {
    return Int32Array.from(texts, (text) => {
      const known = this.#numbers.get(text) ?? this.#list.push(text) - 1;
      this.#numbers.set(text, known);
      return known;
    });
  }

  /** Of outputs of type "str". */
  texts(numbers: Int32Array): string[] {
    return Array.from(numbers, (n) => {
      const text = this.#list[n];
      if (text === undefined) throw new OdcError("binding", `${n} is the number of no string. Read outputs before \`clear\`, with the model's own \`strings\`.`);
      return text;
    });
  }

  /** Forgets the strings that the model does not know. */
  clear(): void {
    for (const text of this.#list.splice(this.#own)) this.#numbers.delete(text);
  }
}
