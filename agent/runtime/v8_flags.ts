/**
 * The flags that the agent runs with. They are set at run time and not on the command line: node refuses
 * to start with a flag that its release does not know, and an operator who runs `node dist/twilld.js` would
 * not pass them.
 */
import { spawnSync } from 'node:child_process'
import { setFlagsFromString } from 'node:v8'

/** Flags that keep the agent's heap small. No release of V8 knows all of them. */
export const agentV8Flags: readonly string[] = [
  // The young generation stays at 2 MB; by default it grows to 32 MB (Node.js 20), 64 (26) or 128 (24).
  '--semi-space-growth-factor=1',
  // A collection is due when buffers of new objects exceed four times these MB (Node.js 22 and 24, by default
  // 128 MB; others do not know the flag): values of 1.4 MB in etcd would fill them.
  '--scavenger-max-new-space-capacity-mb=4',
  // A collection is due when the heap has grown by a fifth; by default it may double and more.
  '--heap-growing-percent=20',
  // Compile only code that runs long (Node.js 20; later releases decide otherwise), and with one compiler:
  // saves 3 MB.
  '--interrupt-budget=1000000',
  '--no-sparkplug',
  '--no-maglev',
]

/** Sets the flags that this V8 knows. Call it before the rest of the code is loaded. */
export function setV8Flags(flags: readonly string[]): void {
  const names = knownV8Flags()
  for (const flag of flags) if (names.has(flagName(flag))) setFlagsFromString(flag)
}

/**
 * The names of all V8 flags, without the leading dashes; empty where node cannot be run, and the agent then
 * runs with V8's defaults. V8 lists its flags only for `node --v8-options`, which takes 15 ms, or seconds on
 * a busy host: call it before there is work that would have to wait.
 */
export function knownV8Flags(): ReadonlySet<string> {
  const { stdout } = spawnSync(process.execPath, ['--v8-options'], { env: {}, encoding: 'utf8' })
  return new Set([...(stdout ?? '').matchAll(/^ +--([\w-]+) \(/gm)].map(([, name = '']) => name))
}

function flagName(flag: string): string {
  return flag.replace(/^--(no-)?/, '').replace(/=.*/, '')
}
