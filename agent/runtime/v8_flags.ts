/**
 * The only place where V8 flags are set. They are set at run time and not on the command line: node refuses to start with a
 * flag that its release does not know, and a command line is lost where the operator writes `node dist/twilld.js`.
 */
import { spawnSync } from 'node:child_process'
import { setFlagsFromString } from 'node:v8'

/** Keep the agent's heap small. Each release of V8 knows some of them. */
export const agentV8Flags: readonly string[] = [
  // The young generation stays at 2 MB; by default it grows to 32 MB (Node.js 20), 64 (26) or 128 (24).
  '--semi-space-growth-factor=1',
  // A collection is due when the heap has grown by a fifth; by default it may double and more.
  '--heap-growing-percent=20',
  // Compile only what runs long (Node.js 20; later releases decide by other means), and with one compiler: 3 MB less.
  '--interrupt-budget=1000000',
  '--no-sparkplug',
  '--no-maglev',
]

/** Sets those of the flags that this V8 knows. Call it before the rest of the code is loaded. */
export function setV8Flags(flags: readonly string[]): void {
  const names = knownV8Flags()
  for (const flag of flags) if (names.has(flagName(flag))) setFlagsFromString(flag)
}

let known: ReadonlySet<string> | undefined

/**
 * Names without the leading dashes. V8 lists its flags only for `node --v8-options`, which ends before V8 starts: 15 ms, and
 * seconds on a busy host, so it is asked once, before there is work that would wait.
 * Empty where node cannot be run: the agent then runs with V8's own defaults.
 */
export function knownV8Flags(): ReadonlySet<string> {
  known ??= listV8Flags()
  return known
}

function listV8Flags(): ReadonlySet<string> {
  const { stdout } = spawnSync(process.execPath, ['--v8-options'], { env: {}, encoding: 'utf8' })
  return new Set([...(stdout ?? '').matchAll(/^ +--([\w-]+) \(/gm)].map(([, name = '']) => name))
}

function flagName(flag: string): string {
  return flag.replace(/^--(no-)?/, '').replace(/=.*/, '')
}
