/**
 * The flags that the agent runs with. They are set at run time: an operator who runs `node dist/twilld.js`
 * passes none. V8 prints an error for a flag that it does not know.
 */
import { setFlagsFromString } from 'node:v8'

/** 11: Node.js 20, 12: 22, 13: 24, 14: 26. */
const v8Release = Number.parseInt(process.versions.v8, 10)

/** Flags that keep the agent's heap small. Set them before the agent's code is loaded. */
export const agentV8Flags: readonly string[] = [
  // The young generation stays at 2 MB; by default it grows to 32 MB (Node.js 20), 64 (26) or 128 (24).
  '--semi-space-growth-factor=1',
  // A collection is due when buffers of new objects exceed four times these MB (by default 128 MB): values of
  // 1.4 MB in etcd would fill them.
  ...(v8Release === 12 || v8Release === 13 ? ['--scavenger-max-new-space-capacity-mb=4'] : []),
  // A collection is due when the heap has grown by a fifth; by default it may double and more.
  '--heap-growing-percent=20',
  // Optimize only code that runs long (later releases decide otherwise), and with one compiler: saves 2 MB.
  // The baseline compiler stays on: without it a join takes a tenth longer, for 0.4 MB.
  ...(v8Release === 11 ? ['--interrupt-budget=1000000'] : []),
  '--no-maglev',
]

export function setV8Flags(flags: readonly string[]): void {
  for (const flag of flags) setFlagsFromString(flag)
}
