import { type Operation, printOperation, type Result } from '../state/operation.ts'
import { printEntry } from '../state/print.ts'
import type { KernelChange } from './kernel.ts'

/** For TWILL_DEBUG=netlink: prints requests and answers as iproute2 would, one line each. */
export class KernelTrace {
  readonly #write: (line: string) => void

  constructor(write: (line: string) => void) {
    this.#write = write
  }

  applied(results: readonly Result[]): void {
    for (const { operation, error } of results)
      this.#write(`> ${printWhole(operation)}${error === undefined ? '' : `: ${error.message}`}`)
  }

  read(what: string, count: number | string): void {
    this.#write(`? ${what}: ${count}`)
  }

  changed({ entries, devices, everything, underlay }: KernelChange): void {
    for (const { key, entry } of entries)
      this.#write(entry === undefined ? `< gone ${key}` : `< ${printEntry(entry)}`)
    for (const { reason } of devices) this.#write(`< ${reason}`)
    if (everything !== undefined) this.#write(`< look at all: ${everything}`)
    if (underlay) this.#write('< an interface, address or route of the host changed')
  }
}

function printWhole(operation: Operation): string {
  const text = printOperation(operation)
  return operation.verb === 'replace' ? `${text} (was: ${printEntry(operation.was)})` : text
}
